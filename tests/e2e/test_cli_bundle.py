"""Incident bundles: taken from real runs through the real daemon, checked and read offline."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

SPEC = """
version = 1
name = "gen"
model = "single_ring"
[ring]
capacity = 64
slot_bytes = 128
[[stages]]
name = "work"
stage = "python:boom:Boom"
effects = []
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
[adapters.in]
kind = "generator"
size = 16
count = COUNT
rate = RATE
[adapters.out]
kind = "discard"
"""
BOOM = """
class Boom:
    def __init__(self, ctx):
        self.seen = 0

    def process(self, batch):
        for index, _ in enumerate(batch):
            self.seen += 1
            if self.seen == 300:
                raise ValueError("planted-secret")
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """Provide a daemon that may load the stage."""
    code = tmp_path_factory.mktemp("code")
    (code / "boom.py").write_text(BOOM)
    env = {"PLANTED": "planted-secret"}
    with running_daemon(arguments=["--code-dir", str(code)], env=env) as daemon:
        yield daemon


def ctl(daemon: DaemonProcess, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run byteorctl against the daemon."""
    return byteorctl("--address", daemon.address, *arguments)


def started(daemon: DaemonProcess, directory: Path, count: int, rate: int = 1000) -> str:
    """Start a run of so many messages and return its id."""
    (directory / "spec.toml").write_text(SPEC)
    deployment = DEPLOYMENT.replace("COUNT", str(count)).replace("RATE", str(rate))
    (directory / "deployment.toml").write_text(deployment)
    done = ctl(daemon, "run", str(directory / "spec.toml"), "--detach")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def state(daemon: DaemonProcess, run: str) -> str:
    """Return the state of a run."""
    return str(json.loads(ctl(daemon, "status", run, "-o", "json").stdout)["state"])


def test_a_failed_run_leaves_a_bundle_that_tells_what_happened(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """Bundle, verify, inspect: the failing role and sequence are there, the planted words not."""
    run = started(daemon, tmp_path, 1000)
    until(lambda: state(daemon, run) == "failed", 30.0, "the run failed")
    out = tmp_path / "incident.tar.gz"
    done = ctl(daemon, "incident-bundle", run, "--out", str(out))
    assert done.returncode == 0, done.stderr
    with tarfile.open(out) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        names = list(files)
        everything = b"".join(file.read() for file in files.values() if file is not None)
    wanted = {"manifest.json", "spec.kv", "spec_validation.json", "runtime.json", "events.jsonl"}
    wanted |= {"policy_audit.json", "environment.json", "single_ring_snapshot.json"}
    assert wanted <= set(names)
    assert b"planted-secret" not in everything
    verified = byteorctl("bundle", "verify", str(out))
    assert (verified.returncode, b"verified" in verified.stdout) == (0, True), verified.stdout
    told = byteorctl("bundle", "inspect", str(out)).stdout.decode()
    assert "STAGE_FAILED in work (python:boom:Boom) at sequence 299" in told
    assert "ValueError: redacted:" in told
    headings = [line for line in told.splitlines() if line.isupper()]
    assert headings[:5] == ["BUNDLE", "VALIDATION", "POLICY", "ENVIRONMENT", "RUN"]


def test_a_live_run_goes_on_while_its_bundle_is_taken(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """--plan writes nothing; a bundle of a live run has its metrics and does not disturb it."""
    run = started(daemon, tmp_path, 250, rate=100)
    planned = ctl(daemon, "incident-bundle", run, "--plan", "-o", "json")
    plan = json.loads(planned.stdout)
    assert plan["bundle_id"] == ""
    assert plan["size_bytes"] == sum(file["size_bytes"] for file in plan["files"])
    out = tmp_path / "dir"
    done = ctl(daemon, "bundle", "create", run, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert run.encode() in (out / "metrics.prom").read_bytes()
    assert byteorctl("bundle", "verify", str(out)).returncode == 0
    until(lambda: state(daemon, run) == "completed", 30.0, "the run completed")
    again = ctl(daemon, "bundle", "create", run, "--out", str(out))
    assert again.returncode == 66, "a directory that is there is left alone"


def test_a_bundle_survives_the_daemon(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Of a run that ended under an earlier daemon there is still a bundle with its documents."""
    run = started(daemon, tmp_path, 10)
    until(lambda: state(daemon, run) == "completed", 30.0, "the run completed")
    assert daemon.stop() == 0
    daemon.start()
    out = tmp_path / "old.tar"
    assert ctl(daemon, "bundle", "create", run, "--out", str(out)).returncode == 0
    told = byteorctl("bundle", "inspect", str(out), "-o", "json")
    assert json.loads(told.stdout)["validation"][0] == ["valid", "gen (single_ring)"]


def test_damage_and_absence_are_said(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A changed file exits 1 and is named; no run, no file, no bundle have their codes."""
    run = started(daemon, tmp_path, 10)
    out = tmp_path / "d"
    assert ctl(daemon, "bundle", "create", run, "--out", str(out)).returncode == 0
    (out / "spec.kv").write_bytes(b"name=other\n")
    damaged = byteorctl("bundle", "verify", str(out))
    assert damaged.returncode == 1
    assert b"spec.kv: seen 11 bytes" in damaged.stdout
    assert byteorctl("bundle", "inspect", str(out)).returncode == 65
    assert byteorctl("bundle", "verify", str(tmp_path / "absent")).returncode == 66
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    assert byteorctl("bundle", "verify", str(tmp_path / "junk")).returncode == 65
    missing = ctl(daemon, "incident-bundle", "nobody", "--out", str(tmp_path / "x.tar"))
    assert missing.returncode == 66
    assert not (tmp_path / "x.tar").exists()
