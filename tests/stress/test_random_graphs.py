"""Random LaneGraphs, run for real: the laws of delivery hold at every egress, however it is run."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from byteord import client
from byteord.deployment.plan import RunPlan
from byteord.spec.lane_model import LaneKind, MergeMode, RoleKind, RouterMode
from tests.property.documents import toml_text
from tests.support.graph_laws import (
    STAGES_THAT_RUN,
    Flow,
    check_conservation,
    check_output,
    expected,
)
from tests.support.graphs import PASSING, Shape, random_graph
from tests.support.run import make_test_plan, running

MESSAGES = 1_500
MODES: tuple[tuple[str, bool], ...] = (("never", False), ("always", False), ("never", True))
SPLIT = {
    "stage": "python:passes:Split",
    "effects": [],
    "outputs_max": 2,
    "state": "stateless",
}
PICKY = {"stage": "python:passes:Picky", "effects": [], "state": "stateless"}
SHAPE = Shape(stages=(*PASSING, *PASSING, SPLIT))
SEEDS = (2, 3, 25, 27, 28, 39)


def _tree(seed: int) -> dict[str, Any]:
    """Return a random spec; where every stage may have dead letters, some of them need them."""
    tree = random_graph(Random(seed), SHAPE)
    stages = [role for role in tree.get("roles", ()) if role["kind"] == "stage"]
    if stages and all("dead_letter" in role for role in stages):
        for role in stages[::2]:
            role.update(PICKY)
            role.pop("outputs_max", None)
    return tree


def _fails(tree: Mapping[str, Any]) -> bool:
    return any(role.get("stage") == PICKY["stage"] for role in tree.get("roles", ()))


def _client(tree: Mapping[str, Any]) -> str:
    """Return the ingress that a client plays: the first, if its lane lets one."""
    first = next(end for end in tree["endpoints"] if end["kind"] == "ingress")
    lane = next(lane for lane in tree["lanes"] if lane["name"] == first["lane"])
    return first["name"] if lane["kind"] in {"events", "fanout_broadcast"} else ""


def _inputs(tree: Mapping[str, Any], directory: Path) -> dict[str, list[bytes]]:
    """Write a file of numbered lines for each ingress."""
    names = [end["name"] for end in tree["endpoints"] if end["kind"] == "ingress"]
    found = {}
    for number, name in enumerate(names):
        found[name] = [b"%d:%06d" % (number, index) for index in range(MESSAGES)]
        (directory / name).write_bytes(b"".join(line + b"\n" for line in found[name]))
    return found


def _deployment(tree: Mapping[str, Any], directory: Path, fuse: str) -> str:
    adapters: dict[str, dict[str, Any]] = {}
    for end in tree["endpoints"]:
        path = str(directory / end["name"])
        adapters[end["name"]] = {"kind": "file", "path": path, "framing": "lines"}
        if end["kind"] == "egress":
            adapters[end["name"]]["mode"] = "truncate"
        elif end["name"] == _client(tree):
            adapters[end["name"]] = {"kind": "client"}
    document: dict[str, Any] = {"adapters": adapters, "tuning": {"fuse": fuse}}
    journals = [lane["name"] for lane in tree["lanes"] if lane.get("durable")]
    if journals:
        document["journals"] = {
            name: {"directory": str(directory / f"{name}-{fuse}")} for name in journals
        }
        for name in journals:
            shutil.rmtree(directory / f"{name}-{fuse}", ignore_errors=True)
            (directory / f"{name}-{fuse}").mkdir()
    if _fails(tree):
        document["failure"] = {"policy": "dead_letter"}
    return toml_text(document)


def _outputs(
    plan: RunPlan, directory: Path, played: str, lines: list[bytes]
) -> tuple[dict[str, list[bytes]], dict[str, Any]]:
    with running(plan) as run:
        if played:
            with client.attach(run.directory, played) as publisher:
                publisher.publish_many(lines)
                publisher.end()
        status = run.until_state("completed", "failed", timeout_s=40)
        assert status["state"] == "completed", status["failure"]
        run.shim.wait(10)
        read = run.reader.read()
    names = [role.name for role in plan.roles if role.kind == "egress"]
    return {name: (directory / name).read_bytes().splitlines() for name in names}, read


def _same(name: str, flow: Flow, first: list[bytes], then: list[bytes]) -> None:
    if flow.fixed:
        assert first == then, f"{name}: another sequence"
    elif flow.exact:
        assert Counter(first) == Counter(then), f"{name}: other messages"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_graph_keeps_the_laws_alone_fused_and_in_one_process(
    tmp_path: Path, seed: int
) -> None:
    """Nothing is lost, made up or out of order; three ways to run it give the same messages."""
    tree = _tree(seed)
    inputs = _inputs(tree, tmp_path)
    (tmp_path / "passes.py").write_text(STAGES_THAT_RUN)
    seen: dict[str, list[bytes]] = {}
    for fuse, single in MODES:
        plan = make_test_plan(
            toml_text(tree),
            _deployment(tree, tmp_path, fuse),
            single_process=single,
            directories=[str(tmp_path)],
        )
        played = _client(tree)
        outputs, read = _outputs(plan, tmp_path, played, inputs.get(played, []))
        flows = expected(plan, inputs)
        check_conservation(plan, read)
        for name, flow in flows.items():
            check_output(name, flow, outputs[name])
            _same(name, flow, seen.setdefault(name, outputs[name]), outputs[name])


def test_the_graphs_that_are_run_have_everything_in_them() -> None:
    """Every kind of lane and role and mode, dead letters, several of one, clients, lossy edges."""
    trees = [_tree(seed) for seed in SEEDS]
    lanes = [lane for tree in trees for lane in tree["lanes"]]
    roles = [role for tree in trees for role in tree.get("roles", ())]
    assert {lane["kind"] for lane in lanes} == set(map(str, LaneKind))
    assert {lane.get("durable", False) for lane in lanes if lane["kind"] == "journal"} == {
        True,
        False,
    }
    assert any(lane.get("lossy") for lane in lanes)
    assert any(lane.get("publishers_max", 1) > 1 for lane in lanes)
    assert {role["kind"] for role in roles} == set(map(str, RoleKind))
    modes = {role["mode"] for role in roles if "mode" in role}
    assert modes == {*map(str, RouterMode), *map(str, MergeMode)}
    assert any(role.get("tx") == role["rx"] for role in roles)
    assert any(role.get("stage") == SPLIT["stage"] for role in roles)
    assert any(map(_fails, trees))
    assert any(map(_client, trees))
    assert max(len(tree.get("roles", ())) for tree in trees) >= 12
