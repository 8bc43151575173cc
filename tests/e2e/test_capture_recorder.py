"""The recorder's process: its turns among the streams, its place among the processes of a run."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from byteord._cext import capture as tapes
from byteord._cext.journal import JournalWriter
from byteord.regions.captures import Tapes, read_stream
from byteord.regions.journals import segment_path
from byteord.worker.recorder import CHECKPOINT, NICE, STEP_BYTES, Stream
from tests.support.captured import recorded, recorder_pid
from tests.support.poll import until
from tests.support.run import make_test_plan, running, spec_text

DEPLOYMENT = """
[adapters.in]
kind = "generator"
size = 48
[adapters.out]
kind = "discard"
"""
SPEC = spec_text('[[stages]]\nname = "s"\nstage = "identity"')


@pytest.mark.parametrize(
    ("on_full", "policy", "nice"),
    [
        ("degrade", os.SCHED_BATCH, NICE),
        ("wait", os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0)),
    ],
)
def test_it_gives_way_to_a_run_that_does_not_wait(
    tmp_path: Path, on_full: str, policy: int, nice: int
) -> None:
    """Every thread of it; where the run waits for it, it has the priority of the run."""
    plan, _ = recorded(make_test_plan(SPEC, DEPLOYMENT), tmp_path, on_full=on_full)
    with running(plan) as run:
        run.until_state("running")
        seen = Tapes(run.directory, plan)
        until(lambda: seen.stats()[0]["seen"] > 0, 30)  # it has begun, with all of its threads
        threads = [int(name) for name in os.listdir(f"/proc/{recorder_pid(run)}/task")]
        assert len(threads) > 1
        for thread in threads:
            assert os.sched_getscheduler(thread) == policy
            assert os.getpriority(os.PRIO_PROCESS, thread) == nice


def test_a_digest_takes_as_much_in_a_turn_as_messages_do(tmp_path: Path) -> None:
    """A turn does not end at a checkpoint: a digest whose turns did lost what was kept before."""
    plan, _ = recorded(make_test_plan(SPEC, DEPLOYMENT), tmp_path, outputs="digest")
    assert plan.capture is not None
    (tape,) = (each for each in plan.capture.tapes if each.stream == "out")
    with running(plan) as run:
        run.until_state("running")
        recorder = recorder_pid(run)
        os.kill(recorder, signal.SIGSTOP)  # the tapes fill, and are dealt with here
        seen = Tapes(run.directory, plan)
        until(lambda: all(each["lag_bytes"] > 2 * STEP_BYTES for each in seen.stats()), 30)
        descriptor = os.open(Path(run.directory, tape.file), os.O_RDWR)
        drain = tapes.Drain(descriptor, digests=True)
        os.close(descriptor)
        drain.stop_at(drain.digest()[0] // CHECKPOINT * CHECKPOINT + CHECKPOINT)
        stream = Stream(tape, drain, None)
        before = drain.tail
        assert stream.step(time.time_ns()) == tapes.SOME
        assert drain.tail - before >= STEP_BYTES
        assert len(stream.checkpoints) > 2
        os.kill(recorder, signal.SIGKILL)


def test_a_piece_that_cannot_be_written_is_counted_exactly(tmp_path: Path) -> None:
    """Also one that was under way while the next was computed: both are lost, none before them."""
    plan, _ = recorded(make_test_plan(SPEC, DEPLOYMENT), tmp_path / "captures")
    assert plan.capture is not None
    directory = tmp_path / "kept"
    directory.mkdir()
    with running(plan) as run:
        run.until_state("running")
        recorder = recorder_pid(run)
        until(lambda: Tapes(run.directory, plan).stats()[0]["seen"] > 0, 30)
        os.kill(recorder, signal.SIGSTOP)
        seen = Tapes(run.directory, plan)
        until(lambda: seen.stats()[0]["lag_bytes"] > 6 * STEP_BYTES, 30)
        writer = JournalWriter(
            str(directory),
            segments=[],
            base=0,
            segment_bytes=64 << 20,
            retention_bytes=0,
            retention_ns=0,
            sync="none",
            sync_interval_ns=0,
            durable=True,
            staged=True,
        )
        descriptor = os.open(Path(run.directory, plan.capture.tapes[0].file), os.O_RDWR)
        drain = tapes.Drain(descriptor, journal=writer)
        os.close(descriptor)
        first = drain.stats()
        assert drain.step(STEP_BYTES, 1) == tapes.SOME  # the file has its size now
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, limits[1]))
        try:
            while drain.step(STEP_BYTES, 1) == tapes.SOME:
                pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        stats = drain.stats()
        os.kill(recorder, signal.SIGKILL)
    written = drain.segment_file
    assert written is not None
    os.truncate(segment_path(directory, written[0]), written[1])
    found = [entry[1] for entry in read_stream(directory)]
    assert found == sorted(set(found))
    assert (stats["state"], stats["error_number"]) == ("unsynced", errno.EFBIG)
    assert len(found) == stats["kept"] > 0
    lost = stats["lost"] - first["lost"]
    assert lost + len(found) == stats["seen"] - first["seen"]
    assert stats["lost_disk"] > first["lost_disk"]
