"""Replays that end before their time: their caller goes away, their daemon dies, a bug."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import command_of
from tests.support.daemon import DaemonProcess, processes_naming, running_daemon
from tests.support.poll import until
from tests.support.recordings import frames
from tests.support.replayed import Pipeline, payloads, replay

STEP_NS = 100_000_000
COUNT = 200
"""At the pace of the run it takes 20 s."""


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """Provide documents and code."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        yield Pipeline(Path(place) / "pipeline")


@pytest.fixture(scope="module")
def capture(pipeline: Pipeline) -> Path:
    """Provide a capture of a run that took its time."""
    given = frames(payloads(COUNT))
    return pipeline.capture(
        [replace(frame, time_ns=STEP_NS * (1 + index)) for index, frame in enumerate(given)]
    )


@pytest.fixture
def daemon(pipeline: Pipeline) -> Iterator[DaemonProcess]:
    """Provide a daemon that takes code from there, and may be killed."""
    with running_daemon(config={"allow.code_dirs": [str(pipeline.code)]}, check=False) as started:
        yield started


def _under_way(daemon: DaemonProcess, capture: Path) -> subprocess.Popen[bytes]:
    """Start a replay at the pace of the run, and return it once messages go through."""
    command = command_of("--address", daemon.address, "replay", capture, "--speed", "1")
    client = subprocess.Popen(
        ["env", "--default-signal=INT", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: daemon.events("run.started"), 30.0, "the replay runs")
    return client


def _audits(daemon: DaemonProcess) -> list[dict[str, Any]]:
    kept = (daemon.directory / "state" / "replays").glob("*.json")
    return [json.loads(path.read_bytes()) for path in kept]


def _logged(daemon: DaemonProcess, replay_id: str) -> dict[str, Any]:
    """Return what the audit log says of a replay, once."""
    log = b"".join(
        path.read_bytes() for path in sorted((daemon.directory / "state/audit").glob("*.jsonl"))
    )
    entries = [json.loads(line) for line in log.splitlines() if replay_id.encode() in line]
    (entry,) = [each for each in entries if each["kind"].startswith("replay.")]
    return dict(entry["data"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_a_caller_that_goes_away_ends_it_and_the_audit_says_so(
    daemon: DaemonProcess, capture: Path, number: signal.Signals
) -> None:
    """Ctrl-C exits with 130; nothing of the replay lives on; how far it came is written down."""
    client = _under_way(daemon, capture)
    client.send_signal(number)
    _, said = client.communicate(timeout=30)
    expected = {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    assert client.returncode == expected[number], said
    (audit,) = until(lambda: _audits(daemon), 30.0, "an audit is written")
    assert audit["result"]["stopped_by"] == "cancelled"
    assert audit["result"]["verdict"] == ""
    assert audit["refused"] is None
    (egress,) = audit["result"]["egresses"]
    assert egress["count"] < COUNT
    assert not egress["equal"]
    until(lambda: daemon.events("run.ended"), 30.0, "its run ended")
    (run,) = {event["run"] for event in daemon.events("run.started")}
    until(lambda: not processes_naming(run), 10.0, "its processes are gone")
    assert not list(daemon.regions.rglob(run))
    uploads = daemon.directory / "state" / "replays" / "uploads"
    until(lambda: not list(uploads.iterdir()), 10.0, "what was uploaded is gone")
    logged = _logged(daemon, audit["replay_id"])
    assert (logged["stopped_by"], logged["verdict"]) == ("cancelled", "")


def test_a_daemon_that_dies_leaves_a_claim_which_the_next_one_concludes(
    daemon: DaemonProcess, capture: Path
) -> None:
    """No replay is without an audit, not even one whose daemon was killed in the middle of it."""
    client = _under_way(daemon, capture)
    daemon.kill()
    client.communicate(timeout=60)
    assert client.returncode == 69
    assert _audits(daemon) == []
    (claim,) = (daemon.directory / "state" / "replays").glob("*.begun")
    daemon.start()
    (audit,) = _audits(daemon)
    assert audit["replay_id"] == claim.stem
    assert audit["policy"]["principal"] == f"uid:{os.geteuid()}"
    assert audit["policy"]["mode"] == "dry_run"
    assert audit["result"]["stopped_by"] == "daemon_ended"
    assert not claim.exists()
    assert _logged(daemon, claim.stem)["stopped_by"] == "daemon_ended"
    code, _, said = replay(daemon.address, capture, "--to-sequence", "3")
    assert code == 0, said
