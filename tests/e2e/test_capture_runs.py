"""Recording runs: real managers, shims, workers and recorders; what is kept is what was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from byteord.regions import captures, journals
from byteord.regions.captures_check import check_capture
from byteord.rpc.convert_runs import run_from_proto, run_to_proto
from byteord.runs.state import RunState
from byteord.runs.view import CaptureView, RunView
from tests.support.runs import Runs, ended, endless, managed, python_stage, run, through, until

LINES = b"".join(b"line %d of the input\n" % index for index in range(20_000))


def capture_text(runs: Runs, **keys: Any) -> str:
    """Return the table of a deployment that records beneath the test's data directory."""
    rows = {"directory": str(runs.top / "data" / "captures"), **keys}
    return "[capture]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows.items())


def capture_of(runs: Runs, view: RunView) -> Path:
    """Return the directory of a run's capture."""
    return runs.top / "data" / "captures" / view.id


def digest_of(messages: list[bytes]) -> str:
    """Return the digest of messages as the format defines it."""
    rolling = hashlib.sha256()
    for message in messages:
        rolling.update(len(message).to_bytes(4, "little") + message)
    return rolling.hexdigest()


@pytest.mark.parametrize("single_process", [False, True], ids=["processes", "sp"])
def test_everything_that_enters_and_leaves_is_kept(*, single_process: bool) -> None:
    """Messages are kept as they entered and as they left, in order; digest and figures agree."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            admission = runs.admission(
                ['stage = "identity"', python_stage("Upper")],
                more=capture_text(runs, outputs="messages"),
                single_process=single_process,
            )
            view = await manager.start(admission)
            await through(manager, view.id, LINES)
            last = await ended(manager, view.id)
        assert last.state is RunState.COMPLETED
        kept = capture_of(runs, last)
        entered = list(captures.read_stream(kept / "in" / "in"))
        assert [entry[4] for entry in entered] == LINES.splitlines()
        assert [entry[0] for entry in entered] == list(range(20_000))
        assert [entry[1] for entry in entered] == list(range(20_000))
        times = [entry[3] for entry in entered]
        assert times == sorted(set(times)), "ingress times increase strictly"
        assert [row[3] for row in journals.read(kept / "in" / "in")] == LINES.splitlines()
        left = LINES.upper().splitlines()
        assert [entry[4] for entry in captures.read_stream(kept / "out" / "out")] == left
        digest = json.loads((kept / "out" / "out.json").read_text())
        assert (digest["count"], digest["sha256"]) == (20_000, digest_of(left))
        assert digest["checkpoints"]
        for count, so_far in digest["checkpoints"]:
            assert so_far == digest_of(left[:count])
        about = captures.read_about(kept)
        assert (about["run"], about["state"]) == (last.id, "completed")
        assert about["ended_unix_ns"] > about["started_unix_ns"]
        for row in (*about["ingresses"], *about["egresses"]):
            assert (row["seen"], row["kept"], row["lost"], row["gaps"]) == (20_000, 20_000, 0, 0)
        assert about["conditions"]["code"] == dict(last.code_digests)
        assert hashlib.sha256((kept / "spec.kv").read_bytes()).hexdigest() == last.spec_sha256
        for path in (kept, *kept.rglob("*")):
            mode = path.lstat().st_mode
            assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), path

    run(work)


def test_digest_alone_keeps_no_payload_of_what_leaves() -> None:
    """By default what leaves is kept as a digest: no segment of it is written."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(runs.admission(more=capture_text(runs)))
            await through(manager, view.id, LINES)
            last = await ended(manager, view.id)
        kept = capture_of(runs, last)
        assert [path.name for path in (kept / "out").rglob("*")] == ["out.json"]
        digest = json.loads((kept / "out" / "out.json").read_text())
        assert digest["sha256"] == digest_of(LINES.splitlines())

    run(work)


def test_a_sample_keeps_every_nth_message() -> None:
    """`keep = "sample"` keeps the first of every N, at its position; that is no gap."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            more = capture_text(runs, keep="sample", sample_every=7)
            view = await manager.start(runs.admission(more=more))
            await through(manager, view.id, LINES)
            last = await ended(manager, view.id)
        entered = list(captures.read_stream(capture_of(runs, last) / "in" / "in"))
        assert [(entry[1], entry[4]) for entry in entered] == list(enumerate(LINES.splitlines()))[
            ::7
        ]
        (row,) = captures.read_about(capture_of(runs, last))["ingresses"]
        assert (row["seen"], row["lost"]) == (20_000, 0)

    run(work)


def test_the_last_messages_stay_and_older_segments_go() -> None:
    """`keep = "last"` keeps at least so many messages, by whole segments, and not all of them."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            keys = {"keep": "last", "last_messages": 5_000, "segment_bytes": 1 << 17}
            view = await manager.start(runs.admission(more=capture_text(runs, **keys)))
            await through(manager, view.id, LINES)
            last = await ended(manager, view.id)
        entered = list(captures.read_stream(capture_of(runs, last) / "in" / "in"))
        assert 5_000 <= len(entered) < 10_000
        first = 20_000 - len(entered)
        assert [(entry[0], entry[1]) for entry in entered] == [
            (number, number) for number in range(first, 20_000)
        ]
        assert entered[0][4] == LINES.splitlines()[first]

    run(work)


def test_status_and_metrics_say_how_the_recording_goes() -> None:
    """A live run shows its streams and the condition; the exporter's reading has the same."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(endless(runs, more=capture_text(runs)))

            def recorded() -> CaptureView | None:
                shown = manager.get(view.id).capture
                return shown if shown and all(each.seen > 0 for each in shown.streams) else None

            shown = await until(recorded, "messages in the capture")
            assert shown is not None
            assert shown.directory == str(capture_of(runs, view))
            assert [(each.stream, each.name) for each in shown.streams] == [
                ("in", "in"),
                ("out", "out"),
            ]
            entered, left = shown.streams
            assert entered.kept == entered.seen
            assert (left.kept, left.lost, left.state) == (0, 0, "ok")
            await until(
                lambda: "Capture" in {each.type for each in manager.get(view.id).conditions}
            )
            (said,) = [each for each in manager.get(view.id).conditions if each.type == "Capture"]
            assert (said.status, said.reason) == ("true", "Recording")
            assert run_from_proto(run_to_proto(manager.get(view.id))).capture is not None
            await manager.stop(view.id, "drain")

    run(work)


def test_a_run_that_is_lost_leaves_a_capture_that_is_readable() -> None:
    """`kill -9` of the shim: the capture has no end; it is whole, and without a gap."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(endless(runs, more=capture_text(runs)))

            def recorded() -> bool:
                shown = manager.get(view.id).capture
                return bool(shown and shown.streams and shown.streams[0].kept > 1_000)

            await until(recorded, "messages in the capture")
            os.kill(manager.get(view.id).shim_pid, signal.SIGKILL)
            last = await ended(manager, view.id)
            assert last.failure is not None
            assert last.failure.reason == "SHIM_DIED"
        kept = capture_of(runs, last)
        about = captures.read_about(kept)
        assert (about["ended_unix_ns"], about["state"]) == (None, None)
        assert check_capture(kept) == []
        positions = [entry[1] for entry in captures.read_stream(kept / "in" / "in")]
        assert len(positions) > 1_000
        assert positions == list(range(len(positions)))

    run(work)
