"""The private daemon that offline verbs bring along when none runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from byteorctl.address import Answer, default_socket, probe
from byteord.errors import DeniedError, NotFoundError
from byteord.private import check_effects_allowed
from tests.support.poll import until

pytestmark = pytest.mark.skipif(
    os.geteuid() == 0 and probe(default_socket()) is Answer.LISTENS,
    reason="a system daemon runs here, so none is started privately",
)

SPEC = """
version = 1
name = "lines"
model = "single_ring"
[ring]
capacity = 64
slot_bytes = 128
[[stages]]
name = "work"
stage = "identity"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
environment = "dev"
adapters.in.kind = "stdin"
adapters.out.kind = "stdout"
"""


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run byteorctl where its private daemon's directory is below `tmp_path`."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "byteorctl", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=without_socket() | {"XDG_RUNTIME_DIR": str(tmp_path), **environment},
        cwd=tmp_path,
    )


def without_socket() -> dict[str, str]:
    """Return the environment without an explicit address."""
    return {key: value for key, value in os.environ.items() if key != "BYTEOR_SOCKET"}


def daemons(tmp_path: Path) -> list[psutil.Process]:
    """Return private daemons whose directory is below `tmp_path`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "--private" in words and any(word.startswith(str(tmp_path)) for word in words):
            found.append(process)
    return found


def shims(tmp_path: Path) -> list[psutil.Process]:
    """Return shims, waiting or with their workers, of private daemons below `tmp_path`."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if "byteord.shim" in words and environment.get("XDG_RUNTIME_DIR") == str(tmp_path):
            found.append(process)
    return found


def test_version_brings_a_daemon_and_leaves_nothing(tmp_path: Path) -> None:
    """The first command a newcomer types works; neither process nor directory is left."""
    done = run(tmp_path, "version", "-o", "jsonpath={.daemon.environment}")
    assert (done.returncode, done.stdout) == (0, "dev\n"), done.stderr
    assert daemons(tmp_path) == []
    assert list(tmp_path.glob("byteor-*")) == []


def test_modules_in_the_current_directory_are_not_executed(tmp_path: Path) -> None:
    """A `byteord.py` or `asyncio.py` where one happens to stand is not run as the daemon."""
    for name in ("byteord", "asyncio", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted code ran')")
    done = run(tmp_path, "version")
    assert done.returncode == 0, done.stderr


def test_a_daemon_that_cannot_start_exits_69_with_its_last_words(tmp_path: Path) -> None:
    """What it wrote on its standard error is shown then, and only then."""
    broken = tmp_path / "path" / "byteord"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("")
    (broken / "__main__.py").write_text("raise SystemExit('no shared memory here')")
    done = run(tmp_path, "version", PYTHONPATH=str(broken.parent))
    assert done.returncode == 69
    assert "private byteord: ended with exit 1 before it was ready" in done.stderr
    assert "byteord: no shared memory here" in done.stderr
    assert list(tmp_path.glob("byteor-*")) == []


def test_a_killed_client_takes_its_daemon_along(tmp_path: Path) -> None:
    """`kill -9` of the client ends the daemon too, which removes its directory."""
    read, write = os.pipe()
    script = (
        "import sys; from byteorctl.app import App\n"
        "with App().connect(private=[]) as client:\n"
        "    print('up', flush=True); sys.stdin.read()\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=read,
        stdout=subprocess.PIPE,
        env=without_socket() | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    os.close(read)
    assert client.stdout is not None
    assert client.stdout.readline() == b"up\n"
    assert len(daemons(tmp_path)) == 1
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdout.close()
    os.close(write)
    until(lambda: not daemons(tmp_path), 30, "private daemon gone")
    until(lambda: not list(tmp_path.glob("byteor-*")), 10, "its directory gone")


def start_run(tmp_path: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start `run --sp` on lines from a pipe; return it, and where to write more than one line."""
    (tmp_path / "spec.toml").write_text(SPEC)
    (tmp_path / "deployment.toml").write_text(DEPLOYMENT)
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "byteorctl", "run", "--sp", "spec.toml"],
        stdin=read,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=without_socket() | {"XDG_RUNTIME_DIR": str(tmp_path)},
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(read)
    os.write(write, b"line\n")
    assert process.stdout is not None
    assert process.stdout.readline() == b"line\n"
    return process, write


def private_regions() -> set[str]:
    """Return the regions of private daemons of this user."""
    return {name for name in os.listdir("/dev/shm") if name.startswith("byteor-private-")}


def test_ctrl_c_at_the_terminal_drains_a_run_of_a_private_daemon(tmp_path: Path) -> None:
    """The signal of the terminal reaches the client alone: the run is drained, nothing is left."""
    before = private_regions()
    process, write = start_run(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(write)
    assert process.returncode == 130, err
    assert b"lines: stopped" in err
    assert daemons(tmp_path) == []
    assert shims(tmp_path) == []
    assert private_regions() <= before


def test_a_killed_client_ends_its_run(tmp_path: Path) -> None:
    """`kill -9` of `run --sp` ends daemon, shim and workers, and clears shared memory."""
    before = private_regions()
    process, write = start_run(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    os.close(write)
    until(lambda: not daemons(tmp_path), 30, "private daemon gone")
    until(lambda: private_regions() <= before, 30, "regions gone")
    until(lambda: not shims(tmp_path), 30, "shims gone")


def test_a_killed_daemon_leaves_no_shim(tmp_path: Path) -> None:
    """`kill -9` of the private daemon of a run ends its shim too."""
    process, write = start_run(tmp_path)
    assert shims(tmp_path)
    [daemon] = daemons(tmp_path)
    daemon.kill()
    _, err = process.communicate(timeout=60)
    os.close(write)
    assert process.returncode == 69, err
    until(lambda: not shims(tmp_path), 30, "shims gone")


def test_plain_run_never_brings_a_daemon(tmp_path: Path) -> None:
    """A run that is to stay needs a daemon that stays: exit 69 with both ways on."""
    (tmp_path / "spec.toml").write_text("")
    started = time.monotonic()
    done = run(tmp_path, "run", "spec.toml", "--input", os.devnull)
    assert done.returncode == 69
    assert "start byteord, or use `run --sp`" in done.stderr
    assert time.monotonic() - started < 10


def test_effects_of_a_private_run_are_dry_unless_asked_for(tmp_path: Path) -> None:
    """A file that the run would write is not made; with `--allow-effects` it is."""
    (tmp_path / "spec.toml").write_text(SPEC)
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    (tmp_path / "deployment.toml").write_text(
        f'version = 1\n[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.txt"\n'
        f'[adapters.out]\nkind = "file"\npath = "{tmp_path}/out.txt"\n'
    )
    done = run(tmp_path, "run", "--sp", "spec.toml")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out.txt").exists()
    assert "written down, not done" in done.stdout + done.stderr
    assert f"{tmp_path}/out.txt" in done.stdout + done.stderr
    done = run(tmp_path, "run", "--sp", "spec.toml", "--allow-effects")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_a_host_for_more_than_dev_allows_no_effects_of_a_private_run(
    tmp_path: Path, environment: str
) -> None:
    """Its configuration says so; one that says dev, or none, does not; one unread denies."""
    file = tmp_path / "byteord.toml"
    check_effects_allowed(str(file))
    file.write_text('environment = "dev"\n')
    check_effects_allowed(str(file))
    file.write_text(f'environment = "{environment}"\n')
    with pytest.raises(DeniedError, match=f"this host is {environment}"):
        check_effects_allowed(str(file))
    file.unlink()
    file.symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotFoundError):
        check_effects_allowed(str(file))
