"""The ports of a LaneGraph's units: what each role reads and writes, and where its counts lie.

A pure function of the plan, so that the worker that counts and the reader that shows agree on every
word. It must not open anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from byteord.deployment.plan import (
    LanePlan,
    RolePlan,
    RunPlan,
    TxPlan,
    UnitPlan,
    undo_layout,
    undo_log_bytes,
)

PORT_WORDS = 3
"""As BYTEOR_PORT_WORDS: position, then two exact counts of what was lost."""
RX_LOST = ("missed", "nonsense")
TX_LOST = ("full", "oversize")
_PLACE_WORDS = 2
_WORD_BYTES = 8
_LINE = 64


@dataclass(frozen=True, slots=True)
class RxPort:
    """One ring that a role reads."""

    role: int
    lane: int
    ring: int
    cell: int
    """Its gating cell; -1: it is lossy."""
    depends: tuple[int, ...]
    source: int
    """Port of the same unit that writes the ring; -1: none does."""
    monotone: bool
    """Its messages come in time order."""
    word: int
    journal: bool = False
    """The lane is a journal, `ring` its index."""


@dataclass(frozen=True, slots=True)
class TxPort:
    """One ring that a role writes."""

    role: int
    lane: int
    ring: int
    drops: bool
    lossy: bool
    """Some consumer reads it without gating it."""
    word: int
    journal: bool = False


@dataclass(frozen=True, slots=True)
class MemberPorts:
    """The ports of one role of a unit: (first, count) of each direction."""

    role: int
    rx: tuple[int, int]
    tx: tuple[int, int]
    dead_letter: int
    """Port; -1: none."""
    place_word: int


@dataclass(frozen=True, slots=True)
class UnitPorts:
    """The ports of a unit, in the order of its roles."""

    rx: tuple[RxPort, ...] = ()
    tx: tuple[TxPort, ...] = ()
    members: tuple[MemberPorts, ...] = ()
    words: int = 0


@dataclass(slots=True)
class _Building:
    plan: RunPlan
    monotone: dict[int, bool]
    rx: list[RxPort] = field(default_factory=list)
    tx: list[TxPort] = field(default_factory=list)
    words: int = 0

    def take(self, count: int) -> int:
        self.words += count
        return self.words - count


def index_file(lane: LanePlan) -> str:
    """Return the name of the region by which a journal's writer and readers meet."""
    return f"index-{lane.index}"


def journal_lanes(plan: RunPlan) -> list[LanePlan]:
    """Return the lanes that are journals; their indices are rings behind those of the plan."""
    return [lane for lane in plan.lanes if lane.journal is not None]


def lane_rings(plan: RunPlan, lane: LanePlan) -> tuple[int, ...]:
    """Return the rings of a lane; of a journal that of its index."""
    if lane.journal is None:
        return lane.rings
    before = [each.index for each in journal_lanes(plan)].index(lane.index)
    return (len(plan.rings) + before,)


def ring_files(plan: RunPlan) -> list[str]:
    """Return the files of all rings in the run's directory; last those of journals and tapes."""
    rings = [ring.file for ring in plan.rings] + [index_file(lane) for lane in journal_lanes(plan)]
    return rings + [tape.file for tape in plan.capture.tapes] if plan.capture else rings


def tape_rings(plan: RunPlan) -> range:
    """Return the places of the recorder's tapes among `ring_files`."""
    files = len(ring_files(plan))
    return range(files - (len(plan.capture.tapes) if plan.capture else 0), files)


def is_graph_unit(plan: RunPlan, unit: UnitPlan) -> bool:
    """Tell whether a unit works on ports; else it works in the slots of one ring, or of shards."""
    return plan.model == "lane_graph" and not plan.roles[unit.roles[0]].in_place


def unit_ports(plan: RunPlan, unit: UnitPlan) -> UnitPorts:
    """Return the ports of a unit; none when it works in place."""
    if not is_graph_unit(plan, unit):
        return UnitPorts()
    build = _Building(plan, monotone_lanes(plan))
    members = tuple(_member(build, plan.roles[role]) for role in unit.roles)
    return UnitPorts(tuple(build.rx), tuple(build.tx), members, build.words)


def words_bytes(words: int) -> int:
    """Return the bytes that both arrays of a unit's words take in the control region."""
    return (2 * words * _WORD_BYTES + _LINE - 1) // _LINE * _LINE


def unit_areas(plan: RunPlan, unit: UnitPlan) -> tuple[int, int]:
    """Return the bytes of a unit's area in the control region: undo of slots or words, then log."""
    if is_graph_unit(plan, unit):
        return words_bytes(unit_ports(plan, unit).words), undo_log_bytes(plan, unit)
    slots, log, _ = undo_layout(plan, unit)
    return slots, log


def monotone_lanes(plan: RunPlan) -> dict[int, bool]:
    """Tell of each lane whether each of its producers writes in the order of ingress times."""
    found: dict[int, bool] = {}
    for role in plan.roles:  # in topological order
        ordered = role.kind == "ingress" or _keeps_order(plan, role, found)
        for tx in (*role.tx, *((role.dead_letter,) if role.dead_letter else ())):
            if not role.in_place:
                found[tx.lane] = found.get(tx.lane, True) and ordered
    return found


def _keeps_order(plan: RunPlan, role: RolePlan, found: dict[int, bool]) -> bool:
    """Tell whether what a role passes on is in time order, as what it reads is.

    A merge brings rings together in that order; others read one ring, or mingle several.
    """
    if not all(found.get(rx.lane, False) for rx in role.rx):
        return False
    rings = sum(len(lane_rings(plan, plan.lanes[rx.lane])) for rx in role.rx)
    return role.mode == "ordered" or rings == 1


def progress_wanted(plan: RunPlan) -> bool:
    """Tell whether some role goes by progress words: a merge by time."""
    return any(role.mode == "ordered" for role in plan.roles)


def _member(build: _Building, role: RolePlan) -> MemberPorts:
    first_rx, first_tx = len(build.rx), len(build.tx)
    for rx in role.rx:
        lane = build.plan.lanes[rx.lane]
        for ring in lane_rings(build.plan, lane):
            build.rx.append(
                RxPort(
                    role=role.index,
                    lane=rx.lane,
                    ring=ring,
                    cell=-1 if rx.lossy or lane.journal else rx.cell,
                    depends=rx.depends,
                    source=_source(build, ring),
                    monotone=build.monotone.get(rx.lane, False),
                    word=build.take(PORT_WORDS),
                    journal=lane.journal is not None,
                )
            )
    if role.adapter != "client":
        for tx in role.tx:
            _add_tx(build, role, tx)
    count = len(build.tx) - first_tx
    dead_letter = -1
    if role.dead_letter is not None:
        dead_letter = len(build.tx)
        _add_tx(build, role, role.dead_letter)
    return MemberPorts(
        role=role.index,
        rx=(first_rx, len(build.rx) - first_rx),
        tx=(first_tx, count),
        dead_letter=dead_letter,
        place_word=build.take(_PLACE_WORDS),
    )


def _source(build: _Building, ring: int) -> int:
    found = (index for index, tx in enumerate(build.tx) if tx.ring == ring and not tx.journal)
    return next(found, -1)


def _add_tx(build: _Building, role: RolePlan, tx: TxPlan) -> None:
    lane = build.plan.lanes[tx.lane]
    build.tx.append(
        TxPort(
            role=role.index,
            lane=tx.lane,
            ring=lane_rings(build.plan, lane)[max(tx.stripe, 0)],
            drops=lane.on_full == "drop" and lane.journal is None,
            lossy=_lossy(build.plan, lane),
            word=build.take(PORT_WORDS),
            journal=lane.journal is not None,
        )
    )


def _lossy(plan: RunPlan, lane: LanePlan) -> bool:
    return any(
        rx.lossy
        for consumer in lane.consumers
        for rx in plan.roles[consumer.role].rx
        if rx.lane == lane.index
    )
