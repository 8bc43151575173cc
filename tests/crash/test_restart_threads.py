"""Policy `restart`, a worker of several threads: one fails, all end and go on, nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from byteord.deployment.plan import RunPlan, WorkerPlan
from tests.support.lanes import L, R, graph_plan, sink, source, stage
from tests.support.poll import until
from tests.support.run import LiveRun, running

COUNT = 5_000
BYTES = 48
CAPACITY = 64

STAGES = """
import os
import threading

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


class Number:
    \"""Counts in shared memory; fails at a number for as long as its first process lives.\"""

    def __init__(self, ctx, at=-1, always=False, waits=False):
        self.ctx, self.at, self.always, self.waits = ctx, at, always, waits

    def process(self, batch):
        seen = self.ctx.state(np.dtype("<i8"))
        for _ in batch:
            if seen[0] == self.at:
                self.fail()
            seen[0] += 1

    def fail(self):
        me, mark = str(os.getpid()), os.path.join(HERE, "failed-in")
        while self.waits and not os.path.exists(os.path.join(HERE, "go")):
            threading.Event().wait(0.001)
        if not os.path.exists(mark):
            with open(mark + ".new", "w") as file:
                file.write(me)
            os.rename(mark + ".new", mark)
        if self.always or open(mark).read() == me:
            raise ValueError("not in this process")


class Own:
    def __init__(self, ctx):
        self.seen = 0

    def process(self, batch):
        self.seen += len(batch)


class Stuck:
    \"""Does not return from its first call as long as the process lives that made it.\"""

    def __init__(self, ctx):
        self.ctx = ctx

    def process(self, batch):
        if not os.path.exists(os.path.join(HERE, "stuck")):
            open(os.path.join(HERE, "stuck"), "w").close()
            threading.Event().wait()
"""
STATE = {"state": "state", "state_bytes": 8}


def _plan(
    where: Path, roles: list[R], *, threads: tuple[tuple[int, ...], ...] = (), **changes: Any
) -> RunPlan:
    """Return a plan of one worker with a thread for each role, or these threads."""
    (where / "restart_stages.py").write_text(STAGES)
    names = [name for role in roles for name in role.tx]
    lanes = [L(name, capacity=CAPACITY << index) for index, name in enumerate(names)]
    more: dict[str, Any] = {"failure_policy": "restart", "code_dirs": (str(where),), **changes}
    worker = WorkerPlan(0, "all", threads or tuple((index,) for index in range(len(roles))))
    return graph_plan(lanes, roles, workers=(worker,), **more)


def _chain(where: Path, number: R, *, rate: int = 0) -> list[R]:
    made = source("in", "a", "generator", size=BYTES, count=COUNT, rate=rate, content="counter")
    out = sink("out", "b", "file", path=str(where / "out"), mode="truncate", framing="fixed")
    return [made, number, out]


def _number(**config: object) -> R:
    return stage("number", "a", "b", "python:restart_stages:Number", config=config, **STATE)


def _numbers(path: Path) -> list[int]:
    got = path.read_bytes()
    return [int.from_bytes(got[at : at + 8], "little") for at in range(0, len(got), BYTES)]


def _ends_well(run: LiveRun, where: Path, *, restarts: int = 1) -> dict[str, Any]:
    """Wait for the end; every message once and in order; return the last status."""
    status = run.until_state("completed", "failed", timeout_s=60)
    assert status["state"] == "completed", (status, run.log())
    assert [worker["restarts"] for worker in status["workers"]] == [restarts]
    assert _numbers(where / "out") == list(range(COUNT))
    return status


@pytest.mark.timeout(25)
@pytest.mark.parametrize("wait", ["spin", "backoff", "park"])
def test_a_stage_that_fails_once_takes_its_worker_with_it_and_all_go_on(
    tmp_path: Path, wait: str
) -> None:
    """Its siblings run, wait on a full lane or on an empty one; status names who failed of what."""
    with running(_plan(tmp_path, _chain(tmp_path, _number(at=2_000)), wait=wait)) as run:
        status = _ends_well(run, tmp_path)
        said = {each["type"]: each for each in status["conditions"]}["WorkerRestarted"]
        assert said["message"] == (
            "worker all ended because `number` failed (ValueError: not in this process "
            "(restart_stages.py:32)) and is restarted (1)"
        )
        (error,) = run.role("number")["errors"]
        assert (error["count"], error["first_sequence"]) == (1, 2_000)


@pytest.mark.timeout(25)
def test_units_that_take_turns_on_a_thread_end_with_the_one_that_fails(tmp_path: Path) -> None:
    """Two of them share the thread of the stage that fails, the third has its own."""
    plan = _plan(tmp_path, _chain(tmp_path, _number(at=2_000)), threads=((0, 1), (2,)))
    with running(plan) as run:
        _ends_well(run, tmp_path)


@pytest.mark.timeout(25)
def test_siblings_that_are_parked_are_woken_to_end(tmp_path: Path) -> None:
    """The source waits on a full lane, the sink on an empty one, both parked, when it fails."""
    plan = _plan(tmp_path, _chain(tmp_path, _number(at=0, waits=True)), wait="park")
    with running(plan) as run:
        until(lambda: run.role("in")["state"] == "blocked" and run.role("out")["state"] == "idle")
        (tmp_path / "go").touch()
        _ends_well(run, tmp_path)


@pytest.mark.timeout(25)
@pytest.mark.parametrize("first", ["number", "stuck"])
def test_a_sibling_that_does_not_return_does_not_hold_up_the_restart(
    tmp_path: Path, first: str
) -> None:
    """Inside a stage's call, on the worker's first thread or another: left behind, as if killed."""
    number = _number(at=CAPACITY, waits=True)
    stuck = stage("stuck", "b", "c", "python:restart_stages:Stuck", state="stateless")
    made, _, out = _chain(tmp_path, number)
    out = R("out", "egress", rx=("c",), more=out.more)
    threads = {"number": ((1,), (0,), (2,), (3,)), "stuck": ((2,), (0,), (1,), (3,))}[first]
    plan = _plan(tmp_path, [made, number, stuck, out], threads=threads, stage_timeout_s=600)
    with running(plan) as run:
        until((tmp_path / "stuck").exists)
        (tmp_path / "go").touch()
        _ends_well(run, tmp_path)


@pytest.mark.timeout(25)
def test_restarts_of_such_a_worker_are_bounded(tmp_path: Path) -> None:
    """What fails each time stops the run after `restarts_max`, with the error that it was."""
    number = _number(at=100, always=True)
    plan = _plan(tmp_path, _chain(tmp_path, number), restarts_max=2)
    with running(plan) as run:
        status = run.until_state("failed", timeout_s=30)
        assert [worker["restarts"] for worker in status["workers"]] == [2]
        assert status["failure"]["role"] == "number", status
        assert "more than 2 restarts within 60 s" in status["failure"]["message"]
        assert "ValueError: not in this process" in status["failure"]["message"]
    kept = _numbers(tmp_path / "out")
    assert kept == list(range(len(kept)))
    assert len(kept) <= 100


@pytest.mark.timeout(25)
def test_a_worker_with_private_state_is_not_restarted_by_policy_either(tmp_path: Path) -> None:
    """What a sibling kept in the process would be lost in silence: the failure stops the run."""
    made, number, out = _chain(tmp_path, _number(at=100))
    own = stage("own", "b", "c", "python:restart_stages:Own", state="private")
    out = R("out", "egress", rx=("c",), more=out.more)
    with running(_plan(tmp_path, [made, number, own, out])) as run:
        status = run.until_state("failed", timeout_s=30)
    failure = status["failure"]
    assert (failure["reason"], failure["role"]) == ("STAGE_FAILED", "number")
    assert failure["sequence"] == 100
    assert "its worker is not restarted, since own keeps private state" in failure["message"]


@pytest.mark.timeout(25)
@pytest.mark.parametrize("wait", ["backoff", "park"])
def test_a_killed_worker_of_several_threads_loses_and_repeats_nothing(
    tmp_path: Path, wait: str
) -> None:
    """`kill -9` again and again, each time at another place: every message once, in order."""
    killed = 0
    with running(_plan(tmp_path, _chain(tmp_path, _number(), rate=COUNT), wait=wait)) as run:
        run.until_state("running", "completed")
        for turn in range(1, 4):

            def reached(goal: int = turn * COUNT // 5) -> bool:
                return bool(run.role("out")["received"] >= goal)

            until(reached, 30)
            pid = run.worker_pid("out")
            os.kill(pid, signal.SIGKILL)
            until(_another(run, pid), 30)
            killed += 1
        _ends_well(run, tmp_path, restarts=killed)


def _another(run: LiveRun, pid: int) -> Callable[[], bool]:
    return lambda: run.worker_pid("out") not in {0, pid}
