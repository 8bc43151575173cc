"""From a LaneGraph and its deployment to lanes, rings and roles with their places in them.

Pure. Which roles share a unit and a worker is `byteord.deployment.fusion`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from byteord.deployment.confinement import effect_free
from byteord.deployment.model import CLIENT, Deployment
from byteord.deployment.plan import (
    ConsumerPlan,
    JournalPlan,
    LanePlan,
    RingPlan,
    RolePlan,
    RxPlan,
    TxPlan,
)
from byteord.spec.lane_model import (
    MEMORY_SEGMENTS_DEFAULT,
    GraphRole,
    Journal,
    Lane,
    LaneEndpoint,
    LaneGraph,
    LaneKind,
)
from byteord.spec.model import EndpointKind, Stage


@dataclass(frozen=True, slots=True)
class Layout:
    """What a graph takes: roles stand in topological order."""

    rings: tuple[RingPlan, ...]
    lanes: tuple[LanePlan, ...]
    roles: tuple[RolePlan, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A role or endpoint with its index in the plan."""

    index: int
    name: str
    rx: tuple[str, ...]
    tx: tuple[str, ...]
    dead_letter: str
    is_client: bool
    role: GraphRole | None
    end: LaneEndpoint | None

    @property
    def in_place(self) -> bool:
        return self.role is not None and self.role.in_place

    def writes(self, lane: str) -> bool:
        return lane == self.dead_letter or (lane in self.tx and not self.in_place)


def lay_out(graph: LaneGraph, deployment: Deployment) -> Layout:
    """Return lanes, rings and roles of a valid graph."""
    places = _places(graph, deployment)
    rings: list[RingPlan] = []
    pairs: list[tuple[Lane, LanePlan]] = []
    for index, lane in enumerate(graph.lanes):
        planned, files = _lane(index, lane, places, deployment, first_ring=len(rings))
        pairs.append((lane, planned))
        rings += files
    ports = _Ports({lane.name: (lane, planned) for lane, planned in pairs}, places)
    roles = [_role(place, deployment, ports) for place in places]
    return Layout(tuple(rings), tuple(planned for _, planned in pairs), tuple(roles))


def _places(graph: LaneGraph, deployment: Deployment) -> list[_Place]:
    """Return ingress endpoints, roles in topological order, egress endpoints."""
    ingress = [end for end in graph.endpoints if end.kind is EndpointKind.INGRESS]
    egress = [end for end in graph.endpoints if end.kind is EndpointKind.EGRESS]
    found: list[_Place] = []
    items: tuple[GraphRole | LaneEndpoint, ...] = (*ingress, *graph.roles, *egress)
    for index, item in enumerate(items):
        if isinstance(item, GraphRole):
            ports = (item.rx, item.tx, item.dead_letter)
            found.append(_Place(index, item.name, *ports, is_client=False, role=item, end=None))
            continue
        adapter = deployment.adapters.get(item.name)
        is_client = adapter is not None and adapter.kind == CLIENT
        lane, feeds = (item.lane,), item.kind is EndpointKind.INGRESS
        rx, tx = ((), lane) if feeds else (lane, ())
        found.append(_Place(index, item.name, rx, tx, "", is_client, None, item))
    return found


def _lane(
    index: int,
    lane: Lane,
    places: Sequence[_Place],
    deployment: Deployment,
    *,
    first_ring: int,
) -> tuple[LanePlan, list[RingPlan]]:
    producers = [place for place in places if place.writes(lane.name)]
    consumers = _consumers(lane, places)
    stripes = sum(_stripes(lane, producers).values())
    cells = sum(1 for consumer in consumers if consumer.cell >= 0)
    files = [
        RingPlan(
            f"lane-{lane.name}" + (f".{stripe}" if stripes > 1 else ""),
            lane.capacity,
            lane.slot_bytes,
            cells,
            lane=index,
        )
        for stripe in range(stripes)
    ]
    planned = LanePlan(
        index=index,
        name=lane.name,
        kind=str(lane.kind),
        on_full=str(lane.on_full),
        rings=tuple(range(first_ring, first_ring + stripes)),
        capacity=lane.capacity,
        slot_bytes=lane.slot_bytes,
        consumers=consumers,
        producers=tuple(place.index for place in producers),
        publishers_max=max(stripes, 1),
        journal=_journal(lane, lane.journal, deployment) if lane.journal is not None else None,
    )
    return planned, files


def _consumers(lane: Lane, places: Sequence[_Place]) -> tuple[ConsumerPlan, ...]:
    """Return who reads a lane: with cells in the order of roles, then those without."""
    readers = [place for place in places if lane.name in place.rx]
    if lane.kind is LaneKind.JOURNAL:
        return tuple(ConsumerPlan(place.index, -1) for place in readers)
    held = [place for place in readers if place.name not in lane.lossy]
    lossy = [place for place in readers if place.name in lane.lossy]
    return (
        *(ConsumerPlan(place.index, cell) for cell, place in enumerate(held)),
        *(ConsumerPlan(place.index, -1) for place in lossy),
    )


def _stripes(lane: Lane, producers: Sequence[_Place]) -> dict[int, int]:
    """Return the rings that each producer owns, by role index, in order.

    Clients share what the roles leave of `publishers_max`; the first takes what is over.
    """
    if lane.kind is LaneKind.JOURNAL:
        return {}
    if lane.kind is not LaneKind.EVENTS:
        return {place.index: 1 for place in producers}
    clients = [place for place in producers if place.is_client]
    left = lane.publishers_max - (len(producers) - len(clients))
    shares = {place.index: 1 for place in producers}
    for number, place in enumerate(clients):
        shares[place.index] = left // len(clients) + (left % len(clients) if number == 0 else 0)
    return shares


def _journal(lane: Lane, journal: Journal, deployment: Deployment) -> JournalPlan:
    durable = journal.durable and not deployment.effects.rehearsal
    retention = journal.retention_bytes
    if not durable:
        in_memory = MEMORY_SEGMENTS_DEFAULT * journal.segment_bytes
        # What a dry run keeps of a durable one lies in shared memory too, which has less room.
        retention = min(retention or in_memory, in_memory) if journal.durable else retention
        retention = retention or in_memory
    return JournalPlan(
        durable=durable,
        directory=deployment.journals.get(lane.name, "") if durable else "",
        file="" if durable else f"journal-{lane.name}",
        segment_bytes=journal.segment_bytes,
        retention_bytes=retention,
        retention_s=journal.retention_s,
        sync=str(journal.sync),
        sync_interval_ms=journal.sync_interval_ms,
    )


def rehearsed_journals(graph: LaneGraph, deployment: Deployment) -> list[str]:
    """Return a note for each durable journal that a dry run does not append to."""
    return [
        f"journal {lane.name}: a dry run keeps the last of it in the run's own directory, and "
        f"appends nothing to {deployment.journals.get(lane.name, '')}"
        for lane in graph.lanes
        if deployment.effects.rehearsal and lane.journal is not None and lane.journal.durable
    ]


def _role(place: _Place, deployment: Deployment, ports: _Ports) -> RolePlan:
    rx = tuple(ports.rx(place, name) for name in place.rx)
    tx = tuple(ports.tx(place, name) for name in place.tx)
    if place.end is not None:
        adapter = deployment.adapters[place.name]
        return RolePlan(
            place.index,
            place.name,
            str(place.end.kind),
            0,
            -1,
            adapter=adapter.kind,
            options=dict(adapter.options),
            rx=rx,
            tx=tx,
        )
    assert place.role is not None  # noqa: S101  a place is one of the two
    role, letter = place.role, place.dead_letter
    common = RolePlan(
        place.index,
        place.name,
        str(role.kind),
        0,
        -1,
        rx=rx,
        tx=tx,
        mode=role.mode,
        key=(role.key.offset, role.key.length) if role.key is not None else None,
        outputs_max=role.outputs_max,
        dead_letter=ports.tx(place, letter) if letter else None,
    )
    return common if role.stage is None else with_stage(common, role.stage)


def with_stage(role: RolePlan, stage: Stage) -> RolePlan:
    """Return a role that computes what a stage says."""
    return replace(
        role,
        stage=stage.stage,
        config=dict(stage.config),
        mutates=tuple((part.offset, part.length) for part in stage.mutates),
        drops=stage.drops,
        resizes=stage.resizes,
        state=str(stage.state),
        state_bytes=stage.state_bytes,
        digest=stage.digest,
        confined=effect_free(stage),
    )


class _Ports:
    """Where places touch lanes."""

    def __init__(
        self, lanes: Mapping[str, tuple[Lane, LanePlan]], places: Sequence[_Place]
    ) -> None:
        self._lanes, self._places = lanes, places

    def rx(self, place: _Place, name: str) -> RxPlan:
        spec, lane = self._lanes[name]
        cells = {consumer.role: consumer.cell for consumer in lane.consumers}
        lossy = spec.kind is LaneKind.FANOUT_BROADCAST and place.name in spec.lossy
        depends: tuple[int, ...] = ()
        if spec.kind is LaneKind.SEQUENCED_SLOTS:
            workers = {p.name: p for p in self._places if p.in_place and p.rx == (name,)}
            depends = tuple(
                sorted(cells[workers[each].index] for each in _followed(place, workers))
            )
        return RxPlan(lane.index, cells[place.index], lossy, depends)

    def tx(self, place: _Place, name: str) -> TxPlan:
        spec, lane = self._lanes[name]
        if spec.kind is LaneKind.JOURNAL or (place.in_place and name in place.tx):
            return TxPlan(lane.index, -1)
        first = 0
        for index, count in _stripes(spec, [self._places[i] for i in lane.producers]).items():
            if index == place.index:
                return TxPlan(lane.index, first, count)
            first += count
        message = f"{place.name} does not write {name}"
        raise ValueError(message)


def _followed(place: _Place, workers: Mapping[str, _Place]) -> set[str]:
    """Return the stages in place that a consumer follows; one that leaves follows the last ones."""
    if place.in_place and place.role is not None:
        return set(place.role.depends_on)
    followed = {name for p in workers.values() if p.role is not None for name in p.role.depends_on}
    return set(workers) - followed
