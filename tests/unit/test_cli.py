"""The command line without a daemon: help, usage errors, completion, start-up, layers."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from byteorctl.address import Answer, TlsFiles, default_socket, parse, probe, resolve
from byteorctl.cli import VERBS, cli
from byteorctl.errors import CliError
from tests.support.timing import best_of, cpu_cost_s

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("grpc", "google", "rich", "byteor.v1", "byteord", "asyncio", "tomllib")


def ctl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run byteorctl as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "byteorctl", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_has_an_example(verb: str) -> None:
    """`VERB --help` explains the verb with a command to copy; the list of verbs says the same."""
    result = CliRunner().invoke(cli, [verb, "--help"], prog_name="byteorctl")
    assert result.exit_code == 0
    assert f"  byteorctl {verb}" in result.output.partition("Example:")[2]
    command = importlib.import_module(f"byteorctl.commands.{verb.replace('-', '_')}").command
    assert (command.help or "").partition("\n")[0] == VERBS[verb]


def test_every_verb_has_its_own_file() -> None:
    """One module per verb and none besides."""
    files = {path.stem for path in (ROOT / "byteorctl" / "commands").glob("*.py")} - {"__init__"}
    assert files == {verb.replace("-", "_") for verb in VERBS}


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["run"],
        ["list", "--frob"],
        ["-o", "xml", "list"],
        ["list", "-o", "jsonpath={.a[}"],
        ["run", "spec.toml", "--set", "novalue"],
        ["validate", "spec.toml", "--timeout", "0"],
        ["--address", "tcp:1", "list"],
        ["list", "--address", "relative/path"],
        ["list", "--address", "unix:/" + "x" * 120],
    ],
)
def test_usage_errors_exit_2_and_say_what_was_wanted(arguments: list[str]) -> None:
    """A wrong command line never reaches a daemon."""
    done = ctl(*arguments)
    assert done.returncode == 2
    assert done.stderr
    assert not done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["frobnicate"], ["completion", "bash"], ["list", "-o", "xml"]],
)
def test_cheap_commands_import_nothing_heavy(arguments: list[str]) -> None:
    """Help, usage errors and completion import neither gRPC nor rich nor anything of the daemon."""
    script = (
        "import sys; from byteorctl.cli import run; code = run(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_no_module_imports_the_daemon() -> None:
    """The client speaks only the network: importing all of it loads nothing of byteord."""
    script = (
        "import importlib, pkgutil, sys, byteorctl\n"
        "for each in pkgutil.walk_packages(byteorctl.__path__, 'byteorctl.'):\n"
        "    importlib.import_module(each.name)\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'byteord'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_answers_within_its_budget() -> None:
    """`--help` costs under 150 ms as a whole process, which is its time on an idle machine."""
    assert best_of(20, 0.150, lambda: cpu_cost_s(lambda: ctl("--help"))) < 0.150


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_for_byteorctl(shell: str) -> None:
    """Each script calls byteorctl back."""
    done = ctl("completion", shell)
    assert done.returncode == 0
    assert "_BYTEORCTL_COMPLETE" in done.stdout


def test_bash_takes_the_completion_script() -> None:
    """The script is valid bash and registers a completion."""
    script = ctl("completion", "bash").stdout
    done = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p byteorctl"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "byteorctl" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("byteorctl va", "validate"),
        ("byteorctl list -o ya", "yaml"),
        ("byteorctl run --de", "--detach"),
    ],
)
def test_completion_offers_verbs_options_and_formats(words: str, offered: str) -> None:
    """What the shell asks for is answered without a daemon."""
    done = ctl(
        _BYTEORCTL_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert f"plain,{offered}" in done.stdout


def test_completion_of_documents_is_left_to_the_shell() -> None:
    """Where a path belongs, the shell is told to complete files."""
    done = ctl(_BYTEORCTL_COMPLETE="bash_complete", COMP_WORDS="byteorctl run s", COMP_CWORD="2")
    assert done.stdout.startswith("file,")


def test_no_daemon_exits_69_with_the_next_step(tmp_path: Path) -> None:
    """A verb that needs a daemon names the socket and what to do."""
    where = tmp_path / "none.sock"
    done = ctl("list", "--address", f"unix:{where}")
    assert done.returncode == 69
    assert f"unix:{where}: the socket does not exist; start byteord" in done.stderr


def test_a_dead_socket_exits_69(tmp_path: Path) -> None:
    """A socket file that nobody listens on is told apart from one that is missing."""
    where = str(tmp_path / "dead.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(where)
    done = ctl("list", BYTEOR_SOCKET=where)
    assert done.returncode == 69
    assert "refuses connections" in done.stderr


def test_an_explicit_address_never_gets_a_private_daemon(tmp_path: Path) -> None:
    """Who names a daemon means that one, also with `run --sp` and for offline verbs."""
    spec = tmp_path / "spec.toml"
    spec.write_text("")
    for arguments in (["validate", str(spec)], ["run", "--sp", str(spec)], ["version"]):
        done = ctl(*arguments, BYTEOR_SOCKET=str(tmp_path / "none.sock"))
        assert done.returncode == 69, done.stderr


def test_plain_run_without_a_daemon_points_to_sp(tmp_path: Path) -> None:
    """A plain `run` says both ways on."""
    spec = tmp_path / "spec.toml"
    spec.write_text("")
    done = ctl(
        "run",
        str(spec),
        "--input",
        os.devnull,
        XDG_RUNTIME_DIR=str(tmp_path),
        BYTEOR_SOCKET=str(tmp_path / "x"),
    )
    assert done.returncode == 69
    assert "run --sp" in done.stderr


def test_missing_input_exits_66_before_anything_starts(tmp_path: Path) -> None:
    """The input is opened first: no daemon is asked."""
    spec = tmp_path / "spec.toml"
    spec.write_text("")
    done = ctl(
        "run",
        "--sp",
        str(spec),
        "--input",
        str(tmp_path / "none"),
        BYTEOR_SOCKET=str(tmp_path / "x"),
    )
    assert done.returncode == 66
    assert "input " in done.stderr


def test_detach_refuses_ends_that_are_this_client(tmp_path: Path) -> None:
    """A client that leaves cannot feed."""
    spec = tmp_path / "spec.toml"
    spec.write_text("")
    done = ctl("run", str(spec), "--detach", "--input", "-")
    assert done.returncode == 2
    assert "--detach" in done.stderr


def test_client_version_needs_no_daemon() -> None:
    """`--version` and `version --client` answer alone."""
    assert ctl("--version").stdout.startswith("byteorctl ")
    assert ctl("version", "--client", "-o", "jsonpath={.daemon}").stdout == "null\n"


def test_a_closed_pipe_is_no_traceback() -> None:
    """`byteorctl ... | head` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "byteorctl", "completion", "bash"],
        stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


def test_default_socket_is_the_systems_for_root_and_the_users_own_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client looks where byteord listens."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_socket() == "/run/byteor/byteord.sock"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert default_socket() == "/run/user/1000/byteor/byteord.sock"


@pytest.mark.parametrize("text", ["unix:/a/b", "unix:///a/b", "/a/b"])
def test_addresses_have_three_forms(text: str) -> None:
    """GRPC's forms and a plain path mean the same."""
    assert parse(text) == "/a/b"


def test_probe_tells_listening_absent_refusing_apart(tmp_path: Path) -> None:
    """The three answers come from the socket itself, at once."""
    where = str(tmp_path / "s")
    assert probe(where) is Answer.ABSENT
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(where)
        assert probe(where) is Answer.REFUSES
        listener.listen()
        started = time.monotonic()
        assert probe(where) is Answer.LISTENS
        assert time.monotonic() - started < 1


def test_permission_denied_is_77(tmp_path: Path) -> None:
    """A socket that may not be opened is never worked around with a private daemon."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(65534)  # root may open every socket
    try:
        assert probe(str(closed / "s")) is Answer.DENIED
    finally:
        if as_root:
            os.seteuid(0)


def test_a_remote_address_says_what_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host and port with three files, from options or the environment; nothing less."""
    with pytest.raises(CliError, match="tls:HOST:PORT"):
        parse("host:443")
    with pytest.raises(CliError, match="tls:HOST:PORT"):
        resolve("tls:host")
    monkeypatch.setenv("BYTEOR_TLS_CA", "ca.pem")
    with pytest.raises(CliError, match=r"--tls-cert \(or BYTEOR_TLS_CERT\), --tls-key"):
        resolve("tls:host:443")
    found = resolve("tls:host:443", TlsFiles(cert="a.crt", key="a.key"))
    assert (found.host_port, found.tls) == ("host:443", TlsFiles("ca.pem", "a.crt", "a.key"))
    assert str(found) == "tls:host:443"


def test_a_thread_that_never_ends_does_not_keep_the_client(tmp_path: Path) -> None:
    """The verb's exit code and output arrive although a thread of a library hangs at shutdown."""
    script = (
        "import sys, threading; from byteorctl.__main__ import main; "
        "threading.Thread(target=threading.Event().wait).start(); "
        "sys.argv = ['byteorctl', 'completion', 'nonsense']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "nonsense" in done.stderr
