"""Workers of a LaneGraph that are killed lose, repeat, reorder and tear nothing."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from byteord.deployment.plan import RunPlan
from tests.support.lanes import L, R, graph_plan, sink, source, stage
from tests.support.poll import until
from tests.support.run import LiveRun, running

COUNT = 40_000
NUMBER = '''
class Number:
    """Writes a running number into each message, so that a loss or repetition shows for good."""

    def __init__(self, ctx):
        self.ctx = ctx

    def process(self, batch):
        state = self.ctx.state()
        number = int.from_bytes(state[:8], "little")
        for index in range(len(batch)):
            number += 1
            batch.payload(index)[40:48] = number.to_bytes(8, "little")
        state[:8] = number.to_bytes(8, "little")
        del state
'''
SPLIT = '''
class Split:
    """Makes one to three of a message, each with a running number."""

    def __init__(self, ctx):
        self.ctx = ctx

    def process(self, batch):
        state = self.ctx.state("<u8")
        for index in range(len(batch)):
            message = bytearray(batch[index])
            for part in range(message[0] % 3 + 1):
                state[0] += 1
                message[40:48] = int(state[0]).to_bytes(8, "little")
                if part:
                    batch.emit(index, message)
                else:
                    batch.replace(index, message)
'''
SPLITS = 15_000
SAMPLE = {"config": {"every": 3}, "drops": True, "state": "state", "state_bytes": 8}
NUMBERED = {"state": "state", "state_bytes": 64, "mutates": ((40, 8),)}
ROLES = ("in", "split", "number", "sample", "join", "out")


def _diamond(path: Path, code: Path, groups: tuple[tuple[str, ...], ...] = ()) -> RunPlan:
    roles = [
        source("in", "a", "generator", size=48, count=COUNT, rate=30_000, content="checksummed"),
        R("split", "router", ("a",), ("b", "c"), more={"mode": "broadcast"}),
        stage("number", "b", "d", "python:number_for_lanes:Number", **NUMBERED),
        stage("sample", "c", "e", "sample", **SAMPLE),
        R("join", "merge", ("d", "e"), ("f",), more={"mode": "ordered"}),
        sink("out", "f", "file", path=str(path), mode="truncate", framing="fixed"),
    ]
    lanes = [L(name) for name in "abcdef"]
    return graph_plan(lanes, roles, groups=groups, code_dirs=(str(code),), write_dirs=(str(code),))


def _kill(run: LiveRun, name: str) -> int:
    """Kill a role's worker and see it again; 1, or 0 when it had ended."""
    pid = run.worker_pid(name)
    if not pid:
        return 0

    def over() -> bool:
        return bool(run.status()["state"] != "running")

    os.kill(pid, signal.SIGKILL)
    until(lambda: run.worker_pid(name) not in {0, pid} or over(), 30)
    return 1


def _await_messages(run: LiveRun, name: str, goal: int) -> None:
    def reached() -> bool:
        return bool(run.role(name)["received"] >= goal or run.status()["state"] != "running")

    until(reached, 30)


def _output(plan: RunPlan, path: Path, kills: int, names: tuple[str, ...]) -> tuple[bytes, int]:
    chance = random.Random(11)
    killed = 0
    with running(plan) as run:
        run.until_state("running", "completed")
        for turn in range(kills):
            name = names[turn % len(names)]
            step = chance.randrange(1, COUNT // (2 * kills))
            _await_messages(run, name, run.role(name)["received"] + step)
            killed += _kill(run, name)
        status = run.until_state("completed", "failed", timeout_s=60)
        assert status["state"] == "completed", (status, run.log())
        run.shim.wait(10)
    return path.read_bytes(), killed


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "groups", [(), (("in", "split"), ("sample", "join", "out"))], ids=["alone", "fused"]
)
def test_a_diamond_gives_the_same_bytes_with_and_without_kills(
    tmp_path: Path, groups: tuple[tuple[str, ...], ...]
) -> None:
    """`kill -9` of each worker of a router, two branches and an ordered merge, again and again.

    The merged output is byte for byte that of an undisturbed run.
    """
    (tmp_path / "number_for_lanes.py").write_text(NUMBER)
    plan = _diamond(tmp_path / "out", tmp_path, groups)
    calm, _ = _output(plan, tmp_path / "out", 0, ROLES)
    wild, killed = _output(plan, tmp_path / "out", 12, ROLES)
    assert killed >= 8
    assert len(calm) == 48 * (COUNT + (COUNT + 2) // 3)
    assert wild == calm


@pytest.mark.timeout(90)
def test_a_stage_that_makes_several_of_one_repeats_and_loses_none(tmp_path: Path) -> None:
    """`kill -9` of a Python stage that emits: with its number in each message, the same bytes."""
    (tmp_path / "split_for_lanes.py").write_text(SPLIT)
    outputs = []
    for kills in (0, 5):
        path = tmp_path / f"out-{kills}"
        split = {"state": "state", "state_bytes": 64, "mutates": ((0, 0),), "outputs_max": 3}
        roles = [
            source("in", "a", "generator", size=48, count=SPLITS, rate=15_000, content="counter"),
            stage("split", "a", "b", "python:split_for_lanes:Split", **split),
            sink("out", "b", "file", path=str(path), mode="truncate", framing="fixed"),
        ]
        dirs = (str(tmp_path),)
        plan = graph_plan([L("a"), L("b")], roles, code_dirs=dirs, write_dirs=dirs)
        outputs.append(_killed_at_random(plan, path, kills, step_max=SPLITS // 12))
    calm, wild = outputs
    assert len(calm) > 48 * SPLITS
    numbers = [calm[at + 40 : at + 48] for at in range(0, len(calm), 48)]
    assert numbers == [n.to_bytes(8, "little") for n in range(1, len(numbers) + 1)]
    assert wild == calm


def _killed_at_random(plan: RunPlan, path: Path, kills: int, step_max: int) -> bytes:
    chance = random.Random(3)
    with running(plan) as run:
        run.until_state("running", "completed")
        killed = 0
        for _ in range(kills):
            goal = run.role("split")["received"] + chance.randrange(1, step_max)
            _await_messages(run, "split", goal)
            killed += _kill(run, "split")
        status = run.until_state("completed", "failed", timeout_s=60)
        assert status["state"] == "completed", (status, run.log())
        assert killed == kills
        run.shim.wait(10)
    return path.read_bytes()
