"""LaneGraph specs: a valid graph has one canonical form, one lowering, a plan that fits it."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.deployment.describe_graph import mingled_lanes
from byteord.deployment.model import Authority
from byteord.deployment.plan import UNIT_PORTS_MAX, UNIT_ROLES_MAX, RunPlan
from byteord.deployment.ports import monotone_lanes
from byteord.deployment.validate import Report, validate
from byteord.runs.plan import make_plan
from byteord.spec.document import Source
from byteord.spec.findings import Severity
from byteord.spec.lane_model import LaneGraph
from byteord.spec.lanegraph.dot import to_dot
from byteord.stages.catalogue import CATALOGUE as STAGES
from tests.property.documents import kv_text, toml_text
from tests.support.graphs import bound_everywhere, random_graph, random_plan
from tests.unit.spec.documents import HOST

GRAPHS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
AUTHORITY = Authority(code_dirs=("/code",), read_dirs=("/data",), write_dirs=("/data",))


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """Return a valid spec in either form."""
    random = Random(draw(st.integers(0, 1 << 32)))
    return random_graph(random) if draw(st.booleans()) else random_plan(random)


def _check(text: str | bytes, deployment: str | None = None) -> Report:
    content = text.encode() if isinstance(text, str) else text
    return validate(
        Source("", content),
        None if deployment is None else Source("", deployment.encode()),
        authority=AUTHORITY,
        stages=STAGES,
        adapters=ADAPTERS,
        host=HOST,
    )


def _graph(text: str | bytes) -> LaneGraph:
    report = _check(text)
    errors = [str(f) for f in report.findings if f.document == "spec" and f.severity == "error"]
    assert isinstance(report.spec, LaneGraph), (errors, text)
    return report.spec


@given(trees())
@settings(GRAPHS)
def test_toml_and_kv_give_the_same_graph(tree: dict[str, Any]) -> None:
    """The same graph has the same bytes, hash, lanes and roles from TOML, KV and its own KV."""
    from_toml = _graph(toml_text(tree))
    assert _graph(kv_text(tree)) == from_toml
    again = _graph(from_toml.kv)
    assert again == from_toml
    assert again.kv == from_toml.kv


@given(trees(), st.sampled_from(["always", "never", "auto"]), st.booleans())
@settings(GRAPHS)
def test_every_valid_graph_plans(tree: dict[str, Any], fuse: str, single: bool) -> None:
    """A valid graph with everything bound has a plan in which every port fits its lane.

    What its description says of lanes that come in no order is what the workers go by.
    """
    deployment = {**bound_everywhere(tree), "tuning": {"fuse": fuse}}
    report = _check(toml_text(tree), toml_text(deployment))
    errors = [str(f) for f in report.findings if f.severity is Severity.ERROR]
    assert not errors, toml_text(tree)
    assert isinstance(report.spec, LaneGraph)
    assert report.deployment is not None
    plan = make_plan(
        report.spec,
        report.deployment,
        run_id="r",
        single_process=single,
        host=HOST,
        authority=AUTHORITY,
    )
    in_order = monotone_lanes(plan)
    assert mingled_lanes(report.spec) == {
        lane.name for lane in plan.lanes if not in_order[lane.index]
    }
    assert RunPlan.from_json(plan.to_json()) == plan
    _check_ports(plan)
    _check_order(plan)
    _check_units(plan)
    dot = to_dot(report.spec)
    assert all(f'"{role.name}"' in dot for role in report.spec.roles)


def _check_ports(plan: RunPlan) -> None:
    """Each cell and each stripe of a lane has exactly one owner, and both ends agree on it."""
    for lane in plan.lanes:
        rx = [(role.index, rx) for role in plan.roles for rx in role.rx if rx.lane == lane.index]
        assert sorted(index for index, _ in rx) == sorted(each.role for each in lane.consumers)
        cells = [each.cell for _, each in rx if each.cell >= 0]
        rings = [plan.rings[index] for index in lane.rings]
        assert sorted(cells) == list(range(len(cells)))
        assert all(ring.cells == len(cells) and ring.lane == lane.index for ring in rings)
        assert {index: port.cell for index, port in rx} == {c.role: c.cell for c in lane.consumers}
        tx = [tx for role in plan.roles for tx in (*role.tx, role.dead_letter) if tx is not None]
        owned = [
            stripe
            for port in tx
            if port.lane == lane.index and port.stripe >= 0
            for stripe in range(port.stripe, port.stripe + port.stripes)
        ]
        assert sorted(owned) == list(range(len(lane.rings)))
        assert (lane.journal is None) == bool(lane.rings)


def _check_order(plan: RunPlan) -> None:
    """Roles stand in topological order: whoever writes a lane stands before whoever reads it."""
    for lane in plan.lanes:
        readers = [each.role for each in lane.consumers]
        if readers and lane.producers:
            assert max(lane.producers) < min(readers)
    for role in plan.roles:
        for rx in role.rx:
            cells = {each.cell: each.role for each in plan.lanes[rx.lane].consumers}
            assert all(cells[cell] < role.index for cell in rx.depends)


def _check_units(plan: RunPlan) -> None:
    """Every role is in one unit, every unit in one worker; units are bounded and acyclic."""
    assert sorted(role for unit in plan.units for role in unit.roles) == list(
        range(len(plan.roles))
    )
    hosted = [unit for worker in plan.workers for thread in worker.threads for unit in thread]
    assert sorted(hosted) == [unit.index for unit in plan.units]
    of_role = {role: unit.index for unit in plan.units for role in unit.roles}
    for unit in plan.units:
        members = [plan.roles[role] for role in unit.roles]
        ports = sum(len(m.rx) + len(m.tx) + (m.dead_letter is not None) for m in members)
        assert len(members) <= UNIT_ROLES_MAX
        assert len(members) == 1 or ports <= UNIT_PORTS_MAX
        assert len(members) == 1 or not any(member.is_python for member in members)
        assert all(a < b for a, b in pairwise(unit.roles))
    for lane in plan.lanes:
        for producer in lane.producers:
            for consumer in lane.consumers:
                assert of_role[producer] <= of_role[consumer.role]
