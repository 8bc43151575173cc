"""Bundles and snapshots without a daemon: of runs that a dead or stuck one left on this host."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cli_bundle import BOOM, ctl, started, state
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, processes_naming, running_daemon
from tests.support.poll import until

HANG = """
import threading

class Boom:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        threading.Event().wait()
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """Provide a daemon whose stage hangs with its first message."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "boom.py").write_text(HANG)
    with running_daemon(arguments=["--code-dir", str(code)], check=False) as daemon:
        yield daemon


def offline(daemon: DaemonProcess, verb: str, run: str, out: Path) -> dict[str, Any]:
    """Take a bundle or a snapshot without the daemon; return the snapshot."""
    before = tree(daemon)
    done = byteorctl(verb, run, "--offline", "--config", daemon.config, "--out", out)
    assert done.returncode == 0, done.stderr
    assert tree(daemon) == before, "nothing of the daemon was touched"
    if verb == "snapshot":
        return dict(json.loads(out.read_bytes()))
    assert byteorctl("bundle", "verify", out).returncode == 0
    return dict(json.loads((out / "single_ring_snapshot.json").read_bytes()))


def told(bundle: Path, run: str) -> list[str]:
    """Return the events of a run that a bundle has."""
    lines = (bundle / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert {each["run"] for each in events} == {run}
    return [each["event"] for each in events if each["event"].startswith("run.")]


def tree(daemon: DaemonProcess) -> list[tuple[str, int]]:
    """Return names and inodes of what the daemon keeps."""
    places = [daemon.directory / "state", daemon.regions]
    paths = [path for place in places for path in place.rglob("*")]
    return sorted((str(path), path.lstat().st_ino) for path in paths)


def waiting(daemon: DaemonProcess, top: Path) -> str:
    """Start a run that hangs and return its id once messages wait."""
    run = started(daemon, top, 100_000, rate=5000)

    def full() -> bool:
        said = json.loads(ctl(daemon, "status", run, "-o", "json").stdout)
        return any(role["lag_slots"] > 10 for role in said["roles"])

    until(full, 30.0, "messages wait")
    return run


def test_a_stopped_daemon_is_no_obstacle(daemon: DaemonProcess, tmp_path: Path) -> None:
    """While the daemon does not answer, and after it was killed, the run's memory tells all."""
    run = waiting(daemon, tmp_path)
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        wedged = offline(daemon, "snapshot", run, tmp_path / "snapshot.json")
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert wedged["run"]["state"] == "running"
    assert wedged["regions"]["rings"][0]["held_by"] == "work"
    daemon.kill()
    snapshot = offline(daemon, "incident-bundle", run, tmp_path / "bundle")
    assert snapshot["run"]["state"] == "running"
    assert snapshot["regions"]["rings"][0]["held_by"] == "work"
    files = {path.name for path in (tmp_path / "bundle").iterdir()}
    assert {"spec.kv", "deployment.toml", "doctor.json", "environment.json"} <= files
    assert told(tmp_path / "bundle", run) == ["run.started"]
    assert b'state="running"} 1' in (tmp_path / "bundle" / "metrics.prom").read_bytes()
    config = (tmp_path / "bundle" / "runtime_config.txt").read_text()
    assert "log.level=debug\n" in config
    assert str(daemon.directory) not in config


def test_a_run_that_is_dead_altogether(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Daemon, shim and workers are gone: what they left in shared memory is enough."""
    run = waiting(daemon, tmp_path)
    daemon.kill()
    for line in processes_naming(str(daemon.regions)):
        os.kill(int(line.split()[0]), signal.SIGKILL)
    until(lambda: not processes_naming(str(daemon.regions)), 10.0, "all are gone")
    snapshot = offline(daemon, "incident-bundle", run, tmp_path / "bundle")
    assert snapshot["run"]["state"] == "failed"
    assert snapshot["run"]["failure"]["reason"] == "SHIM_DIED"
    assert snapshot["regions"]["rings"][0]["cursor"] > 0
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())
    reasons = {row["name"]: row["reason"] for row in manifest["left_out"]}
    assert "no process" in reasons["environment.json"]
    assert told(tmp_path / "bundle", run) == ["run.started"]
    assert b'state="failed"} 1' in (tmp_path / "bundle" / "metrics.prom").read_bytes()
    again = offline(daemon, "snapshot", run, tmp_path / "s.json")
    assert again["regions"]["rings"] == snapshot["regions"]["rings"]


def test_a_run_that_had_ended(tmp_path: Path) -> None:
    """Of a run in a dead daemon's history there is a bundle too; what is not there exits 66."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "boom.py").write_text(BOOM)
    with running_daemon(arguments=["--code-dir", str(code)]) as daemon:
        run = started(daemon, tmp_path, 1000)
        until(lambda: state(daemon, run) == "failed", 30.0, "the run failed")
        assert daemon.stop() == 0
        snapshot = offline(daemon, "incident-bundle", run, tmp_path / "bundle")
        assert snapshot["run"]["failure"]["sequence"] == 299
        assert {"run.started", "run.ended"} <= set(told(tmp_path / "bundle", run))
        assert b'state="failed"} 1' in (tmp_path / "bundle" / "metrics.prom").read_bytes()
        assert json.loads((tmp_path / "bundle" / "audit_checkpoint.json").read_bytes())["sig"]
        out = tmp_path / "x.tar"
        for missing in (["nobody"], [run, "--config", str(tmp_path / "absent.toml")]):
            config = [] if "--config" in missing else ["--config", str(daemon.config)]
            done = byteorctl("incident-bundle", *missing, "--offline", *config, "--out", out)
            assert done.returncode != 0
            assert not out.exists()
        daemon.start()
