"""Which messages a replay is given, how fast, and that a daemon may refuse all of them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from byteord.regions.captures import write_json
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.recordings import FIRST_UNIX_NS, Frame, frames
from tests.support.replayed import Pipeline, payloads, replay

Damage = Callable[[Path], None]
STEP_NS = 4_000_000
COUNT = 200


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """Provide documents and code."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        yield Pipeline(Path(place) / "pipeline")


@pytest.fixture(scope="module")
def daemon(pipeline: Pipeline) -> Iterator[DaemonProcess]:
    """Provide a daemon that takes code from there."""
    with running_daemon(config={"allow.code_dirs": [str(pipeline.code)]}) as started:
        yield started


@pytest.fixture(scope="module")
def capture(pipeline: Pipeline) -> Path:
    """Provide a capture of one message every few milliseconds."""
    return pipeline.capture(_slow())


def _slow() -> list[Frame]:
    return [
        replace(frame, time_ns=STEP_NS * (1 + index))
        for index, frame in enumerate(frames(payloads(COUNT)))
    ]


def _before(index: int) -> float:
    """Return a time between that message and the one before it, in seconds since the epoch."""
    return (FIRST_UNIX_NS + STEP_NS * (1 + index) - STEP_NS // 2) / 1e9


def test_times_select_messages(daemon: DaemonProcess, capture: Path) -> None:
    """From and to a time, in seconds or as a date; only from the start on it is comparable."""
    date = datetime.fromtimestamp(_before(100), tz=UTC).isoformat()
    code, result, said = replay(daemon.address, capture, "--to-time", date)
    assert (code, result["verdict"], result["replayed"]) == (0, "equal", 100), (said, result)
    between = ["--from-time", f"{_before(50):.6f}", "--to-time", f"{_before(60):.6f}"]
    code, result, said = replay(daemon.address, capture, *between)
    assert (code, result["verdict"], result["replayed"]) == (0, "not_comparable", 10), said
    assert [each["code"] for each in result["reasons"]] == ["partial_range"]
    code, _, said = replay(daemon.address, capture, "--from-time", "yesterday")
    assert (code, "wanted seconds since the epoch" in said) == (2, True), said


@pytest.mark.parametrize("speed", [1, 2])
def test_a_paced_replay_takes_as_long_as_the_run_did(
    daemon: DaemonProcess, capture: Path, speed: int
) -> None:
    """No message comes before it is due; the output is the same."""
    began = time.monotonic_ns()
    code, result, said = replay(daemon.address, capture, "--speed", str(speed))
    took = time.monotonic_ns() - began
    assert (code, result["verdict"], result["replayed"]) == (0, "equal", COUNT), (said, result)
    assert took >= STEP_NS * (COUNT - 1) // speed


def test_a_daemon_that_replays_nothing_refuses_and_writes_it_down(
    pipeline: Pipeline, capture: Path
) -> None:
    """`replay.policy = "disabled"`: exit 77, an audit of the refusal, a line in the log."""
    config = {"allow.code_dirs": [str(pipeline.code)], "replay.policy": "disabled"}
    with running_daemon(config=config) as daemon:
        code, _, said = replay(daemon.address, capture)
        assert code == 77, said
        assert "replay.policy" in said
        state = daemon.directory / "state"
        (path,) = (state / "replays").glob("*.json")
        audit = json.loads(path.read_text())
        assert audit["refused"]["reason"] == "POLICY_DENIED"
        assert audit["result"] is None
        log = "".join(each.read_text() for each in (state / "audit").glob("*.jsonl"))
        (line,) = [line for line in log.splitlines() if audit["replay_id"] in line]
        assert "replay.refused" in line


def _cut(path: Path) -> None:
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[: len(data) // 2])


def _turned(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_cut, _turned])
@pytest.mark.parametrize("place", ["in/in", "out/out", "capture.json", "spec.kv", "out/out.json"])
def test_damage_is_no_verdict(
    daemon: DaemonProcess, pipeline: Pipeline, tmp_path: Path, place: str, damage: Damage
) -> None:
    """A damaged capture is refused (65) by the name of what is wrong, with and without --check."""
    given = frames(payloads(COUNT))
    rows = [{"name": "in", "kept": COUNT}]
    left = [{"name": "out", "kept": sum(b"keep" in each.payload for each in given)}]
    pipeline.capture(given, name=str(tmp_path / "c"), facts={"ingresses": rows, "egresses": left})
    for name in ("capture.json", "out/out.json"):
        path = tmp_path / "c" / name
        write_json(path, json.loads(path.read_bytes()))
    code, result, said = replay(daemon.address, tmp_path / "c", "--to-sequence", "50")
    assert (code, result["verdict"]) == (0, "equal"), said
    damage(next((tmp_path / "c").glob(place if "." in place else f"{place}/*.seg")))
    for more in ([], ["--check"]):
        code, result, said = replay(daemon.address, tmp_path / "c", *more)
        assert (code, result) == (65, {}), said
        assert Path(place).name in said
        assert str(daemon.directory) not in said
