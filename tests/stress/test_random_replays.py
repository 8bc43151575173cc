"""Random LaneGraphs, recorded and replayed: what leaves is what left, however roles chose."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from byteord.errors import WrongStateError
from byteord.rpc import replays as module
from byteord.runs.state import RunState
from byteord.runs.view import Admission
from tests.property.documents import toml_text
from tests.support.graphs import PASSING, Shape, random_graph
from tests.support.recordings import Frame, write_segments
from tests.support.replays import graph_admission, replayed
from tests.support.runs import Runs, ended, managed, run

MESSAGES = 1_500
KINDS = ("events", "fanout_broadcast", "sequenced_slots")
TIMES = 2
"""Replays of each run."""
TIMES_LOADED = 10
BUSY = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
"""A process that keeps a CPU busy, and ends by itself if nobody does it."""


def _graph(seed: int) -> dict[str, Any]:
    """Return a graph with several ingresses in which some role chooses freely."""
    random = Random(seed)
    shape = Shape(kinds=KINDS, stages=PASSING, durable=False, dead_letters=False)
    while True:
        tree = random_graph(random, shape)
        several = sum(end["kind"] == "ingress" for end in tree["endpoints"]) > 1
        merges = any(role.get("mode") == "round_robin" for role in tree.get("roles", ()))
        if several and merges:
            return tree


def _deployment(tree: Mapping[str, Any], data: Path) -> str:
    adapters: dict[str, Any] = {}
    for number, end in enumerate(tree["endpoints"]):
        path = data / end["name"]
        adapters[end["name"]] = {"kind": "file", "path": str(path), "framing": "lines"}
        if end["kind"] == "egress":
            adapters[end["name"]]["mode"] = "truncate"
        else:
            path.write_bytes(b"".join(b"%d:%06d\n" % (number, at) for at in range(MESSAGES)))
    capture = {"directory": str(data / "captures"), "outputs": "messages"}
    return toml_text({"adapters": adapters, "capture": capture})


def admission(runs: Runs, tree: Mapping[str, Any]) -> Admission:
    """Return a graph that reads and writes files, and is recorded."""
    return graph_admission(runs, tree, _deployment(tree, runs.top / "data"))


@contextlib.contextmanager
def _loaded() -> Iterator[None]:
    """Keep every CPU busy with other processes."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
        assert all(process.poll() is None for process in busy), "the load ended too early"
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_live_digests_are_those_of_its_replays(seed: int) -> None:
    """Several ingresses, merges, queues: every egress lets out the same, in the same order."""
    _live_equals_replayed(seed, TIMES)


@pytest.mark.timeout(120)
def test_ten_of_ten_replays_are_equal_while_other_processes_keep_the_cpus_busy() -> None:
    """What leaves does not depend on who gets the CPU when."""
    with _loaded():
        _live_equals_replayed(12, TIMES_LOADED)


def _live_equals_replayed(seed: int, times: int) -> None:
    async def work(runs: Runs) -> None:
        tree = _graph(seed)
        async with managed(runs) as manager:
            view = await manager.start(admission(runs, tree))
            last = await ended(manager, view.id)
            assert last.state is RunState.COMPLETED, last.failure
            about = runs.top / "data" / "captures" / view.id / "capture.json"
            assert json.loads(about.read_text())["choosers"], "a graph without a choice"
            for _ in range(times):
                result = await replayed(runs, manager, view.id)
                assert result["verdict"] == "equal", (result, toml_text(tree))

    run(work)


def _fork() -> dict[str, Any]:
    """Return a graph that sends every message two ways, and merges them again."""
    lanes = [{"name": n, "kind": "events", "capacity": 64, "slot_bytes": 128} for n in "abcd"]
    return {
        "version": 1,
        "name": "fork",
        "model": "lane_graph",
        "on_full": "block",
        "lanes": lanes,
        "endpoints": [
            {"name": "in0", "kind": "ingress", "lane": "a"},
            {"name": "out0", "kind": "egress", "lane": "d"},
        ],
        "roles": [
            {"name": "fork", "kind": "router", "rx": ["a"], "tx": ["b", "c"], "mode": "broadcast"},
            {"name": "join", "kind": "merge", "rx": ["b", "c"], "tx": ["d"], "mode": "round_robin"},
        ],
    }


@pytest.mark.timeout(60)
def test_roles_that_wait_for_each_other_end_a_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices that no run can have made: all of one side first, where the other is soon full."""
    monkeypatch.setattr(module, "STALLED_S", 1.0)

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(admission(runs, _fork()))
            assert (await ended(manager, view.id)).state is RunState.COMPLETED
            choices = runs.top / "data" / "captures" / view.id / "choices" / "join"
            for path in choices.iterdir():
                path.unlink()
            made = struct.pack("<IIQIIQ", 1, 0, MESSAGES, 1, 1, MESSAGES)
            write_segments(choices, [Frame(made, 0, 2 * MESSAGES)])
            with pytest.raises(WrongStateError) as caught:
                await replayed(runs, manager, view.id)
            assert caught.value.reason == "REPLAY_STALLED"
            (audit,) = (runs.top / "replays").glob("*.json")
            assert json.loads(audit.read_text())["refused"]["reason"] == "REPLAY_STALLED"

    run(work)
