"""Bundles that runs make by themselves, through the real daemon: each cause once, each whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cli_bundle import BOOM, SPEC, ctl
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

STAGES = {
    "boom": BOOM,
    "hang": """
import threading

class Boom:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        threading.Event().wait()
""",
    "steady": """
class Boom:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        pass
""",
}
EFFECTS = 'effects = []\nstate = "stateless"'
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "generator"
size = 16
count = COUNT
rate = 2000
[adapters.out]
kind = "discard"
[failure]
policy = "POLICY"
[bundle]
code = true
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """Provide a daemon that may load the stages."""
    code = tmp_path_factory.mktemp("code")
    for name, text in STAGES.items():
        (code / f"{name}.py").write_text(text)
    with running_daemon(arguments=["--code-dir", str(code)]) as daemon:
        yield daemon


def start(
    daemon: DaemonProcess, top: Path, stage: str, extra: str = "", policy: str = "stop_pipeline"
) -> str:
    """Start a run with a stage and what is added to its deployment; return its id."""
    spec = SPEC.replace("boom:Boom", f"{stage}:Boom")
    (top / "spec.toml").write_text(spec.replace("effects = []", EFFECTS))
    count = "100000000" if stage == "steady" else "4000"
    text = DEPLOYMENT.replace("POLICY", policy).replace("COUNT", count)
    (top / "deployment.toml").write_text(text + extra)
    done = ctl(daemon, "run", str(top / "spec.toml"), "--detach")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def bundles(daemon: DaemonProcess, run: str) -> list[dict[str, Any]]:
    """Return what `bundle list` says of a run."""
    done = ctl(daemon, "bundle", "list", "--run", run, "-o", "json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)["bundles"])


def got(daemon: DaemonProcess, bundle: str, out: Path) -> dict[str, bytes]:
    """Fetch a bundle, verify it, return its files."""
    done = ctl(daemon, "bundle", "get", bundle, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert byteorctl("bundle", "verify", str(out)).returncode == 0
    with tarfile.open(out) as tar:
        found = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in found.items() if file is not None}


def why(daemon: DaemonProcess, run: str) -> list[str]:
    """Return what the bundles of a run were made for, oldest first."""
    return [each["why"] for each in reversed(bundles(daemon, run))]


def stop(daemon: DaemonProcess, run: str) -> subprocess.CompletedProcess[bytes]:
    """End a run by force."""
    return ctl(daemon, "stop", run, "--abort")


def test_a_failing_run_makes_a_bundle_by_itself(daemon: DaemonProcess, tmp_path: Path) -> None:
    """It names the failing message, has the stage's code, the last metrics, an event of its own."""
    run = start(daemon, tmp_path, "boom")
    until(lambda: why(daemon, run) == ["failure"], 30.0, "a bundle was made")
    files = got(daemon, run, tmp_path / "b.tar.gz")
    snapshot = json.loads(files["single_ring_snapshot.json"])
    assert snapshot["run"]["failure"]["sequence"] == 299
    assert json.loads(files["manifest.json"])["why"] == "failure"
    assert files["code/boom.py"].decode() == BOOM
    assert json.loads(files["code.json"])["stages"]["work"]["path"] == "boom.py"
    assert f'run="{run}"'.encode() in files["metrics.prom"]
    assert b"run.ended" in files["events.jsonl"]
    assert json.loads(files["tuning.json"])["workers"]
    doctor = json.loads(files["doctor.json"])
    assert doctor["profile"] == "default"
    assert len(doctor["checks"]) > 100
    (event,) = [each for each in daemon.events("bundle.written") if each["run"] == run]
    assert Path(event["path"]).stat().st_size == event["bytes"]
    assert not [name for name in Path(event["path"]).parent.iterdir() if name.name[0] == "."]


def test_a_run_that_stops_as_asked_makes_none(daemon: DaemonProcess, tmp_path: Path) -> None:
    """With nothing to trigger it, and with every trigger taken off, there is no bundle."""
    run = start(daemon, tmp_path, "boom", "on = []\n")
    until(lambda: b'"failed"' in ctl(daemon, "status", run, "-o", "json").stdout, 30.0, "it failed")
    other = start(daemon, tmp_path, "boom")
    until(lambda: bool(bundles(daemon, other)), 30.0, "a later bundle was made")
    assert bundles(daemon, run) == []


def test_a_stage_that_hangs_is_a_stall(daemon: DaemonProcess, tmp_path: Path) -> None:
    """The bundle is made while the stage hangs; it says who holds the ring back."""
    run = start(daemon, tmp_path, "hang", 'on = ["stall"]\nstall_s = 1\n')
    until(lambda: why(daemon, run) == ["stall"], 30.0, "a bundle was made")
    files = got(daemon, run, tmp_path / "b.tar")
    snapshot = json.loads(files["single_ring_snapshot.json"])
    assert snapshot["run"]["state"] == "running"
    assert snapshot["regions"]["rings"][0]["held_by"] == "work"
    told = byteorctl("bundle", "inspect", str(tmp_path / "b.tar")).stdout.decode()
    assert "STANDS OUT" in told
    assert "slots wait for work" in told
    assert stop(daemon, run).returncode == 0


def test_a_worker_that_died_is_a_cause(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A restart makes one bundle, which tells of it."""
    run = start(daemon, tmp_path, "steady", 'on = ["watchdog"]\n', policy="restart")
    said = json.loads(ctl(daemon, "status", run, "-o", "json").stdout)
    (pid,) = [worker["pid"] for worker in said["workers"] if "work" in worker["roles"]]
    os.kill(pid, signal.SIGKILL)
    until(lambda: why(daemon, run) == ["watchdog"], 30.0, "a bundle was made")
    files = got(daemon, run, tmp_path / "b.tar")
    assert b"WorkerRestarted" in files["single_ring_snapshot.json"]
    assert stop(daemon, run).returncode == 0


def test_a_condition_makes_one_bundle(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A figure of a role that goes beyond its bound, once, however long it stays there."""
    extra = 'on = []\nwhen = ["role.out.received >= 100", "role.work.errors > 1000"]\n'
    run = start(daemon, tmp_path, "steady", extra)
    until(lambda: bool(why(daemon, run)), 30.0, "a bundle was made")
    assert why(daemon, run) == ["role.out.received >= 100"]
    assert stop(daemon, run).returncode == 0
    assert len(bundles(daemon, run)) == 1


def test_conditions_are_validated(daemon: DaemonProcess, tmp_path: Path) -> None:
    """What names no figure, or no trigger, is a finding at its key."""
    (tmp_path / "spec.toml").write_text(SPEC)
    extra = 'on = ["earthquake"]\nwhen = ["role.work.beauty > 3", "lane.x.depth"]\n'
    (tmp_path / "deployment.toml").write_text(
        DEPLOYMENT.replace("POLICY", "skip").replace("COUNT", "9") + extra
    )
    done = ctl(daemon, "validate", str(tmp_path / "spec.toml"), "-o", "json")
    assert done.returncode == 78
    paths = {finding["path"] for finding in json.loads(done.stdout)["findings"]}
    assert {"bundle.on.0", "bundle.when.0", "bundle.when.1"} <= paths


def test_what_the_daemon_of_another_life_left(tmp_path: Path) -> None:
    """A daemon that is killed while its run goes on: the next one knows the bundles of both."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "boom.py").write_text(BOOM)
    config = {"bundles.count_max": 1}
    with running_daemon(arguments=["--code-dir", str(code)], config=config) as daemon:
        first = start(daemon, tmp_path, "boom")
        until(lambda: bool(bundles(daemon, first)), 30.0, "a bundle was made")
        assert daemon.stop(signal.SIGTERM) == 0
        daemon.start()
        assert len(bundles(daemon, first)) == 1
        second = start(daemon, tmp_path, "boom")
        until(lambda: bool(bundles(daemon, second)), 30.0, "another was made")
        assert bundles(daemon, first) == [], "one is kept"
