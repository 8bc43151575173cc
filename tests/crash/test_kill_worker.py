"""A worker that is killed loses, repeats, reorders and tears nothing."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from pathlib import Path

import pytest

from tests.support.poll import until
from tests.support.run import LiveRun, make_test_plan, running, spec_text

STAMP = (
    '[[stages]]\nname = "stamp"\nstage = "crc32c"\n[stages.config]\nmode = "stamp"\nplace = '
    '"append"\n'
)
DEPLOYMENT = """
[adapters.in]
kind = "generator"
size = 48
count = {count}
rate = {rate}
content = "checksummed"
[adapters.out]
kind = "file"
path = "{path}"
mode = "truncate"
framing = "fixed"
[failure]
restarts_max = 1000
restart_backoff_ms = 1
[tuning]
fuse = "{fuse}"
"""
STATEFUL = '''
import struct

class Number:
    """Writes a running number into each message: any loss or repetition shows in what follows."""

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
NUMBER = (
    '[[stages]]\nname = "number"\nstage = "python:number_stage_for_kill:Number"\nstate = '
    '"state"\nstate_bytes = 64\n'
    "mutates = [{ offset = 40, length = 8 }]\neffects = []\n"
)
COUNT = 60_000


def _kill_some(run: LiveRun, names: list[str], seed: int, times: int) -> int:
    """Kill the workers of roles at random moments while the run lasts; returns how many died."""
    chance = random.Random(seed)
    killed = 0
    run.until_state("running", "draining", "completed")
    while killed < times and run.status()["state"] == "running":
        step = chance.randrange(1, COUNT // (2 * times))
        killed += _kill_after(run, chance.choice(names), step)
    return killed


def _kill_after(run: LiveRun, name: str, step: int) -> int:
    """Kill a role's worker `step` messages from now and see it again; 1, or 0 when it was gone."""
    before = run.role(name)["received"]

    def over() -> bool:
        return bool(run.status()["state"] != "running")

    until(lambda: run.role(name)["received"] >= before + step or over(), 30)
    pid = run.worker_pid(name)
    if not pid:
        return 0
    os.kill(pid, signal.SIGKILL)
    until(lambda: run.worker_pid(name) not in {0, pid} or over(), 30)
    return 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fuse", ["never", "always"])
def test_output_is_the_same_with_and_without_kills(tmp_path: Path, fuse: str) -> None:
    """`kill -9` of any worker, again and again.

    The output file is byte for byte that of an undisturbed run.
    """
    (tmp_path / "number_stage_for_kill.py").write_text(STATEFUL)
    outputs = []
    path = tmp_path
    for times in (0, 6):
        path = tmp_path / f"out-{times}"
        deployment = DEPLOYMENT.format(count=COUNT, rate=40_000, path=path, fuse=fuse)
        plan = make_test_plan(spec_text(NUMBER), deployment, directories=[str(tmp_path)])
        with running(plan) as run:
            killed = _kill_some(run, ["in", "number"], seed=7, times=times)
            assert run.until_state("completed", "failed", timeout_s=60)["state"] == "completed", (
                run.log()
            )
            run.shim.wait(10)
            assert run.role("out")["received"] == COUNT
            assert killed == times
        outputs.append(hashlib.sha256(path.read_bytes()).hexdigest())
    numbers = [
        int.from_bytes(path.read_bytes()[i + 40 : i + 48], "little")
        for i in range(0, COUNT * 48, 48 * 997)
    ]
    assert numbers == [1 + 997 * i for i in range(len(numbers))]
    assert outputs[0] == outputs[1]


@pytest.mark.timeout(60)
def test_a_stage_with_private_state_is_not_restarted(tmp_path: Path) -> None:
    """The death of a worker whose stage keeps private state stops the run and says why."""
    (tmp_path / "number_stage_for_kill.py").write_text(STATEFUL)
    stage = NUMBER.replace('state = "state"\nstate_bytes = 64\n', 'state = "private"\n')
    (tmp_path / "number_stage_for_kill.py").write_text(
        "class Number:\n    def __init__(self, ctx): ...\n    def process(self, batch): ...\n"
    )
    deployment = DEPLOYMENT.format(count=0, rate=1000, path=tmp_path / "out", fuse="never")
    plan = make_test_plan(spec_text(stage), deployment, directories=[str(tmp_path)])
    with running(plan) as run:
        run.until_state("running")
        os.kill(run.worker_pid("number"), signal.SIGKILL)
        status = run.until_state("failed")
        assert status["failure"]["reason"] == "WORKER_DIED"
        assert status["failure"]["role"] == "number"
        assert "signal 9 (SIGKILL)" in status["failure"]["message"]
        assert "private state" in status["failure"]["message"]


@pytest.mark.timeout(60)
def test_restarts_are_bounded(tmp_path: Path) -> None:
    """A worker that keeps dying stops the run after `restarts_max` restarts."""
    text = DEPLOYMENT.replace("restarts_max = 1000", "restarts_max = 2")
    deployment = text.format(count=0, rate=1000, path=tmp_path / "out", fuse="never")
    plan = make_test_plan(
        spec_text('[[stages]]\nname = "pass"\nstage = "identity"\n'),
        deployment,
        directories=[str(tmp_path)],
    )
    with running(plan) as run:
        run.until_state("running")
        seen: set[int] = set()
        while len(seen) < 3:
            until(lambda: run.worker_pid("pass") not in seen | {0}, 20)
            seen.add(run.worker_pid("pass"))
            os.kill(run.worker_pid("pass"), signal.SIGKILL)
        status = run.until_state("failed")
        assert "more than 2 restarts" in status["failure"]["message"]
