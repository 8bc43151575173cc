"""Replays of captures through the real client against a real daemon."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.recordings import digest_of, frames
from tests.support.replayed import Pipeline, left, payloads, replay, shown


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """Provide a directory of code that outlives single tests."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        Pipeline(Path(place, "shared"))
        yield Path(place)


@pytest.fixture(scope="module")
def daemon(top: Path) -> Iterator[DaemonProcess]:
    """Provide a daemon that takes code from there."""
    with running_daemon(config={"allow.code_dirs": [str(top / "shared" / "code")]}) as started:
        yield started


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """Provide the documents of a test of its own."""
    return Pipeline(tmp_path / "pipeline")


def test_a_whole_capture_replays_to_equal_digests(
    daemon: DaemonProcess, pipeline: Pipeline
) -> None:
    """What left live leaves again: count, order and bytes; the times are those of the input."""
    given = frames(payloads())
    code, result, said = replay(daemon.address, pipeline.capture(given))
    assert code == 0, said
    wanted = [frame.payload for frame in left(given)]
    (egress,) = result["egresses"]
    assert result["verdict"] == egress["verdict"] == "equal", result
    assert (egress["count"], egress["sha256"]) == (len(wanted), digest_of(wanted))
    assert (result["selected"], result["replayed"], result["mode"]) == (200, 200, "dry_run")


def test_the_output_of_a_replay_is_taken_as_it_comes(
    daemon: DaemonProcess, pipeline: Pipeline, tmp_path: Path
) -> None:
    """`--output` writes the messages of the only egress, framed as its adapter would."""
    given = frames(payloads())
    out = tmp_path / "out"
    code, _, said = replay(daemon.address, pipeline.capture(given), "--output", out)
    assert code == 0, said
    assert out.read_bytes() == b"".join(frame.payload + b"\n" for frame in left(given))


def test_a_changed_stage_is_found_with_message_and_byte(
    daemon: DaemonProcess, pipeline: Pipeline
) -> None:
    """The first difference names egress, place, upstream message, stage, byte and both values."""
    capture = pipeline.capture()
    code, result, said = replay(daemon.address, capture, "--spec", pipeline.spec("Other"))
    assert code == 1, said
    found = result["divergence"]
    assert result["verdict"] == "different"
    assert (found["egress"], found["index"], found["sequence"]) == ("out", 80, 120)
    assert (found["ingress"], found["stage"], found["byte"]) == ("in", "mark", 1)
    assert shown(found["live"]) == b"<number 120 keep"
    assert shown(found["replayed"]) == b"<NUMBER 120 KEEP"
    assert shown(found["upstream"]) == b"number 120 keep"
    assert [step["role"] for step in found["steps"]] == ["keep", "mark"]


def test_it_stops_at_the_first_difference_when_asked_to(
    daemon: DaemonProcess, pipeline: Pipeline
) -> None:
    """`--until-divergence` ends there: not all of the input leaves."""
    wrong = pipeline.spec("Other", name="wrong")
    code, result, said = replay(
        daemon.address, pipeline.capture(), "--spec", wrong, "--until-divergence"
    )
    assert code == 1, said
    assert (result["stopped_by"], result["failure"]) == ("divergence", None)
    assert result["egresses"][0]["count"] == 81
    assert result["divergence"]["sequence"] == 120


def test_with_digests_alone_a_difference_is_known_to_a_checkpoint(
    daemon: DaemonProcess, pipeline: Pipeline
) -> None:
    """Without the messages that left, the window between two checkpoints is told."""
    capture = pipeline.capture(messages=False, checkpoint=30)
    code, result, said = replay(daemon.address, capture, "--spec", pipeline.spec("Other"))
    assert code == 1, said
    found = result["divergence"]
    assert (found["window_first"], found["index"], found["live"]) == (60, 89, None)


def test_a_failing_stage_fails_again_at_its_message(
    daemon: DaemonProcess, pipeline: Pipeline
) -> None:
    """A replay fails at exactly that sequence and stage, and `--step` shows the message."""
    given = frames(payloads())
    capture = pipeline.capture(
        given,
        spec=pipeline.spec("Boom"),
        outputs=[frame for frame in left(given) if frame.time_ns < given[120].time_ns],
        facts={"state": "failed"},
    )
    code, result, said = replay(daemon.address, capture)
    assert code == 1, said
    failure = result["failure"]
    assert (failure["reason"], failure["role"], failure["sequence"]) == (
        "STAGE_FAILED",
        "mark",
        120,
    )
    assert result["verdict"] == "equal", result
    code, result, said = replay(daemon.address, capture, "--step", "120")
    assert code == 1, said
    first, second = result["steps"]
    assert (first["role"], first["outcome"]) == ("keep", "passed")
    assert (second["role"], second["outcome"], second["after"]) == ("mark", "failed", None)
    assert shown(second["before"]) == b"number 120 keep"


def test_steps_show_a_message_before_and_after_each_stage(
    daemon: DaemonProcess, pipeline: Pipeline
) -> None:
    """One message changed, another dropped; later messages are not given at all."""
    capture = pipeline.capture()
    _, result, said = replay(daemon.address, capture, "--step", "6")
    assert [step["outcome"] for step in result["steps"]] == ["passed", "changed"], said
    assert shown(result["steps"][1]["after"]) == b"<number 6 keep"
    assert result["replayed"] == 7
    _, result, said = replay(daemon.address, capture, "--step", "7")
    assert [(step["role"], step["outcome"]) for step in result["steps"]] == [("keep", "dropped")]
    code, _, said = replay(daemon.address, capture, "--step", "200")
    assert (code, "NO_SEQUENCE" in said or "no message 200" in said) == (66, True), said


def test_ranges_select_and_say_what_they_cannot_promise(
    daemon: DaemonProcess, pipeline: Pipeline
) -> None:
    """By sequence, last N and input limit; a range from the middle is not comparable."""
    capture = pipeline.capture()
    _, result, said = replay(daemon.address, capture, "--to-sequence", "99")
    assert (result["verdict"], result["replayed"]) == ("equal", 100), said
    _, result, said = replay(daemon.address, capture, "--from-sequence", "50", "--last", "10")
    assert (result["verdict"], result["replayed"]) == ("not_comparable", 10), said
    assert [each["code"] for each in result["reasons"]] == ["partial_range"]
    code, result, said = replay(daemon.address, capture, "--max-input", "150")
    assert (code, result["stopped_by"], result["verdict"]) == (0, "input_limit", "equal"), said
    shown = byteorctl("--address", daemon.address, "replay", capture, "--max-input", "150").stdout
    assert b"input_limit: there is more input than that (--max-input," in shown


def test_a_gap_makes_digests_not_comparable(daemon: DaemonProcess, pipeline: Pipeline) -> None:
    """Missing messages are counted, and the reason is told by its code."""
    given = frames(payloads())
    kept = [replace(frame) for frame in given[:50] + given[60:]]
    _, result, said = replay(
        daemon.address, pipeline.capture(kept, outputs=left(given), name="gap")
    )
    assert result["verdict"] == "not_comparable", said
    (reason,) = result["reasons"]
    assert reason["code"] == "gap"
    assert "10 messages" in reason["message"]


def test_every_replay_leaves_an_audit_in_the_chain(
    daemon: DaemonProcess, pipeline: Pipeline, tmp_path: Path
) -> None:
    """The artifact has its shape, no payload in it, and its digest stands in the audit log."""
    audit = tmp_path / "audit.json"
    replay(daemon.address, pipeline.capture(), "--spec", pipeline.spec("Other"), "--audit", audit)
    text = audit.read_text()
    document = json.loads(text)
    assert document["audit_v"] == 1
    assert document["policy"]["mode"] == "dry_run"
    assert document["input"]["scanned_records"] == 200
    assert document["result"]["first_divergence"]["sequence"] == 120
    assert "number 120" not in text
    kept = daemon.directory / "state" / "replays" / f"{document['replay_id']}.json"
    assert kept.read_text() == text
    log = "".join(path.read_text() for path in (daemon.directory / "state/audit").glob("*.jsonl"))
    assert document["replay_id"] in log
    _, _, said = replay(daemon.address, "no-such-run")
    assert "no run" in said
    refused = [
        each
        for path in (daemon.directory / "state" / "replays").glob("*.json")
        if (each := json.loads(path.read_text()))["refused"]
    ]
    assert "RUN_NOT_FOUND" in {each["refused"]["reason"] for each in refused}
