"""`byteorctl test`: golden cases against the real daemon."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import running_daemon
from tests.support.tree import TOP

EXAMPLE = TOP / "deploy" / "examples" / "ssh-failures"
LINE = "Mar  4 01:02:05 gate sshd[812]: Failed password for root from 192.0.2.7 port 50022 ssh2\n"
OBJECT = (
    '{"time": "Mar  4 01:02:05", "host": "gate", "user": "root", '
    '"address": "192.0.2.7", "port": 50022}'
)
BOOM = """
class Boom:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        for payload in batch:
            if b"boom" in bytes(payload):
                raise ValueError("boom")
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Provide a copy of an example without its cases."""
    directory = tmp_path / "pipeline"
    shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("cases", "__pycache__"))
    (directory / "cases").mkdir()
    return directory


def case(pipeline: Path, name: str, text: str) -> None:
    """Write a case."""
    (pipeline / "cases" / f"{name}.toml").write_text(text)


def run(pipeline: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the cases."""
    return byteorctl("test", pipeline, *arguments)


@pytest.mark.parametrize("name", ["es-trades", "ssh-failures", "market-fanout"])
@pytest.mark.parametrize("mode", [(), ("--processes",)])
def test_the_examples_pass_their_own_cases(
    tmp_path: Path, name: str, mode: tuple[str, ...]
) -> None:
    """What ships is right, in one process and in several; nothing is left beside the spec."""
    shutil.copytree(TOP / "deploy" / "examples" / name, tmp_path / name)
    done = byteorctl("test", tmp_path / name, *mode)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b" 0 failed" in done.stdout
    there = {path.name for path in (TOP / "deploy" / "examples" / name).iterdir()}
    assert {path.name for path in (tmp_path / name).iterdir()} <= there


def test_dry_runs_append_to_no_journal(tmp_path: Path) -> None:
    """Under a daemon, too: what a journal had it has, byte for byte; `describe` says why."""
    fanout = tmp_path / "fanout"
    shutil.copytree(TOP / "deploy" / "examples" / "market-fanout", fanout)
    allowed = {"allow.code_dirs": [str(fanout)], "allow.write_dirs": [str(fanout)]}
    spec, records = fanout / "spec.toml", fanout / "cases" / "sixty-records.bin"
    given = ("--input", str(records), "--output", str(tmp_path / "out"))
    with running_daemon(config=allowed) as daemon:

        def ctl(*arguments: str | Path) -> bytes:
            done = byteorctl("--address", daemon.address, *arguments)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        ctl("run", spec, *given)
        before = {path.name: path.read_bytes() for path in (fanout / "journal").iterdir()}
        assert len(before) == 2
        ctl("test", fanout, "--case", "sixty-records")
        ctl("run", "--dry-run", spec, *given)
        assert {path.name: path.read_bytes() for path in (fanout / "journal").iterdir()} == before
        with (fanout / "deployment.toml").open("a") as deployment:
            deployment.write("[effects]\ndry_run = true\n")
        assert b"journal everything: a dry run keeps" in ctl("describe", spec)


def test_a_difference_shows_both_sides_and_exits_1(pipeline: Path, tmp_path: Path) -> None:
    """The first differing line, expected and seen, on the terminal, as data and as JUnit."""
    case(pipeline, "bad", f"input_text = '''{LINE}'''\noutput_text = '''{OBJECT[:-3]}3}}\n'''\n")
    case(pipeline, "good", f"input_text = '''{LINE}'''\noutput_text = '''{OBJECT}\n'''\n")
    results = tmp_path / "results.xml"
    done = run(pipeline, "--junit", str(results))
    assert done.returncode == 1, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("bad: FAILED")
    assert "line 1 is the first that differs" in lines[1]
    assert f"  +{OBJECT}" in lines
    assert lines[-1] == "1 passed, 1 failed"
    suite = ET.fromstring(results.read_text())  # noqa: S314 - written by the client just now
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [one.get("name") for one in suite if one.find("failure") is not None] == ["bad"]


def test_drops_digests_and_failures_are_expectations_too(pipeline: Path) -> None:
    """A case may expect drops by role, an output by digest, or a failure by its reason."""
    case(pipeline, "drops", f"input_text = '''x\n{LINE}'''\n[drops]\nfailed = 2\nnobody = 0\n")
    case(pipeline, "digest", f"input_text = '''{LINE}'''\noutput_sha256 = \"{'0' * 64}\"\n")
    case(pipeline, "fails", 'input_text = "Failed password boom"\nfails = "STAGE_FAILED"\n')
    case(pipeline, "unexpected", 'input_text = "Failed password boom"\noutput_text = ""\n')
    (pipeline / "boom.py").write_text(BOOM)
    spec = (pipeline / "spec.toml").read_text()
    (pipeline / "spec.toml").write_text(spec.replace("ssh_failures:ToJson", "boom:Boom"))
    done = run(pipeline, "-o", "json")
    cases = {one["case"]: one for one in json.loads(done.stdout)["cases"]}
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in cases["drops"]["problems"]] == [
        "drops.failed",
        "drops.nobody",
    ]
    assert "1 messages dropped; expected 2" in cases["drops"]["problems"][0]
    assert cases["digest"]["problems"][0].startswith("output: sha256 ")
    assert cases["fails"]["passed"]
    assert "STAGE_FAILED" in cases["unexpected"]["problems"][0]


def test_update_writes_what_was_seen_once(pipeline: Path) -> None:
    """--update makes the expected file; afterwards the case passes without it."""
    case(pipeline, "one", f"input_text = '''{LINE}'''\noutput = \"one.jsonl\"\n")
    assert b"--update writes" in run(pipeline).stdout
    assert run(pipeline, "--update").returncode == 0
    assert (pipeline / "cases" / "one.jsonl").read_text() == OBJECT + "\n"
    assert run(pipeline).returncode == 0


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ('inputs = "x"\n', 65, b"the key inputs"),
        ('input_text = "x"\n', 65, b"nothing expected"),
        ('input = "a"\ninput_text = "x"\noutput_text = ""\n', 65, b"input and input_text"),
        ('input = "absent"\noutput_text = ""\n', 66, b"absent"),
        ("drops = 3\n", 65, b"drops = 3"),
        ("drops.failed = -1\n", 65, b"drops.failed = -1"),
        ("= x", 65, b"wanted TOML"),
    ],
)
def test_a_case_that_cannot_be_read_is_named(
    pipeline: Path, text: str, code: int, said: bytes
) -> None:
    """The message names the file, what was seen and what was wanted; nothing is started."""
    case(pipeline, "odd", text)
    done = run(pipeline)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert b"cases/" in done.stderr


def test_no_case_is_an_error(pipeline: Path) -> None:
    """An empty directory, or a pattern that matches nothing, never counts as success."""
    assert run(pipeline).returncode == 66
    case(pipeline, "one", 'output_text = ""\n')
    done = run(pipeline, "--case", "two*")
    assert done.returncode == 66
    assert b"seen one; wanted a name like two*" in done.stderr


def test_a_refused_spec_is_shown_in_the_case(pipeline: Path) -> None:
    """Findings of the daemon stand in the case's result."""
    case(pipeline, "one", 'output_text = ""\n[set]\n"tuning.wait" = "sleepy"\n')
    done = run(pipeline)
    assert done.returncode == 1
    assert b"tuning.wait" in done.stdout
