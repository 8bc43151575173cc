"""The recorder's process: its turns among the streams, its place among the processes of a run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from byteord._cext import capture as tapes
from byteord.regions.captures import Tapes
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
