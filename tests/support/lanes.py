"""Plans of LaneGraph runs, made from a few words, so that execution is tested by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from byteord.deployment.plan import (
    PLAN_VERSION,
    ConsumerPlan,
    JournalPlan,
    LanePlan,
    RingPlan,
    RolePlan,
    RunPlan,
    RxPlan,
    TxPlan,
    UnitPlan,
    WorkerPlan,
)


@dataclass(frozen=True)
class L:
    """A lane; whoever is in `lossy` does not gate it."""

    name: str
    kind: str = "events"
    capacity: int = 64
    slot_bytes: int = 128
    on_full: str = "block"
    lossy: tuple[str, ...] = ()
    journal: JournalPlan | None = None


@dataclass(frozen=True)
class R:
    """A role; `more` are further fields of its RolePlan."""

    name: str
    kind: str
    rx: tuple[str, ...] = ()
    tx: tuple[str, ...] = ()
    dead_letter: str = ""
    publishers: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)


def source(name: str, lane: str, adapter: str, **options: Any) -> R:
    """Return an ingress."""
    return R(name, "ingress", tx=(lane,), more={"adapter": adapter, "options": options})


def sink(name: str, lane: str, adapter: str, **options: Any) -> R:
    """Return an egress."""
    return R(name, "egress", rx=(lane,), more={"adapter": adapter, "options": options})


def stage(name: str, rx: str, tx: str, key: str, **more: Any) -> R:
    """Return a stage."""
    dead = more.pop("dead_letter", "")
    return R(name, "stage", (rx,), (tx,) if tx else (), dead, more={"stage": key, **more})


def graph_plan(
    lanes: Sequence[L],
    roles: Sequence[R],
    *,
    groups: Sequence[Sequence[str]] = (),
    single_process: bool = False,
    **changes: Any,
) -> RunPlan:
    """Return the plan of a graph.

    Roles in topological order; `groups` fuses roles into units. `changes` are fields of RunPlan.
    """
    order = {role.name: index for index, role in enumerate(roles)}
    writers = {lane.name: _writers(lane.name, roles) for lane in lanes}
    rings, lane_plans = _lanes(lanes, roles, writers, order)
    numbers = {lane.name: index for index, lane in enumerate(lanes)}
    role_plans = tuple(
        _role(index, role, numbers, lane_plans, writers) for index, role in enumerate(roles)
    )
    units = _units(roles, groups, order)
    hosted = [u.index for u in units if role_plans[u.roles[0]].adapter != "client"]
    workers = tuple(
        WorkerPlan(i, "+".join(roles[r].name for r in units[u].roles), ((u,),))
        for i, u in enumerate(hosted)
    )
    if single_process:
        workers = (WorkerPlan(0, "all", tuple((u,) for u in hosted)),)
    plan = RunPlan(
        version=PLAN_VERSION,
        run_id="g1",
        name="graph",
        spec_sha256="00" * 32,
        deployment_sha256="00" * 32,
        environment="dev",
        mode="single_process" if single_process else "processes",
        rings=rings,
        roles=role_plans,
        units=units,
        workers=workers,
        shard_key=None,
        wait="backoff",
        sleep_ns_max=200_000,
        max_batch=64,
        undo_bytes=1 << 20,
        failure_policy="stop_pipeline",
        restarts_max=1000,
        restart_window_s=60,
        restart_backoff_ms=1,
        stage_timeout_s=30,
        drain_timeout_s=10,
        code_dirs=("/tmp",),
        read_dirs=("/tmp",),
        write_dirs=("/tmp",),
        model="lane_graph",
        lanes=lane_plans,
    )
    return replace(plan, **changes)


def _writers(lane: str, roles: Sequence[R]) -> list[tuple[str, int]]:
    """Return who writes a lane, with the number of rings that each owns."""
    return [
        (role.name, role.publishers)
        for role in roles
        if lane in (*role.tx, role.dead_letter) and role.tx != role.rx
    ]


def _lanes(
    lanes: Sequence[L],
    roles: Sequence[R],
    writers: Mapping[str, list[tuple[str, int]]],
    order: Mapping[str, int],
) -> tuple[tuple[RingPlan, ...], tuple[LanePlan, ...]]:
    rings: list[RingPlan] = []
    plans: list[LanePlan] = []
    for index, lane in enumerate(lanes):
        readers = [role.name for role in roles if lane.name in role.rx]
        gating = [name for name in readers if name not in lane.lossy]
        cells = {name: cell for cell, name in enumerate(gating)}
        count = sum(owned for _, owned in writers[lane.name])
        mine = range(len(rings), len(rings) + (0 if lane.journal else count))
        rings += [
            RingPlan(f"ring-{ring}", lane.capacity, lane.slot_bytes, len(gating), index)
            for ring in mine
        ]
        plans.append(
            LanePlan(
                index=index,
                name=lane.name,
                kind=lane.kind,
                on_full=lane.on_full,
                rings=tuple(mine),
                capacity=lane.capacity,
                slot_bytes=lane.slot_bytes,
                consumers=tuple(
                    ConsumerPlan(order[name], -1 if lane.journal else cells.get(name, -1))
                    for name in (*gating, *(n for n in readers if n in lane.lossy))
                ),
                producers=tuple(order[name] for name, _ in writers[lane.name]),
                publishers_max=max(count, 1),
                journal=lane.journal,
            )
        )
    return tuple(rings), tuple(plans)


def _role(
    index: int,
    role: R,
    numbers: Mapping[str, int],
    lanes: Sequence[LanePlan],
    writers: Mapping[str, list[tuple[str, int]]],
) -> RolePlan:
    def tx(name: str) -> TxPlan:
        lane = lanes[numbers[name]]
        if lane.journal or role.tx == role.rx:
            return TxPlan(lane.index, -1)
        stripe = 0
        for writer, owned in writers[name]:
            if writer == role.name:
                return TxPlan(lane.index, stripe, owned)
            stripe += owned
        raise AssertionError(name)

    def rx(name: str) -> RxPlan:
        lane = lanes[numbers[name]]
        cell = next(each.cell for each in lane.consumers if each.role == index)
        depends = role.more.get("follows", ())
        return RxPlan(lane.index, cell, cell < 0 and not lane.journal, tuple(depends))

    return RolePlan(
        index=index,
        name=role.name,
        kind=role.kind,
        shard=0,
        cell=-1,
        rx=tuple(rx(name) for name in role.rx),
        tx=tuple(tx(name) for name in role.tx),
        dead_letter=tx(role.dead_letter) if role.dead_letter else None,
        **{key: value for key, value in role.more.items() if key != "follows"},
    )


def _units(
    roles: Sequence[R], groups: Sequence[Sequence[str]], order: Mapping[str, int]
) -> tuple[UnitPlan, ...]:
    grouped = {name: tuple(group) for group in groups for name in group}
    found: list[tuple[int, ...]] = []
    for role in roles:
        unit = tuple(order[name] for name in grouped.get(role.name, (role.name,)))
        if unit not in found:
            found.append(unit)
    return tuple(UnitPlan(index, unit) for index, unit in enumerate(found))
