"""Readers of journals with little retention: what they missed live is missed again, and no more."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from byteord.regions.captures import read_choices
from byteord.runs import replay_job
from byteord.runs.state import RunState
from tests.property.documents import toml_text
from tests.support.replays import graph_admission, replayed
from tests.support.runs import Runs, ended, input_of, managed, run

COUNT = 20_000
LINES = b"".join(b"line %05d\n" % number for number in range(COUNT))
SEGMENT = 1 << 17
CODE = """
import time

class Slow:
    def __init__(self, ctx):
        pass
    def process(self, batch):
        until = time.monotonic() + 1e-4 * len(batch)
        while time.monotonic() < until:
            pass
"""
"""It takes seconds for what is written within milliseconds."""
GRAPH: dict[str, Any] = {
    "version": 1,
    "name": "journals",
    "model": "lane_graph",
    "lanes": [
        {"name": "src", "kind": "events", "capacity": 64, "slot_bytes": 64},
        {
            "name": "kept",
            "kind": "journal",
            "slot_bytes": 64,
            "segment_bytes": SEGMENT,
            "retention_bytes": 2 * SEGMENT,
        },
        {"name": "end", "kind": "events", "capacity": 64, "slot_bytes": 64},
    ],
    "endpoints": [
        {"name": "in", "kind": "ingress", "lane": "src"},
        {"name": "out", "kind": "egress", "lane": "end"},
    ],
    "roles": [
        {"name": "copy", "kind": "bridge", "rx": ["src"], "tx": ["kept"]},
        {
            "name": "slow",
            "kind": "stage",
            "stage": "python:journal_stages:Slow",
            "rx": ["kept"],
            "tx": ["end"],
            "deterministic": True,
            "effects": [],
        },
    ],
}


def _deployment(data: Path) -> str:
    ends: dict[str, Any] = {
        "in": {"kind": "stream", "framing": "lines"},
        "out": {"kind": "discard"},
    }
    capture = {"directory": str(data / "captures"), "outputs": "messages"}
    return toml_text({"adapters": ends, "capture": capture, "tuning": {"fuse": "never"}})


def _missed(choices: Path) -> int:
    found: Counter[str] = Counter()
    for each in read_choices(choices):
        for kind, _, count in each.made:
            found[kind] += count
    assert found["take"] + found["miss"] == COUNT
    return found["miss"]


@pytest.mark.timeout(60)
def test_what_a_reader_of_a_journal_missed_is_missed_again_and_anything_else_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Live and replay are equal; where the replay has no room to keep what was there: told."""

    async def work(runs: Runs) -> None:
        (runs.top / "code" / "journal_stages.py").write_text(CODE)
        async with managed(runs) as manager:
            deployment = _deployment(runs.top / "data")
            view = await manager.start(graph_admission(runs, GRAPH, deployment, client_input=True))
            await manager.feed(view.id, input_of(LINES))
            last = await ended(manager, view.id)
            assert last.state is RunState.COMPLETED, last.failure
            choices = runs.top / "data" / "captures" / view.id / "choices" / "slow"
            missed = _missed(choices)
            assert missed > 0
            result = await replayed(runs, manager, view.id)
            (egress,) = result["egresses"]
            assert egress["count"] == COUNT - missed, result
            assert egress["sha256"] == egress["live_sha256"], result
            assert (result["verdict"], result["reasons"]) == ("equal", []), result
            shutil.rmtree(choices)  # now it has to read everything, and cannot
            monkeypatch.setattr(replay_job, "_JOURNAL_BYTES_MAX", 0)
            monkeypatch.setattr(replay_job, "MEMORY_SEGMENTS_DEFAULT", 2)
            result = await replayed(runs, manager, view.id)
            assert result["verdict"] == "not_comparable", result
            told = {each["code"]: each["message"] for each in result["reasons"]}
            gone = COUNT - result["egresses"][0]["count"]
            assert gone > 0
            said = f"slow missed {gone:,} messages of the journal kept, in its sequences "
            assert said in told["journal_missed"], (gone, told)

    run(work)
