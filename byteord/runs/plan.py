"""From (spec, deployment, host facts) to the plan of a run.

Pure: it reads nothing and starts nothing.

Owns which roles there are, which of them share a unit (fusion), a thread, a worker, and where
workers run.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from byteord._cext import region
from byteord.deployment.actions import COUNTERS, is_action
from byteord.deployment.confinement import (
    confine_roles,
    confines,
    effect_free,
    settle_processes,
)
from byteord.deployment.fusion import busy_roles, staff, take_turns, unite
from byteord.deployment.lane_plan import lay_out, rehearsed_journals, with_stage
from byteord.deployment.model import (
    CLIENT,
    SLEEP_NS_MAX,
    Authority,
    Deployment,
    FailurePolicy,
    Fuse,
    HostFacts,
    Wait,
)
from byteord.deployment.plan import (
    PLAN_VERSION,
    LanePlan,
    RingPlan,
    RolePlan,
    RunPlan,
    UnitPlan,
    WorkerPlan,
)
from byteord.deployment.ports import unit_areas
from byteord.deployment.profiles import strict
from byteord.runs.captures import with_capture
from byteord.runs.journal_dirs import with_absolute_journals
from byteord.runs.view import Admission
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import Spec, Stage
from byteord.stages.guard.bind import STAGES as GUARDS
from byteord.stages.guard.report import report_names
from byteord.tuning.plan import tuned

WAKE_UP = {
    Wait.SPIN: "one cache-line transfer; keeps a CPU busy",
    Wait.BACKOFF: "one transfer while busy; up to 1 ms plus timer slack after an idle spell",
    Wait.PARK: "one transfer while busy; a futex wake-up (some 5 to 50 us) after an idle spell",
}


def make_plan(
    spec: Spec | LaneGraph,
    deployment: Deployment,
    *,
    run_id: str,
    single_process: bool,
    host: HostFacts,
    authority: Authority,
    client_input: bool = False,
    client_output: bool = False,
) -> RunPlan:
    """Return the plan.

    The documents are valid and effective: adapters are those that `--input`/`--output` left.
    """
    del client_input, client_output  # already part of the effective deployment
    if isinstance(spec, LaneGraph):
        placed = _place_graph(spec, deployment, host, single_process=single_process)
    else:
        placed = _place_ring(spec, deployment, host, single_process=single_process)
    failure, limits = deployment.failure, deployment.limits
    plan = RunPlan(
        version=PLAN_VERSION,
        run_id=run_id,
        name=spec.name,
        spec_sha256=spec.sha256,
        deployment_sha256=deployment.sha256,
        environment=str(deployment.environment),
        mode="single_process" if single_process else "processes",
        rings=placed.rings,
        roles=placed.roles,
        units=placed.units,
        workers=placed.workers,
        shard_key=placed.shard_key,
        wait=str(deployment.tuning.wait),
        sleep_ns_max=SLEEP_NS_MAX[deployment.tuning.wait],
        max_batch=min(limits.max_batch, max(ring.capacity for ring in placed.rings))
        if placed.rings
        else limits.max_batch,
        undo_bytes=limits.undo_bytes,
        failure_policy=str(failure.policy),
        restarts_max=failure.restarts_max,
        restart_window_s=failure.restart_window_s,
        restart_backoff_ms=failure.restart_backoff_ms,
        stage_timeout_s=failure.stage_timeout_s,
        drain_timeout_s=failure.drain_timeout_s,
        code_dirs=authority.code_dirs,
        read_dirs=authority.read_dirs,
        write_dirs=authority.write_dirs,
        notes=placed.notes,
        model=str(spec.model),
        lanes=with_absolute_journals(placed.lanes, authority.write_dirs),
        schemas=tuple(file.text for file in deployment.dataguard.schemas),
        hash_key=deployment.dataguard.hash_key,
        secrets_dir=authority.secrets_dir,
        actions=asdict(deployment.actions),
        ca_text=deployment.ca_certificates.text,
        url_prefixes=authority.url_prefixes,
        exec_allowed=authority.exec_allowed,
        seed=secrets.randbits(63) if deployment.seed is None else deployment.seed,
    )
    plan, tuning = with_capture(plan, deployment.capture), deployment.tuning
    return tuned(plan, tuning, host, strict=strict(tuning, deployment.environment))


def plan_of(admission: Admission, run_id: str, host: HostFacts, authority: Authority) -> RunPlan:
    """Return the plan of an admitted run, or of the replay that it is."""
    spec, deployment, job = admission.spec, admission.deployment, admission.replay
    if job is not None:
        spec, deployment = job.spec(spec), job.deployment(deployment, spec)
    plan = make_plan(
        spec,
        deployment,
        run_id=run_id,
        single_process=admission.single_process,
        host=host,
        authority=authority,
        client_input=admission.client_input,
        client_output=admission.client_output,
    )
    return plan if job is None else job.plan(plan, admission.deployment)


@dataclass(frozen=True, slots=True)
class _Placed:
    """What a model makes of a spec: the parts of a plan that differ between the two."""

    rings: tuple[RingPlan, ...]
    roles: tuple[RolePlan, ...]
    units: tuple[UnitPlan, ...]
    workers: tuple[WorkerPlan, ...]
    notes: tuple[str, ...]
    shard_key: tuple[int, int] | None = None
    lanes: tuple[LanePlan, ...] = ()


def _place_ring(
    spec: Spec, deployment: Deployment, host: HostFacts, *, single_process: bool
) -> _Placed:
    roles = confine_roles(_roles(spec, deployment), deployment)
    notes: list[str] = []
    groups = _groups(spec, deployment, roles, host, notes)
    units = tuple(UnitPlan(index, tuple(group)) for index, group in enumerate(groups))
    workers = _workers(units, roles, single_process=single_process)
    settled = settle_processes(workers, units, roles, deployment, notes)
    key = spec.ring.shard_key
    shard_key = (key.offset, key.length) if key else None
    return _Placed(
        _rings(spec, settled), settled, units, workers, tuple(notes), shard_key=shard_key
    )


def _place_graph(
    graph: LaneGraph, deployment: Deployment, host: HostFacts, *, single_process: bool
) -> _Placed:
    layout, tuning = lay_out(graph, deployment), deployment.tuning
    notes = [f"{each.what} {each.name} was inserted: {each.why}" for each in graph.inserted]
    notes += rehearsed_journals(graph, deployment)
    fuse = _fuses(tuning.fuse, busy_roles(layout.roles), len(host.cpus_allowed), notes)
    roles = tuple(_reporting(role) for role in confine_roles(layout.roles, deployment))
    units = unite(roles, layout.lanes, deployment, fuse=fuse, notes=notes)
    most = _threads_max(tuning.fuse, len(host.cpus_allowed)) if fuse else 0
    turns = take_turns(units, roles, layout.lanes, deployment.groups, threads_max=most)
    workers = staff(units, roles, deployment.groups, single_process=single_process, threads=turns)
    roles = settle_processes(workers, units, roles, deployment, notes)
    return _Placed(layout.rings, roles, units, workers, tuple(notes), lanes=layout.lanes)


def _rings(spec: Spec, roles: Sequence[RolePlan]) -> tuple[RingPlan, ...]:
    cells = len(spec.stages) + any(role.kind == "egress" and role.cell >= 0 for role in roles)
    ring = spec.ring
    return tuple(
        RingPlan(f"ring-{index}", ring.capacity, ring.slot_bytes, cells)
        for index in range(ring.shards)
    )


def _roles(spec: Spec, deployment: Deployment) -> list[RolePlan]:
    shards = spec.ring.shards
    ingress = deployment.adapters[spec.ingress.name]
    egress = deployment.adapters[spec.egress.name]
    last = len(spec.stages) - 1
    apart = confines(deployment) and effect_free(spec.stages[-1])
    own_cell = shards > 1 or egress.kind == CLIENT or apart
    everywhere = 0 if shards == 1 else -1
    roles = [
        RolePlan(
            0,
            spec.ingress.name,
            "ingress",
            everywhere,
            -1,
            adapter=ingress.kind,
            options=dict(ingress.options),
        )
    ]
    for shard in range(shards):
        for cell, stage in enumerate(spec.stages):
            name = stage.name if shards == 1 else f"{stage.name}#{shard}"
            roles.append(_stage_role(len(roles), name, shard, cell, stage))
    roles.append(
        RolePlan(
            len(roles),
            spec.egress.name,
            "egress",
            everywhere,
            last + 1 if own_cell else -1,
            depends=(last,) if own_cell else (),
            adapter=egress.kind,
            options=dict(egress.options),
        )
    )
    return roles


def _stage_role(index: int, name: str, shard: int, cell: int, stage: Stage) -> RolePlan:
    role = RolePlan(index, name, "stage", shard, cell, depends=stage.depends_on)
    return _reporting(with_stage(role, stage))


def _reporting(role: RolePlan) -> RolePlan:
    """Return a role with the names of what its stage reports, where it is one that guards."""
    if is_action(role.stage):
        return replace(role, report=COUNTERS)
    if role.stage not in GUARDS:
        return role
    return replace(role, report=report_names(role.config))


def _groups(
    spec: Spec, deployment: Deployment, roles: list[RolePlan], host: HostFacts, notes: list[str]
) -> list[list[int]]:
    """Which roles commit as one unit, in topological order."""
    ingress, egress, stages = roles[0], roles[-1], roles[1:-1]
    busy = sum(
        1 for role in roles if role.adapter != CLIENT and (role.kind != "egress" or role.cell >= 0)
    )
    fuse = _fuses(deployment.tuning.fuse, busy, len(host.cpus_allowed), notes)
    first_alone = spec.ring.shards > 1 or ingress.adapter == CLIENT
    if fuse and not first_alone and deployment.failure.policy is FailurePolicy.SKIP:
        notes.append(
            "the ingress is not fused: with failure.policy = skip a batch is committed in parts"
        )
        first_alone = True
    groups: list[list[int]] = [[ingress.index]]
    open_group = fuse and not first_alone
    shard = 0
    for role in stages:
        if role.shard != shard:
            open_group, shard = False, role.shard
        joined = roles[groups[-1][-1]].confined == role.confined
        if open_group and joined and not role.is_python:
            groups[-1].append(role.index)
        else:
            groups.append([role.index])
        open_group = fuse and not role.is_python
    if egress.cell >= 0:
        groups.append([egress.index])
    else:
        groups[-1].append(egress.index)
    return groups


def _fuses(fuse: Fuse, busy: int, cpus: int, notes: list[str]) -> bool:
    if fuse is Fuse.AUTO:
        crowded = busy > cpus
        verdict = "adjacent native roles are fused" if crowded else "every role runs alone"
        notes.append(f"fuse = auto: {busy} busy roles, {cpus} allowed CPUs: {verdict}")
        return crowded
    return fuse is Fuse.ALWAYS


def _threads_max(fuse: Fuse, cpus: int) -> int:
    """Return how many threads fused native roles may have at least before some share one.

    Hand-overs cost more than calls in turn, but heavy stages want CPUs: `auto` leaves them half.
    """
    return 1 if fuse is Fuse.ALWAYS else max(cpus // 2, 1)


def _workers(
    units: Sequence[UnitPlan], roles: Sequence[RolePlan], *, single_process: bool
) -> tuple[WorkerPlan, ...]:
    hosted = [unit for unit in units if not _is_client(unit, roles)]
    if not single_process:
        return tuple(
            WorkerPlan(index, "+".join(roles[role].name for role in unit.roles), ((unit.index,),))
            for index, unit in enumerate(hosted)
        )
    python = tuple(
        unit.index for unit in hosted if any(roles[role].is_python for role in unit.roles)
    )
    native = [(unit.index,) for unit in hosted if unit.index not in python]
    threads = (python, *native) if python else tuple(native)
    return (WorkerPlan(0, "all", threads),)


def _is_client(unit: UnitPlan, roles: Sequence[RolePlan]) -> bool:
    return roles[unit.roles[0]].adapter == CLIENT


def plan_memory_bytes(plan: RunPlan) -> int:
    """Return the bytes of shared memory that the run's regions take."""
    rings = sum(
        region.ring_bytes(ring.capacity, ring.slot_bytes, ring.cells) for ring in plan.rings
    )
    rings += sum(
        lane.journal.retention_bytes
        for lane in plan.lanes
        if lane.journal is not None and not lane.journal.durable
    )
    units = [{"undo_bytes": sum(unit_areas(plan, unit))} for unit in plan.units]
    roles = [{"state_bytes": role.state_bytes} for role in plan.roles]
    if plan.capture is not None:
        rings += plan.capture.memory_bytes
    return int(rings + region.control_bytes(units, roles))


def plan_description(plan: RunPlan) -> dict[str, Any]:
    """Return what `describe` prints of the plan: roles, units, workers, memory, wait, notes."""
    names = {role.index: role.name for role in plan.roles}
    units = [[names[role] for role in unit.roles] for unit in plan.units]
    return {
        "mode": plan.mode,
        "roles": [
            {
                "name": role.name,
                "kind": role.kind,
                "runs": role.stage or role.adapter,
                "shard": role.shard,
            }
            for role in plan.roles
        ],
        "units": [{"index": unit.index, "roles": units[unit.index]} for unit in plan.units],
        "workers": [
            {
                "index": worker.index,
                "name": worker.name,
                "threads": [
                    [name for unit in thread for name in units[unit]] for thread in worker.threads
                ],
                "cpus": list(worker.cpus),
            }
            for worker in plan.workers
        ],
        "lanes": [
            {
                "name": lane.name,
                "kind": lane.kind,
                "rings": [plan.rings[ring].file for ring in lane.rings],
                "producers": [names[role] for role in lane.producers],
                "consumers": [names[each.role] for each in lane.consumers],
            }
            for lane in plan.lanes
        ],
        "memory_bytes": plan_memory_bytes(plan),
        "wait": plan.wait,
        "wake_up": WAKE_UP[Wait(plan.wait)],
        "sleep_ns_max": plan.sleep_ns_max,
        "max_batch": plan.max_batch,
        "notes": list(plan.notes),
    }
