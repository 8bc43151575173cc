"""What clients take at an egress is in the capture, and a replay lets it out again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from byteord.client import attach
from byteord.runs.manager import RunManager
from byteord.runs.state import RunState
from tests.property.documents import toml_text
from tests.support.recordings import digest_of
from tests.support.replays import graph_admission, replayed
from tests.support.runs import Runs, ended, managed, run, until

LINES = [b"line %05d" % number for number in range(3_000)]
LANE = {"kind": "events", "capacity": 64, "slot_bytes": 64}
RING = {
    "version": 1,
    "name": "taken",
    "model": "single_ring",
    "ring": {"capacity": 64, "slot_bytes": 64},
    "stages": [
        {"name": "even", "stage": "filter", "config": {"contains": "4"}},
        {"name": "same", "stage": "identity", "depends_on": [0]},
    ],
    "endpoints": [{"name": "in", "kind": "ingress"}, {"name": "out", "kind": "egress"}],
}


def _graph(*, producers: int) -> dict[str, Any]:
    """Return a graph whose client is served by one router, or by two bridges behind it."""
    mid = [f"mid{number}" for number in range(producers)]
    fork = {"name": "fork", "kind": "router", "mode": "work_queue", "rx": ["a"]}
    roles = [{**fork, "tx": ["side", "out"] if producers == 1 else [*mid, "side"]}]
    if producers > 1:
        roles += [
            {"name": f"b{number}", "kind": "bridge", "rx": [name], "tx": ["out"]}
            for number, name in enumerate(mid)
        ]
    lanes = ["a", "side", "out", *(mid if producers > 1 else ())]
    return {
        "version": 1,
        "name": "taken",
        "model": "lane_graph",
        "on_full": "block",
        "lanes": [
            {**LANE, "name": name, **({"publishers_max": producers} if name == "out" else {})}
            for name in lanes
        ],
        "endpoints": [
            {"name": "in", "kind": "ingress", "lane": "a"},
            {"name": "out", "kind": "egress", "lane": "out"},
            {"name": "beside", "kind": "egress", "lane": "side"},
        ],
        "roles": roles,
    }


def _deployment(runs: Runs, tree: dict[str, Any], fuse: str) -> str:
    data = runs.top / "data"
    (data / "in").write_bytes(b"\n".join(LINES) + b"\n")
    adapters: dict[str, Any] = {
        "in": {"kind": "file", "path": str(data / "in"), "framing": "lines"},
        "out": {"kind": "client"},
    }
    if any(end["name"] == "beside" for end in tree["endpoints"]):
        adapters["beside"] = {"kind": "discard"}
    tables = {
        "adapters": adapters,
        "capture": {"directory": str(data / "captures"), "outputs": "messages"},
        "tuning": {"fuse": fuse},
        "failure": {"policy": "restart", "restart_backoff_ms": 1},
    }
    return toml_text(tables)


def _take(directory: str) -> list[bytes]:
    with attach(directory, "out") as consumer:
        return list(consumer)


async def _recorded(
    runs: Runs,
    manager: RunManager,
    tree: dict[str, Any],
    fuse: str,
    meanwhile: Callable[[str], Any] | None = None,
) -> tuple[str, Path, list[bytes]]:
    """Run a spec whose egress is a client; return the run, its capture, what the client took."""
    view = await manager.start(graph_admission(runs, tree, _deployment(runs, tree, fuse)))
    if meanwhile is not None:
        await meanwhile(view.id)
    taken = await asyncio.to_thread(_take, view.region_directory)
    last = await ended(manager, view.id)
    assert last.state is RunState.COMPLETED, last.failure
    return view.id, runs.top / "data" / "captures" / view.id, taken


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fuse", ["never", "always"])
@pytest.mark.parametrize("tree", [RING, _graph(producers=1)], ids=["ring", "graph"])
def test_what_a_client_takes_is_recorded_and_leaves_again(tree: dict[str, Any], fuse: str) -> None:
    """Its digest is that of what the client had in its hands; a replay has the same."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            run_id, kept, taken = await _recorded(runs, manager, tree, fuse)
            assert 0 < len(taken) < len(LINES)
            digest = json.loads((kept / "out" / "out.json").read_text())
            assert (digest["count"], digest["lost"]) == (len(taken), 0)
            assert digest["sha256"] == digest_of(taken)
            result = await replayed(runs, manager, run_id)
            assert (result["verdict"], result["reasons"]) == ("equal", []), result
            counts = {each["name"]: each["count"] for each in result["egresses"]}
            assert counts["out"] == len(taken)

    run(work)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("tree", "name"), [(RING, "same"), (_graph(producers=1), "fork")], ids=["ring", "graph"]
)
def test_a_worker_killed_in_between_hands_over_nothing_twice(
    tree: dict[str, Any], name: str
) -> None:
    """It had published what the client has room for; the next one goes on behind that."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:

            async def kill(run_id: str) -> None:
                def published() -> int:
                    role = next(each for each in manager.get(run_id).roles if each.name == name)
                    workers = {each.index: each for each in manager.get(run_id).workers}
                    return workers[role.worker].pid if role.received >= 8 else 0

                first = await until(published, "a full ring")
                os.kill(first, signal.SIGKILL)
                await until(lambda: published() not in {0, first}, "the next worker")

            run_id, kept, taken = await _recorded(runs, manager, tree, "never", kill)
            assert len(taken) == len(set(taken))
            digest = json.loads((kept / "out" / "out.json").read_text())
            assert (digest["count"], digest["lost"]) == (len(taken), 0)
            assert digest["sha256"] == digest_of(taken)
            result = await replayed(runs, manager, run_id)
            assert result["verdict"] == "equal", result

    run(work)


@pytest.mark.timeout(60)
def test_what_several_producers_gave_a_client_is_said_to_be_not_comparable() -> None:
    """In which order it took them is nowhere: the capture and the replay name the egress."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            tree = _graph(producers=2)
            run_id, kept, taken = await _recorded(runs, manager, tree, "never")
            assert taken
            assert json.loads((kept / "capture.json").read_text())["unrecorded"] == ["out"]
            result = await replayed(runs, manager, run_id)
            assert result["verdict"] == "not_comparable", result
            said = {each["code"]: each["message"] for each in result["reasons"]}
            assert set(said) == {"egress_not_recorded", "choices_missing"}, said
            assert said["egress_not_recorded"].startswith("egress out: a client took what left")
            assert said["choices_missing"].startswith("out: ")

    run(work)
