"""Units that take turns on one thread: killed they lose nothing, and one that fails says so."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from byteord.deployment.plan import RunPlan, WorkerPlan
from tests.support.lanes import L, R, graph_plan, sink, source
from tests.support.poll import until
from tests.support.run import running

COUNT = 30_000
BYTES = 48


def _fan_out(sinks: list[R], count: int) -> RunPlan:
    """Return a plan of a source and sinks on one thread; the first sink commits with the source."""
    made = source("in", "a", "generator", size=BYTES, count=count, rate=30_000, content="counter")
    names = ("in", sinks[0].name)
    threads = (tuple(range(len(sinks))),)
    return graph_plan(
        [L("a", kind="fanout_broadcast")],
        [made, *sinks],
        groups=(names,),
        workers=(WorkerPlan(0, "+".join(("in", *(each.name for each in sinks))), threads),),
    )


def _file(name: str, path: Path) -> R:
    return sink(name, "a", "file", path=str(path), mode="truncate", framing="fixed")


@pytest.mark.timeout(90)
def test_units_of_one_thread_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """`kill -9` of the worker of a fan-out, again and again: each file has every message once."""
    paths = [tmp_path / f"out{index}" for index in range(3)]
    plan = _fan_out([_file(path.name, path) for path in paths], COUNT)
    killed = 0
    with running(plan) as run:
        run.until_state("running", "completed")
        for turn in range(1, 6):

            def reached(goal: int = turn * COUNT // 8) -> bool:
                return bool(run.role("out2")["received"] >= goal)

            until(reached, 30)
            pid = run.worker_pid("out2")
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: run.worker_pid("out2") not in {0, pid}, 30)  # type: ignore[misc]
            killed += 1
        status = run.until_state("completed", "failed", timeout_s=60)
        assert status["state"] == "completed", (status, run.log())
    assert killed == 5
    for path in paths:
        got = path.read_bytes()
        numbers = [int.from_bytes(got[at : at + 8], "little") for at in range(0, len(got), BYTES)]
        assert numbers == list(range(COUNT)), path.name


@pytest.mark.timeout(60)
def test_a_unit_that_fails_is_told_while_others_of_its_thread_go_on(tmp_path: Path) -> None:
    """A sink that refuses its first message fails an endless run at once, by its name."""
    path = tmp_path / "out0"
    plan = _fan_out([_file("out0", path), sink("out1", "a", "discard", verify=True)], 0)
    with running(plan) as run:
        status = run.until_state("failed", timeout_s=30)
        assert status["failure"]["role"] == "out1", status
        assert "is corrupt" in status["failure"]["message"]
    assert len(path.read_bytes()) % BYTES == 0
