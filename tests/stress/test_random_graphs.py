"""Random LaneGraphs, run for real: the laws of delivery hold at every egress, however it is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from byteord.deployment.plan import RunPlan
from tests.property.documents import toml_text
from tests.support.graph_laws import Flow, check_conservation, check_output, expected
from tests.support.graphs import PASSING, Shape, random_graph
from tests.support.run import make_test_plan, run_to_end

MESSAGES = 3_000
KINDS = ("events", "fanout_broadcast", "sequenced_slots")
MODES: tuple[tuple[str, bool], ...] = (("never", False), ("always", False), ("never", True))


def _inputs(tree: Mapping[str, Any], directory: Path) -> dict[str, list[bytes]]:
    """Write a file of numbered lines for each ingress."""
    names = [end["name"] for end in tree["endpoints"] if end["kind"] == "ingress"]
    found = {}
    for number, name in enumerate(names):
        found[name] = [b"%d:%06d" % (number, index) for index in range(MESSAGES)]
        (directory / name).write_bytes(b"".join(line + b"\n" for line in found[name]))
    return found


def _deployment(tree: Mapping[str, Any], directory: Path, fuse: str) -> str:
    adapters = {}
    for end in tree["endpoints"]:
        adapters[end["name"]] = {
            "kind": "file",
            "path": str(directory / end["name"]),
            "framing": "lines",
        }
        if end["kind"] == "egress":
            adapters[end["name"]]["mode"] = "truncate"
    return toml_text({"adapters": adapters, "tuning": {"fuse": fuse}})


def _outputs(plan: RunPlan, directory: Path) -> tuple[dict[str, list[bytes]], dict[str, Any]]:
    status, read = run_to_end(plan, timeout_s=40)
    assert status["state"] == "completed", status["failure"]
    names = [role.name for role in plan.roles if role.kind == "egress"]
    return {name: (directory / name).read_bytes().splitlines() for name in names}, read


def _same(name: str, flow: Flow, first: list[bytes], then: list[bytes]) -> None:
    if flow.fixed:
        assert first == then, f"{name}: another sequence"
    elif flow.exact:
        assert Counter(first) == Counter(then), f"{name}: other messages"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
def test_a_random_graph_keeps_the_laws_alone_fused_and_in_one_process(
    tmp_path: Path, seed: int
) -> None:
    """Nothing is lost, made up or out of order; three ways to run it give the same messages."""
    tree = random_graph(Random(seed), Shape(kinds=KINDS, stages=PASSING, durable=False))
    inputs = _inputs(tree, tmp_path)
    seen: dict[str, list[bytes]] = {}
    for fuse, single in MODES:
        plan = make_test_plan(
            toml_text(tree),
            _deployment(tree, tmp_path, fuse),
            single_process=single,
            directories=[str(tmp_path)],
        )
        outputs, read = _outputs(plan, tmp_path)
        flows = expected(plan, inputs)
        check_conservation(plan, read)
        for name, flow in flows.items():
            check_output(name, flow, outputs[name])
            _same(name, flow, seen.setdefault(name, outputs[name]), outputs[name])
