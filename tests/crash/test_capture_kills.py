"""`kill -9` of workers and of the recorder: a capture loses, repeats and reorders nothing."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
from pathlib import Path

import pytest

from byteord.regions.captures import Tapes
from tests.support.captured import choices, made, payloads, recorded, recorder_pid
from tests.support.lanes import L, R, graph_plan, sink, source, stage
from tests.support.poll import until
from tests.support.run import LiveRun, make_test_plan, running, spec_text

STEP = 1_000
SIZE = 48
DEPLOYMENT = """
[adapters.in]
kind = "generator"
size = 48
rate = 10_000
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
NUMBER = '''
class Number:
    """Writes a running number into each message, so that a repetition shows for good."""

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
STATEFUL = {"state": "state", "state_bytes": 64, "mutates": ((40, 8),)}
RECORDER = "(the recorder)"


def _pid(run: LiveRun, name: str) -> int:
    return recorder_pid(run) if name == RECORDER else run.worker_pid(name)


def _kill_after(run: LiveRun, name: str, ingress: str, messages: int) -> None:
    """Kill a process when so many more messages have come in, and see it again."""
    goal = run.role(ingress)["received"] + messages
    until(lambda: run.role(ingress)["received"] >= goal, 30, run.log())
    pid = _pid(run, name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: _pid(run, name) not in {0, pid}, 30, run.log())


def _kill_in_turn(run: LiveRun, names: list[str], ingress: str) -> None:
    """Kill processes in turn, each some messages after the last came back; then drain the run."""
    chance = random.Random(5)
    run.until_state("running")
    for name in names:
        _kill_after(run, name, ingress, chance.randrange(1, STEP))
    run.command(op="stop", mode="drain")
    status = run.until_state("stopped", "failed", timeout_s=60)
    assert status["state"] == "stopped", (status, run.log())
    run.shim.wait(10)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fuse", ["never", "always"])
@pytest.mark.parametrize("on_full", ["degrade", "wait"])
def test_a_ring_is_recorded_exactly(tmp_path: Path, fuse: str, on_full: str) -> None:
    """Everything that entered and left stands in the capture once, in order, whoever was killed."""
    deployment = DEPLOYMENT.format(path=tmp_path / "out", fuse=fuse)
    number = (
        '[[stages]]\nname = "number"\nstage = "python:number_for_capture:Number"\n'
        'state = "state"\nstate_bytes = 64\nmutates = [{ offset = 40, length = 8 }]\neffects = []\n'
    )
    (tmp_path / "number_for_capture.py").write_text(NUMBER)
    plan = make_test_plan(spec_text(number), deployment, directories=[str(tmp_path)])
    plan, kept = recorded(plan, tmp_path / "captures", on_full=on_full, segment_bytes=1 << 20)
    with running(plan) as run:
        _kill_in_turn(run, ["in", RECORDER, "number", RECORDER] * 2, "in")
    left = (tmp_path / "out").read_bytes()
    count = len(left) // SIZE
    assert b"".join(payloads(kept, "out", "out")) == left
    entered = payloads(kept, "in", "in")
    assert len(entered) == count
    assert [message[:40] for message in entered] == [
        left[at : at + 40] for at in range(0, len(left), SIZE)
    ]
    assert all(
        message[40:] != left[i * SIZE + 40 : i * SIZE + 48]
        for i, message in enumerate(entered[1:50], 1)
    ), "as it entered, not as a stage left it"
    about = json.loads((kept / "capture.json").read_text())
    assert [row["lost"] for row in (*about["ingresses"], *about["egresses"])] == [0, 0]


@pytest.mark.timeout(120)
def test_what_a_merge_and_a_work_queue_chose_makes_their_output_again(tmp_path: Path) -> None:
    """Inputs and choices together give what left, message by message, through many kills."""
    (tmp_path / "number_for_capture.py").write_text(NUMBER)
    ends = {"size": SIZE, "rate": 5_000, "content": "checksummed"}
    files = {"mode": "truncate", "framing": "fixed"}
    roles = [
        source("left", "a", "generator", **ends),
        source("right", "b", "generator", **ends),
        R("join", "merge", ("a", "b"), ("c",), more={"mode": "round_robin"}),
        stage("number", "c", "d", "python:number_for_capture:Number", **STATEFUL),
        R("split", "router", ("d",), ("e", "f"), more={"mode": "work_queue"}),
        sink("one", "e", "file", path=str(tmp_path / "one"), **files),
        sink("two", "f", "file", path=str(tmp_path / "two"), **files),
    ]
    plan = graph_plan(
        [L(name) for name in "abcdef"],
        roles,
        code_dirs=(str(tmp_path),),
        write_dirs=(str(tmp_path),),
    )
    plan, kept = recorded(plan, tmp_path / "captures")
    names = ["left", RECORDER, "join", "number", "split", RECORDER, "one"]
    with running(plan) as run:
        _kill_in_turn(run, names, "left")
    inputs = [iter(payloads(kept, "in", name)) for name in ("left", "right")]
    merged = [next(inputs[place]) for _, place in made(kept, "join", "take")]
    assert [next(each, None) for each in inputs] == [None, None]
    numbered = [
        message[:40] + (number + 1).to_bytes(8, "little") for number, message in enumerate(merged)
    ]
    batches = [each for batch in choices(kept, "number") for each in batch.made]
    assert sum(size for kind, size, _ in batches if kind == "batch") == len(merged)
    clock = [shown for _, _, shown in batches]
    assert clock == sorted(clock)
    outputs: list[list[bytes]] = [[], []]
    for message, (_, place) in zip(numbered, made(kept, "split", "route"), strict=True):
        outputs[place].append(message)
    for name, messages in zip(("one", "two"), outputs, strict=True):
        assert payloads(kept, "out", name) == messages
        assert (tmp_path / name).read_bytes() == b"".join(messages)


@pytest.mark.timeout(120)
def test_a_recorder_that_comes_back_to_much_goes_on_behind_its_last_frame(tmp_path: Path) -> None:
    """Much at a time is written otherwise than little: nothing is lost there either."""
    deployment = DEPLOYMENT.format(path=tmp_path / "out", fuse="auto")
    plan = make_test_plan(
        spec_text('[[stages]]\nname = "s"\nstage = "identity"'),
        deployment.replace("rate = 10_000", "rate = 200_000"),
        directories=[str(tmp_path)],
    )
    plan, kept = recorded(plan, tmp_path / "captures", on_full="wait", segment_bytes=4 << 20)
    with running(plan) as run:
        _kill_in_turn(run, [RECORDER] * 4, "in")
    left = (tmp_path / "out").read_bytes()
    assert b"".join(payloads(kept, "out", "out")) == left
    assert b"".join(payloads(kept, "in", "in")) == left


def _kill_while_it_catches_up(run: LiveRun, seen: Tapes) -> None:
    """Have the recorder find much on its tapes, kill it after the first of it, see it again."""
    pid = recorder_pid(run)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(each["lag_bytes"] > 4 << 20 for each in seen.stats()), 30, run.log())
    before = seen.stats()[0]["kept"]
    os.kill(pid, signal.SIGCONT)
    until(lambda: seen.stats()[0]["kept"] > before, 30, run.log())
    os.kill(pid, signal.SIGKILL)
    until(lambda: recorder_pid(run) not in {0, pid}, 30, run.log())


@pytest.mark.timeout(120)
def test_a_recorder_that_dies_while_pieces_are_under_way_loses_none(tmp_path: Path) -> None:
    """What it had begun to write stays on the tape until it is written; what left counts once."""
    deployment = DEPLOYMENT.format(path=tmp_path / "out", fuse="auto")
    deployment = deployment.replace("size = 48", "size = 1000").replace("10_000", "50_000")
    spec = spec_text(
        '[[stages]]\nname = "s"\nstage = "identity"', ring="capacity = 1024\nslot_bytes = 1024"
    )
    plan = make_test_plan(spec, deployment, directories=[str(tmp_path)])
    keys = {"on_full": "wait", "outputs": "digest", "buffer_bytes": 8 << 20}
    plan, kept = recorded(plan, tmp_path / "captures", **keys)
    with running(plan) as run:
        run.until_state("running")
        seen = Tapes(run.directory, plan)
        for _ in range(4):
            _kill_while_it_catches_up(run, seen)
        run.command(op="stop", mode="drain")
        status = run.until_state("stopped", "failed", timeout_s=60)
        assert status["state"] == "stopped", (status, run.log())
        run.shim.wait(10)
    entered, rolling = payloads(kept, "in", "in"), hashlib.sha256()
    assert b"".join(entered) == (tmp_path / "out").read_bytes()
    for message in entered:
        rolling.update(len(message).to_bytes(4, "little") + message)
    digest = json.loads((kept / "out" / "out.json").read_text())
    assert (digest["count"], digest["sha256"]) == (len(entered), rolling.hexdigest())
