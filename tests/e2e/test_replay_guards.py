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
from tests.support.recordings import FIRST_UNIX_NS, Frame, frames, write_segments
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


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        ("in/in", _cut),
        ("out/out", _cut),
        ("in/in", _turned),
        ("capture.json", _turned),
        ("out/out.json", _turned),
    ],
)
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


@pytest.fixture(scope="module")
def journal(pipeline: Pipeline) -> Path:
    """Provide the directory of a journal lane, of several segments."""
    place = pipeline.place / "journal"
    write_segments(place, _slow() * 8)
    assert len(list(place.iterdir())) > 1
    return place


@pytest.mark.parametrize(
    ("bounds", "first", "count"),
    [
        ([], 0, 8 * COUNT),
        (["--from-sequence", "0", "--to-sequence", "0"], 0, 1),
        (["--from-sequence", "1599"], 1599, 1),
        (["--from-sequence", "700", "--to-sequence", "1000"], 700, 301),
        (["--last", "1"], 1599, 1),
        (["--last", "5000"], 0, 8 * COUNT),
        (["--to-sequence", "99", "--last", "2"], 98, 2),
        (["--from-sequence", "98", "--to-sequence", "99", "--last", "20"], 98, 2),
        (["--max-input", "40"], 0, 3),
    ],
)
def test_a_journal_gives_exactly_what_is_asked_for(
    daemon: DaemonProcess, pipeline: Pipeline, tmp_path: Path, journal: Path, *,
    bounds: list[str], first: int, count: int,
) -> None:  # fmt: skip
    """Ranges of one message, at both ends, over the bounds of segments, and of the last of them."""
    out = tmp_path / "out"
    more: list[str | Path] = ["--spec", pipeline.spec(), "--output", out, *bounds]
    code, result, said = replay(daemon.address, journal, *more)
    assert (code, result["verdict"]) == (0, "not_comparable"), said
    assert "no_live_digests" in {each["code"] for each in result["reasons"]}
    assert (result["selected"], result["replayed"]) == (count, count)
    given = (payloads(COUNT) * 8)[first : first + count]
    assert out.read_bytes() == b"".join(b"<%s\n" % each for each in given if b"keep" in each)


@pytest.mark.parametrize(
    "bounds",
    [
        ["--from-sequence", "1600"],
        ["--from-sequence", "5", "--to-sequence", "4"],
        ["--from-time", "2200-01-01"],
        ["--to-time", "1"],
    ],
)
def test_a_range_without_a_message_is_told_from_an_empty_replay(
    daemon: DaemonProcess, pipeline: Pipeline, capture: Path, journal: Path, bounds: list[str]
) -> None:
    """Exit 66, and what there is: whoever mistypes a number does not read "equal"."""
    for source, last in ((journal, 1599), (capture, 199)):
        more: list[str | Path] = ["--spec", pipeline.spec(), *bounds]
        code, result, said = replay(daemon.address, source, *more)
        assert (code, result) == (66, {}), said
        assert f"in from 0 to {last:,}" in said


def test_a_directory_without_a_file_is_no_source(daemon: DaemonProcess, tmp_path: Path) -> None:
    """What is wrong with a source is said as it is while it is sent, with its exit code."""
    code, _, said = replay(daemon.address, tmp_path)
    assert code == 66
    assert "seen an empty directory; wanted a capture, a journal or a bundle" in said
