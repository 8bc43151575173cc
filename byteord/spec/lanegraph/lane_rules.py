"""Rules of what meets at a lane: who writes it, who reads it, who works in its slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from byteord.spec.findings import Collector, shown
from byteord.spec.lane_model import (
    ENDPOINTS_MAX,
    FANOUT_CONSUMERS_MAX,
    IN_PLACE_STAGES_MAX,
    LANES_MAX,
    ROLES_MAX,
    GraphRole,
    Lane,
    LaneKind,
    MergeMode,
)
from byteord.spec.lanegraph.draft import Draft, Port
from byteord.spec.model import EndpointKind
from byteord.spec.nearest import did_you_mean
from byteord.spec.order_rules import Placed, check_together

_CONSUMERS_MAX = {
    LaneKind.EVENTS: 1,
    LaneKind.FANOUT_BROADCAST: FANOUT_CONSUMERS_MAX,
    LaneKind.SEQUENCED_SLOTS: 1,
}
"""A journal takes any number of readers, none of which can stall it."""


def check_size(draft: Draft, found: Collector) -> None:
    """Report a graph beyond the limits, or without an ingress."""
    for what, count, most in (
        ("lanes", len(draft.lanes), LANES_MAX),
        ("roles", len(draft.roles), ROLES_MAX),
        ("endpoints", len(draft.endpoints), ENDPOINTS_MAX),
    ):
        if count > most:
            found.add(
                "SPEC_GRAPH_TOO_LARGE",
                () if draft.is_lowered else (what,),
                seen=f"{count} {what}",
                wanted=f"at most {most}",
                fix="split it into several pipelines",
            )
    has_ingress = any(end.kind is EndpointKind.INGRESS for end in draft.endpoints)
    if not has_ingress and not found.is_bad(("endpoints",)):
        found.add(
            "SPEC_INGRESS_COUNT",
            ("endpoints",),
            seen="0 endpoints of kind ingress",
            wanted="at least one ingress",
            fix='add [[endpoints]] with name and kind = "ingress"',
        )


def check_references(draft: Draft, found: Collector) -> None:
    """Report lanes that are named and do not exist."""
    in_place = [
        Port(role.name, role.rx[0], draft.place("role", role.name, "rx", "0"))
        for role in draft.roles
        if role.in_place
    ]
    for port in (*draft.producers(), *draft.consumers(), *in_place):
        if port.lane not in draft.lanes:
            found.add(
                "SPEC_LANE_UNKNOWN",
                port.path,
                seen=shown(port.lane),
                wanted=f"a lane of this spec: {', '.join(draft.lanes) or 'it has none'}",
                fix=did_you_mean(port.lane, list(draft.lanes), otherwise="add it under [[lanes]]"),
            )


def check_ends(draft: Draft, found: Collector) -> None:
    """Report lanes that nobody writes or reads, or more than their kind allows."""
    writers, readers = _by_lane(draft.producers()), _by_lane(draft.consumers())
    for lane in draft.lanes.values():
        _check_writers(draft, lane, writers.get(lane.name, ()), found)
        _check_readers(draft, lane, readers.get(lane.name, ()), found)


def _by_lane(ports: Iterable[Port]) -> Mapping[str, Sequence[Port]]:
    grouped: dict[str, list[Port]] = {}
    for port in ports:
        grouped.setdefault(port.lane, []).append(port)
    return grouped


def _check_writers(draft: Draft, lane: Lane, ports: Sequence[Port], found: Collector) -> None:
    if not ports:
        found.add(
            "SPEC_LANE_UNPRODUCED",
            draft.place("lane", lane.name),
            seen=f"nobody writes {shown(lane.name)}",
            wanted="an ingress, or a role with it in tx",
            fix="name it in the tx of a role or as the lane of an ingress, or delete it",
        )
    most = lane.publishers_max
    if len(ports) > most:
        names = ", ".join(shown(port.holder) for port in ports)
        found.add(
            "SPEC_LANE_PRODUCERS",
            ports[most].path,
            seen=f"{len(ports)} producers of {shown(lane.name)}: {names}",
            wanted=f"{most} for this lane of kind {lane.kind}",
            fix=f"write publishers_max = {len(ports)} on the lane"
            if lane.kind is LaneKind.EVENTS
            else "bring them together by a role of kind merge in front of it",
        )


def _check_readers(draft: Draft, lane: Lane, ports: Sequence[Port], found: Collector) -> None:
    kept = lane.journal is not None and lane.journal.durable
    if not ports and not kept:
        found.add(
            "SPEC_LANE_UNCONSUMED",
            draft.place("lane", lane.name),
            seen=f"nobody reads {shown(lane.name)}",
            wanted="an egress, or a role with it in rx; only a durable journal may go unread",
            fix="name it in the rx of a role or as the lane of an egress, or delete it",
        )
    most = _CONSUMERS_MAX.get(lane.kind, len(ports))
    if len(ports) > most:
        names = ", ".join(shown(port.holder) for port in ports)
        found.add(
            "SPEC_LANE_CONSUMERS",
            ports[most].path,
            seen=f"{len(ports)} consumers of {shown(lane.name)}: {names}",
            wanted=f"{most} for a lane of kind {lane.kind}",
            fix=_FEWER[lane.kind],
        )


_FEWER = {
    LaneKind.EVENTS: 'write kind = "fanout_broadcast" for each to see everything, or put a role '
    "of kind router between",
    LaneKind.FANOUT_BROADCAST: "chain a second lane behind a role of kind bridge",
    LaneKind.SEQUENCED_SLOTS: "let stages work in place (tx = rx), and one role take messages on",
}


def check_lossy(draft: Draft, found: Collector) -> None:
    """Report lossy consumers that are none, or whose gaps an ordered merge would take for order."""
    readers = _by_lane(draft.consumers())
    for lane in draft.lanes.values():
        names = [port.holder for port in readers.get(lane.name, ())]
        for index, name in enumerate(lane.lossy):
            path = draft.place("lane", lane.name, "lossy", str(index))
            role = draft.role(name)
            if name not in names:
                found.add(
                    "SPEC_LOSSY_UNKNOWN",
                    path,
                    seen=shown(name),
                    wanted=f"a consumer of {shown(lane.name)}: {', '.join(names) or 'it has none'}",
                    fix=did_you_mean(name, names, otherwise="delete it"),
                )
            elif role is not None and role.mode == MergeMode.ORDERED:
                found.add(
                    "SPEC_LOSSY_INTO_ORDERED",
                    path,
                    seen=f"a lossy edge from {shown(lane.name)} into the ordered merge "
                    f"{shown(name)}",
                    wanted="lossless edges into an ordered merge: its order would depend on what "
                    "was lost",
                    fix="delete it from lossy, or choose another mode for the merge",
                )


def check_in_place(draft: Draft, found: Collector) -> None:
    """Report stages that cannot work together in the slots of one lane."""
    for lane in draft.lanes.values():
        stages = draft.in_place(lane.name)
        if lane.kind is not LaneKind.SEQUENCED_SLOTS or not stages:
            continue
        if len(stages) > IN_PLACE_STAGES_MAX:
            found.add(
                "SPEC_STAGES_TOO_MANY",
                draft.place("role", stages[IN_PLACE_STAGES_MAX].name, "tx"),
                seen=f"{len(stages)} stages in place on {shown(lane.name)}",
                wanted=f"at most {IN_PLACE_STAGES_MAX} on one lane",
                fix="let a role take messages on to a second lane",
            )
        depends = [_references(draft, stages, index, found) for index in range(len(stages))]
        placed: list[Placed | None] = [
            (draft.place("role", role.name), role.stage) if role.stage is not None else None
            for role in stages
        ]
        check_together(placed, depends, found)


def _references(
    draft: Draft, stages: Sequence[GraphRole], index: int, found: Collector
) -> list[int]:
    """Return the indices of earlier stages that one depends on; report other references."""
    role, earlier = stages[index], [stage.name for stage in stages[:index]]
    path = draft.place("role", role.name, "depends_on")
    if index and not role.depends_on and not found.is_bad(path):
        found.add(
            "SPEC_DEPENDENCY_MISSING",
            path,
            seen=f"no depends_on on {shown(role.name)}",
            wanted=f"the stages of {shown(role.rx[0])} that it follows; the first stands alone",
            fix=f'add depends_on = "{earlier[-1]}"',
        )
    for place, name in enumerate(role.depends_on):
        if name in earlier:
            continue
        later = name in [stage.name for stage in stages]
        found.add(
            "SPEC_DEPENDENCY_FORWARD" if later else "SPEC_DEPENDENCY_UNKNOWN",
            (*path, str(place)),
            seen=shown(name),
            wanted=f"a stage in place on {shown(role.rx[0])} that stands before it"
            + (f": {', '.join(earlier)}" if earlier else "; it is the first"),
            fix="move the stage behind the ones it follows"
            if later
            else did_you_mean(name, earlier, otherwise="delete the reference"),
        )
    return [earlier.index(name) for name in dict.fromkeys(role.depends_on) if name in earlier]
