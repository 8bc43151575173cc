"""What lossy readers missed and full lanes dropped is recorded, and lost again in a replay."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from byteord.regions.captures import read_choices
from byteord.runs.manager import RunManager
from byteord.runs.state import RunState
from byteord.runs.view import InputChunk, RoleView
from tests.property.documents import toml_text
from tests.support.replays import graph_admission, replayed
from tests.support.runs import Runs, ended, input_of, managed, run, until

COUNT = 3_000
LINES = b"".join(b"line %05d\n" % number for number in range(COUNT))
SLOW = ("pick", "side")
"""Held still while everything comes: a lossy reader, and who reads a lane that drops."""


def _lane(name: str, kind: str = "events", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "capacity": 64, "slot_bytes": 64, **more}


GRAPH: dict[str, Any] = {
    "version": 1,
    "name": "losses",
    "model": "lane_graph",
    "lanes": [
        _lane("src", "fanout_broadcast", lossy=["pick"]),
        _lane("all"),
        _lane("some"),
        _lane("joined"),
        _lane("main"),
        _lane("beside", on_full="drop"),
    ],
    "endpoints": [
        {"name": "in", "kind": "ingress", "lane": "src"},
        {"name": "out", "kind": "egress", "lane": "main"},
        {"name": "side", "kind": "egress", "lane": "beside"},
    ],
    "roles": [
        {"name": "keep", "kind": "bridge", "rx": ["src"], "tx": ["all"]},
        {"name": "pick", "kind": "bridge", "rx": ["src"], "tx": ["some"]},
        {
            "name": "join",
            "kind": "merge",
            "rx": ["all", "some"],
            "tx": ["joined"],
            "mode": "round_robin",
        },
        {
            "name": "fork",
            "kind": "router",
            "rx": ["joined"],
            "tx": ["main", "beside"],
            "mode": "broadcast",
        },
    ],
}


def _deployment(data: Path) -> str:
    ends: dict[str, Any] = {"in": {"kind": "stream", "framing": "lines"}}
    for name in ("out", "side"):
        ends[name] = {
            "kind": "file",
            "path": str(data / name),
            "framing": "lines",
            "mode": "truncate",
        }
    capture = {"directory": str(data / "captures"), "outputs": "messages"}
    return toml_text({"adapters": ends, "capture": capture, "tuning": {"fuse": "never"}})


def _role(manager: RunManager, run_id: str, name: str) -> RoleView:
    return next(role for role in manager.get(run_id).roles if role.name == name)


@contextmanager
def _held(manager: RunManager, run_id: str) -> Iterator[None]:
    """Hold the workers of the slow roles still."""
    workers = {each.index: each.pid for each in manager.get(run_id).workers}
    pids = [workers[_role(manager, run_id, name).worker] for name in SLOW]
    assert len(set(pids)) == len(SLOW)
    assert all(pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _input(manager: RunManager, run_id: str) -> AsyncIterator[InputChunk]:
    """Give everything while the slow roles are held, then the end."""
    data, *end = [chunk async for chunk in input_of(LINES)]
    with _held(manager, run_id):
        yield data
        await until(lambda: _role(manager, run_id, "out").received >= COUNT, "all by `keep`")
    for chunk in end:
        yield chunk


def _made(choices: Path) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for each in read_choices(choices):
        for kind, source, count in each.made:
            found[kind, source] += count
    return found


@pytest.mark.timeout(60)
def test_misses_and_drops_are_recorded_and_made_again() -> None:
    """Both roles lost most of what came: exactly that is lost in every replay, and no more."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            deployment = _deployment(runs.top / "data")
            view = await manager.start(graph_admission(runs, GRAPH, deployment, client_input=True))
            await manager.feed(view.id, _input(manager, view.id))
            last = await ended(manager, view.id)
            assert last.state is RunState.COMPLETED, last.failure
            choices = runs.top / "data" / "captures" / view.id / "choices"
            picked, forked = _made(choices / "pick"), _made(choices / "fork")
            assert picked["miss", 0] >= 2_800
            assert picked["miss", 0] + picked["take", 0] == COUNT
            assert forked["drop", 1] >= 2_800
            assert forked["keep", 1] + forked["drop", 1] == COUNT + picked["take", 0]
            for _ in range(2):
                result = await replayed(runs, manager, view.id)
                assert (result["verdict"], result["reasons"]) == ("equal", []), result
                counts = {each["name"]: each["count"] for each in result["egresses"]}
                assert counts == {"out": COUNT + picked["take", 0], "side": forked["keep", 1]}
            # what the reader missed is not known any more: then there is nothing to hold against
            for path in (choices / "pick").iterdir():
                path.unlink()
            (choices / "pick").rmdir()
            result = await replayed(runs, manager, view.id)
            assert result["verdict"] == "not_comparable", result
            assert [each["code"] for each in result["reasons"]] == ["choices_missing"]

    run(work)
