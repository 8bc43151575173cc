"""Random LaneGraphs, recorded and replayed: what leaves is what left, however roles chose."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from byteord.errors import WrongStateError
from byteord.regions.captures import read_about, write_json
from byteord.rpc import replays as module
from byteord.runs.state import RunState
from byteord.runs.view import Admission
from tests.property.documents import toml_text
from tests.support.recordings import Frame, write_segments
from tests.support.replay_graphs import (
    CODE,
    MODULE,
    features,
    replay_deployment,
    replay_graph,
    wanted_features,
)
from tests.support.replays import graph_admission, replayed
from tests.support.runs import Runs, ended, managed, run

MESSAGES = 1_200
SEEDS = (40, 81, 6, 2)
TIMES = 10
"""Replays of one run; of the others two."""
BUSY = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
"""A process that keeps a CPU busy, and ends by itself if nobody does it."""


def _admission(runs: Runs, tree: Mapping[str, Any], seed: int) -> Admission:
    """Return a graph that reads and writes files, and is recorded."""
    (runs.top / "code" / f"{MODULE}.py").write_text(CODE)
    deployment = replay_deployment(tree, runs.top / "data", seed, MESSAGES)
    return graph_admission(runs, tree, deployment)


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


def test_the_graphs_have_between_them_whatever_a_replay_may_get_wrong() -> None:
    """Every kind of lane and role, several producers, losses, stages of each sort, each fusion."""
    found = set().union(*(features(replay_graph(seed), seed) for seed in SEEDS))
    assert wanted_features() - found == set()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("seed", "times"), [(SEEDS[0], TIMES), *((seed, 2) for seed in SEEDS[1:])])
def test_live_digests_are_those_of_its_replays_whoever_gets_the_cpus(seed: int, times: int) -> None:
    """While other processes keep every CPU busy every egress lets out the same, in order."""
    with _loaded():
        _live_equals_replayed(seed, times)


def _live_equals_replayed(seed: int, times: int) -> None:
    async def work(runs: Runs) -> None:
        tree = replay_graph(seed)
        async with managed(runs) as manager:
            view = await manager.start(_admission(runs, tree, seed))
            last = await ended(manager, view.id)
            assert last.state is RunState.COMPLETED, last.failure
            about = runs.top / "data" / "captures" / view.id / "capture.json"
            assert json.loads(about.read_text())["choosers"], "a graph without a choice"
            for _ in range(times):
                result = await replayed(runs, manager, view.id)
                assert result["verdict"] == "equal", (result, toml_text(tree))
                assert sum(each["count"] for each in result["egresses"])

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
            view = await manager.start(_admission(runs, _fork(), 0))
            assert (await ended(manager, view.id)).state is RunState.COMPLETED
            capture = runs.top / "data" / "captures" / view.id
            about = read_about(capture)
            about["choosers"] = [{**row, "kept": 1} for row in about["choosers"]]
            write_json(capture / "capture.json", about)
            choices = capture / "choices" / "join"
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
