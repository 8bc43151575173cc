"""Runs as a person drives them: byteorctl as a process against the real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.timing import best_of, cpu_cost_s

SPEC = """
version = 1
name = "{name}"
model = "single_ring"
[ring]
capacity = 256
slot_bytes = 128
[[stages]]
name = "work"
stage = "{stage}"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
LINES = '[adapters.in]\nkind = "stdin"\n[adapters.out]\nkind = "stdout"\n'
ENDLESS = '[adapters.in]\nkind = "generator"\nrate = 1000\n[adapters.out]\nkind = "discard"\n'
STAGE = """
class Broken:
    def __init__(self, config):
        pass

    def process(self, batch):
        raise ValueError("not a line: \\x1b[31m")
"""


class Bench:
    """A directory of documents and a daemon that may load code from it."""

    def __init__(self, daemon: DaemonProcess, directory: Path) -> None:
        """Keep both."""
        self.daemon = daemon
        self.directory = directory

    def spec(self, name: str, deployment: str, stage: str = "identity") -> str:
        """Write a spec and the deployment beside it; return the spec's path."""
        home = self.directory / name
        home.mkdir()
        (home / "spec.toml").write_text(SPEC.format(name=name, stage=stage))
        (home / "deployment.toml").write_text(f'version = 1\nenvironment = "dev"\n{deployment}')
        return str(home / "spec.toml")

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start byteorctl."""
        command = [sys.executable, "-m", "byteorctl", "--address", self.daemon.address, *arguments]
        return subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run byteorctl to its end; return exit code, standard output and standard error."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Provide a daemon of one's own, with nothing left of it afterwards."""
    with running_daemon(arguments=["--code-dir", str(tmp_path)]) as daemon:
        yield Bench(daemon, tmp_path)


@pytest.mark.parametrize("mode", [(), ("--sp",)])
def test_lines_go_through_a_run_unchanged(bench: Bench, mode: tuple[str, ...]) -> None:
    """Input and output are streamed, a last line without newline is not lost, figures are shown."""
    source = bench.directory / "source"
    source.write_text("".join(f"line {n}\n" for n in range(5000)) + "last")
    target = bench.directory / "out"
    spec = bench.spec("lines", LINES)
    code, out, err = bench.run("run", *mode, spec, "--input", str(source), "--output", str(target))
    assert (code, out) == (0, ""), err
    assert target.read_text() == source.read_text() + "\n"
    assert "lines: completed" in err
    assert "5,001" in err
    assert "ready after" in err


def test_the_life_of_a_detached_run(bench: Bench) -> None:
    """Run --detach, list, status, watch, snapshot, stop, and what is remembered afterwards."""
    code, out, err = bench.run("run", "--detach", bench.spec("endless", ENDLESS))
    assert code == 0, err
    run_id = out.strip()
    assert bench.run("list", "-o", "jsonpath={.runs[*].id}") == (0, f"{run_id}\n", "")
    code, out, _ = bench.run("status", "endless")
    assert code == 0
    for word in (run_id, "running", "generator", "identity", "discard", "WORKER", "first message"):
        assert word in out
    watch = bench.start("watch", run_id, "-o", "jsonl")
    assert watch.stdout is not None
    assert json.loads(watch.stdout.readline())["kind"] == "snapshot"
    target = bench.directory / "snapshot.json"
    assert bench.run("snapshot", run_id, "--out", str(target))[0] == 0
    assert json.loads(target.read_text())
    code, out, err = bench.run("stop", run_id)
    assert (code, "stopped" in out) == (0, True), err
    events = [json.loads(line) for line in watch.communicate(timeout=30)[0].splitlines()]
    assert (watch.returncode, events[-1]["kind"]) == (0, "ended")
    assert run_id not in bench.run("list")[1]
    assert run_id in bench.run("list", "--all")[1]
    assert bench.run("status", run_id, "-o", "jsonpath={.state}")[1] == "stopped\n"


def test_a_stage_that_raises_fails_the_run_by_name(bench: Bench) -> None:
    """Exit 1, the stage, its sequence and what it said, without escapes that a terminal obeys."""
    spec = bench.spec("broken", LINES, stage="python:broken_stage:Broken")
    (bench.directory / "broken_stage.py").write_text(STAGE)
    (bench.directory / "in").write_text("a\nb\n")
    target = bench.directory / "out"
    ends = ("--input", str(bench.directory / "in"), "--output", str(target))
    code, _, err = bench.run("run", spec, *ends)
    assert code == 1, err
    assert "role work (python:broken_stage:Broken)" in err
    assert "not a line" in err
    assert "\x1b" not in err
    assert not target.exists()
    run_id = bench.run("list", "--all", "-o", "jsonpath={.runs[0].id}")[1].strip()
    assert "not a line" in bench.run("status", run_id)[1]


def test_findings_of_a_bad_spec_are_all_shown(bench: Bench) -> None:
    """`validate` and `run` refuse with 78 and name every problem; `run` starts nothing."""
    spec = Path(bench.spec("bad", LINES, stage="identiti"))
    spec.write_text(spec.read_text().replace("capacity = 256", "capacity = 1000"))
    code, out, err = bench.run("validate", str(spec))
    assert code == 78, err
    assert out.count("error ") == 2
    assert "ring.capacity" in out
    assert "identity" in out
    code, _, err = bench.run("run", str(spec), "--input", os.devnull, "--output", os.devnull)
    assert code == 78
    assert "ring.capacity" in err
    assert bench.run("list", "--all", "-o", "jsonpath={.runs[*].id}")[1] == ""


def test_junk_is_refused_as_a_document(bench: Bench) -> None:
    """Two MiB of junk and invalid UTF-8 are findings, not crashes."""
    for name, content in (("junk", b"x" * (2 << 20)), ("utf", b'name = "\xff"')):
        path = bench.directory / f"{name}.toml"
        path.write_bytes(content)
        code, out, err = bench.run("validate", str(path))
        assert code == 78, err
        assert "error " in out


def test_overrides_reach_the_deployment(bench: Bench) -> None:
    """`--set` is applied and checked like the document itself; `--validate-only` starts nothing."""
    spec = bench.spec("override", ENDLESS)
    check = ("run", "--validate-only", spec)
    assert bench.run(*check, "--set", "tuning.wait=park")[0] == 0
    code, _, err = bench.run(*check, "--set", "tuning.wait=sometimes")
    assert code == 78
    assert "tuning.wait" in err
    assert bench.run("list", "--all", "-o", "jsonpath={.runs[*].id}")[1] == ""


def test_runs_that_do_not_exist_exit_66(bench: Bench) -> None:
    """status, stop, watch and snapshot name what was not found."""
    for verb in ("status", "stop", "watch", "snapshot"):
        code, _, err = bench.run(verb, "no-such-run")
        assert code == 66, (verb, err)
        assert "no-such-run" in err


def test_one_interrupt_drains_a_live_run(bench: Bench) -> None:
    """What was fed before Ctrl-C comes out whole; the exit code says interrupted."""
    read, write = os.pipe()
    target = bench.directory / "out"
    process = bench.start("run", bench.spec("drained", LINES), "--output", str(target), stdin=read)
    os.close(read)
    os.write(write, b"one\ntwo\n")
    until(lambda: _received(bench) >= 2, 30, "two lines received")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(write)
    assert process.returncode == 130, err
    assert target.read_text() == "one\ntwo\n"


def test_a_daemon_killed_during_a_run_exits_69(bench: Bench) -> None:
    """The client says that the daemon went away and leaves no output; the run ends too."""
    read, write = os.pipe()
    target = bench.directory / "out"
    process = bench.start("run", bench.spec("orphan", LINES), "--output", str(target), stdin=read)
    os.close(read)
    os.write(write, b"one\n")
    until(lambda: _received(bench) >= 1, 30, "a line received")
    bench.daemon.kill()
    _, err = process.communicate(timeout=60)
    os.close(write)
    assert process.returncode == 69, err
    assert "went away during" in err
    assert os.listdir(bench.directory) == ["orphan"]
    bench.daemon.start()
    until(lambda: not bench.daemon.run_directories(), 60, "the run has ended")


def test_validate_is_quick(bench: Bench) -> None:
    """Through a running daemon `validate` costs under 400 ms, client and daemon together."""
    spec = bench.spec("quick", LINES)
    assert bench.run("validate", spec)[0] == 0

    def measure() -> float:
        return cpu_cost_s(lambda: bench.run("validate", spec), also=bench.daemon.pid)

    assert best_of(20, 0.4, measure) < 0.4


def test_snapshots_are_the_same_document_in_every_format(bench: Bench) -> None:
    """`--out` writes what was digested; YAML and JSON are views of it."""
    run_id = bench.run("run", "--detach", bench.spec("shot", ENDLESS))[1].strip()
    as_json = json.loads(bench.run("snapshot", run_id, "-o", "json")[1])
    as_yaml = yaml.safe_load(bench.run("snapshot", run_id, "-o", "yaml")[1])
    assert set(as_json) == set(as_yaml)
    assert bench.run("stop", run_id, "--abort")[0] == 0


def _received(bench: Bench) -> int:
    code, out, _ = bench.run("list", "-o", "jsonpath={.runs[0].id}")
    if code or not out.strip():
        return 0
    code, out, _ = bench.run("status", out.strip(), "-o", "jsonpath={.roles[0].received}")
    return int(out or 0)
