"""From a plan of stages and connections to explicit lanes and roles.

Pure and total: connections whose ends do not exist are left out, as `plan_rules` reports. The same
plan always gives the same graph: names come from the ends of connections, order from the document.

What is made of the connections that leave one place:

- one connection: its lane, directly;
- all `broadcast`: one `fanout_broadcast` lane that all of them read;
- several lanes: an `events` lane to a router of mode `broadcast` that writes them;
- all `events` with a `route` other than `broadcast`: an `events` lane to a router of that mode;
- a mixture with `broadcast` or with a choice: a `fanout_broadcast` lane, which the broadcast
  connections and the router read directly, and from which bridges feed the other lanes.

A `fanout_broadcast` lane with more readers than it may have is followed by others, each behind a
bridge.

A `route` that one of the `events` connections of a place says holds for all of them.

What is made of the connections that enter one place: a lane directly; several `events` without
`merge`: one lane with a ring for each producer; else a merge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from byteord.spec.findings import Path
from byteord.spec.lane_model import (
    FANOUT_CONSUMERS_MAX,
    GraphRole,
    Inserted,
    Lane,
    LaneKind,
    MergeMode,
    OnFull,
    RoleKind,
    RouterMode,
)
from byteord.spec.lanegraph.read import journal_of
from byteord.spec.model import ByteRange

_KINDS = {
    "events": LaneKind.EVENTS,
    "broadcast": LaneKind.FANOUT_BROADCAST,
    "journal": LaneKind.JOURNAL,
    "sequenced": LaneKind.SEQUENCED_SLOTS,
}
_NAME_CHARS_MAX = 63


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection between places that exist; `target` is empty for a journal alone."""

    source: str
    target: str
    intent: str
    row: Mapping[str, Any]
    path: Path
    is_dead_letter: bool = False


@dataclass(slots=True)
class Ports:
    """Which lanes a place reads and writes."""

    rx: str = ""
    tx: str = ""
    dead_letter: str = ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a lane has unless a connection says otherwise."""

    capacity: int
    slot_bytes: int
    on_full: OnFull


@dataclass(slots=True)
class Lowered:
    """What became of a plan."""

    ports: dict[str, Ports]
    lanes: dict[str, Lane] = field(default_factory=dict)
    roles: list[GraphRole] = field(default_factory=list)
    """Bridges, routers and merges."""
    inserted: list[Inserted] = field(default_factory=list)
    places: dict[tuple[str, str], Path] = field(default_factory=dict)
    clashes: list[tuple[Connection, str]] = field(default_factory=list)
    """Connections whose `name` another lane has."""
    shared: list[tuple[str, Sequence[Connection]]] = field(default_factory=list)
    """Lanes that carry several connections, which must agree on them."""


def lower(places: Iterable[str], connections: Sequence[Connection], sizes: Sizes) -> Lowered:
    """Return the graph of connections between places, given in document order."""
    return _Lowering(tuple(places), connections, sizes).run()


class _Lowering:
    def __init__(
        self, places: Sequence[str], connections: Sequence[Connection], sizes: Sizes
    ) -> None:
        self._places, self._connections, self._sizes = places, connections, sizes
        self._out = Lowered({place: Ports() for place in places})
        self._taken = set(places)
        self._carried: dict[int, str] = {}
        """Lane by the identity of its connection."""

    def run(self) -> Lowered:
        for place in self._places:
            self._shared_entry(place)
        for place in self._places:
            self._leave(place)
        for place in self._places:
            self._enter(place)
        return self._out

    def _entering(self, place: str) -> list[Connection]:
        return [each for each in self._connections if each.target == place]

    def _shared_entry(self, place: str) -> None:
        """Give several `events` into one place one lane with a ring for each producer."""
        entering = self._entering(place)
        plain = all(each.intent == "events" and not each.row["merge"] for each in entering)
        if len(entering) <= 1 or not plain:
            return
        why = f"{len(entering)} connections of events enter {place}: a ring for each producer"
        name = self._lane(f"{place}-in", LaneKind.EVENTS, entering, publishers=len(entering))
        self._note("lane", name, why)
        self._carried.update({id(each): name for each in entering})

    def _leave(self, place: str) -> None:
        ports = self._out.ports[place]
        leaving = [each for each in self._connections if each.source == place]
        for letters in (each for each in leaving if each.is_dead_letter):
            ports.dead_letter = self._direct(letters)
        leaving = [each for each in leaving if not each.is_dead_letter]
        cast = [each for each in leaving if each.intent == "broadcast"]
        mode = _mode(leaving)
        chosen = [each for each in leaving if each.intent == "events"] if mode else []
        plain = [each for each in leaving if each not in cast and each not in chosen]
        lanes = list(dict.fromkeys(self._direct(each) for each in plain))
        if bool(cast) + bool(chosen) + bool(lanes) > 1:
            ports.tx, seats = self._spine(place, cast, leaving, len(lanes) + bool(chosen))
            for lane, seat in zip(lanes, seats[len(cast) :], strict=False):
                self._bridge(place, seat, lane)
            if chosen:
                self._router(place, seats[-1], mode, chosen)
        elif cast:
            ports.tx, _ = self._spine(place, cast, cast, 0)
        elif chosen:
            ports.tx = self._to_router(place, chosen, f"a choice of {mode} leaves {place}")
            self._router(place, ports.tx, mode, chosen)
        elif len(lanes) > 1:
            why = f"{len(lanes)} lanes leave {place}"
            ports.tx = self._to_router(place, leaving, why)
            self._add(
                f"{place}-router",
                RoleKind.ROUTER,
                (ports.tx,),
                lanes,
                leaving,
                mode=RouterMode.BROADCAST,
                why=why,
            )
        elif lanes:
            ports.tx = lanes[0]

    def _direct(self, each: Connection) -> str:
        """Return the lane that carries one connection alone, or shared at its target."""
        if id(each) in self._carried:
            return self._carried[id(each)]
        kind = _KINDS[each.intent]
        group = [each]
        wanted = f"{each.source}-{each.target}"
        if kind is LaneKind.JOURNAL:
            group = [
                other
                for other in self._connections
                if (other.source, other.intent, other.row["name"])
                == (each.source, each.intent, each.row["name"])
            ]
            wanted = f"{each.source}-journal"
        name = self._lane(wanted, kind, group)
        self._carried.update({id(other): name for other in group})
        return name

    def _spine(
        self, place: str, cast: Sequence[Connection], leaving: Sequence[Connection], others: int
    ) -> tuple[str, list[str]]:
        """Add the fan-out that everything from one place is read from.

        Returns it, and the lane at which each reader has its seat: those of `cast`, then `others`.
        """
        name = self._lane(
            f"{place}-out", LaneKind.FANOUT_BROADCAST, cast or leaving, named=bool(cast)
        )
        if len(cast) < len(leaving):
            self._note("lane", name, f"connections of several ways leave {place}")
        seats = self._seats(place, name, len(cast) + others, cast or leaving)
        for each, seat in zip(cast, seats, strict=False):
            self._carried[id(each)] = seat
            if each.row["lossy"]:
                known = self._out.lanes[seat]
                self._out.lanes[seat] = replace(known, lossy=(*known.lossy, each.target))
        return name, seats

    def _seats(self, place: str, lane: str, count: int, group: Sequence[Connection]) -> list[str]:
        """Return the lane of each of `count` readers of a fan-out; add lanes where one is too few.

        The first readers keep the first lane. A further lane blocks, whatever the first one does
        when it is full: it fills up like one lane of all of them.
        """
        if count <= FANOUT_CONSUMERS_MAX:
            return [lane] * count
        over, gain = count - FANOUT_CONSUMERS_MAX, FANOUT_CONSUMERS_MAX - 1
        branches = min(-(-over // gain), FANOUT_CONSUMERS_MAX)
        seats = [lane] * (FANOUT_CONSUMERS_MAX - branches)
        why = f"{count} read {lane}, which takes {FANOUT_CONSUMERS_MAX}"
        for branch in range(branches, 0, -1):
            share = -(-(count - len(seats)) // branch)
            further = self._lane(
                f"{place}-out", LaneKind.FANOUT_BROADCAST, group, named=False, on_full=OnFull.BLOCK
            )
            self._note("lane", further, f"for {share} of them: {why}")
            self._add(f"{further}-bridge", RoleKind.BRIDGE, (lane,), [further], group, why=why)
            seats += self._seats(place, further, share, group)
        return seats

    def _to_router(self, place: str, leaving: Sequence[Connection], why: str) -> str:
        name = self._lane(f"{place}-out", LaneKind.EVENTS, leaving, named=False)
        self._note("lane", name, f"to the router: {why}")
        return name

    def _router(self, place: str, source: str, mode: str, mine: Sequence[Connection]) -> None:
        """Route connections, each into its own lane."""
        lanes = list(dict.fromkeys(self._direct(each) for each in mine))
        key = next((each.row["key"] for each in mine if each.row["key"]), None)
        why = f"each message of {place} goes to one of {len(lanes)} lanes"
        self._add(
            f"{place}-router",
            RoleKind.ROUTER,
            (source,),
            lanes,
            mine,
            mode=mode,
            key=ByteRange(*key) if key else None,
            why=why,
        )

    def _bridge(self, place: str, source: str, lane: str) -> None:
        kind = self._out.lanes[lane].kind
        mine = [each for each in self._connections if self._carried.get(id(each)) == lane]
        why = f"from the fan-out of {place} into a lane of kind {kind}"
        self._add(f"{lane}-bridge", RoleKind.BRIDGE, (source,), [lane], mine, why=why)

    def _enter(self, place: str) -> None:
        ports, entering = self._out.ports[place], self._entering(place)
        lanes = list(dict.fromkeys(self._carried[id(each)] for each in entering))
        if len(lanes) <= 1:
            ports.rx = lanes[0] if lanes else ""
            return
        modes = (each.row["merge"] for each in entering)
        mode = next((each for each in modes if each), str(MergeMode.ROUND_ROBIN))
        widest = max(self._out.lanes[lane].slot_bytes for lane in lanes)
        ports.rx = self._lane(
            f"{place}-in", LaneKind.EVENTS, entering, named=False, slot_bytes=widest
        )
        why = f"{len(lanes)} lanes enter {place}"
        self._note("lane", ports.rx, f"from the merge: {why}")
        name = self._add(
            f"{place}-merge", RoleKind.MERGE, lanes, [ports.rx], entering, mode=mode, why=why
        )
        for lane in lanes:
            known = self._out.lanes[lane]
            lossy = tuple(name if reader == place else reader for reader in known.lossy)
            self._out.lanes[lane] = replace(known, lossy=lossy)

    def _add(
        self,
        wanted: str,
        kind: RoleKind,
        rx: Iterable[str],
        tx: Iterable[str],
        group: Sequence[Connection],
        *,
        why: str,
        mode: str = "",
        key: ByteRange | None = None,
    ) -> str:
        name = self._name(wanted)
        self._out.roles.append(GraphRole(name, kind, tuple(rx), tuple(tx), mode=str(mode), key=key))
        self._out.places["role", name] = group[0].path
        self._note(str(kind), name, why)
        return name

    def _note(self, what: str, name: str, why: str) -> None:
        self._out.inserted.append(Inserted(what, name, why))

    def _lane(
        self,
        wanted: str,
        kind: LaneKind,
        group: Sequence[Connection],
        *,
        publishers: int = 1,
        named: bool = True,
        slot_bytes: int = 0,
        on_full: OnFull | None = None,
    ) -> str:
        """Add a lane for connections; one that none of them names takes the largest sizes."""
        name = self._given(group) if named else ""
        name = name or self._name(wanted)
        self._taken.add(name)
        said = {key: [e.row[key] for e in group if e.row[key] is not None] for key in group[0].row}
        sizes, is_journal = self._sizes, kind is LaneKind.JOURNAL
        if named:
            capacity = next(iter(said["capacity"]), sizes.capacity)
            slot_bytes = next(iter(said["slot_bytes"]), sizes.slot_bytes)
        else:
            capacity = max(each.row["capacity"] or sizes.capacity for each in group)
            widest = max(each.row["slot_bytes"] or sizes.slot_bytes for each in group)
            slot_bytes = slot_bytes or widest
        self._out.lanes[name] = Lane(
            name=name,
            kind=kind,
            capacity=0 if is_journal else capacity,
            slot_bytes=slot_bytes,
            on_full=on_full
            or OnFull(said["on_full"][0] if named and said["on_full"] else sizes.on_full),
            publishers_max=publishers,
            journal=journal_of(_first(said)) if is_journal else None,
        )
        self._out.places["lane", name] = group[0].path
        if named and len(group) > 1:
            self._out.shared.append((name, group))
        return name

    def _given(self, group: Sequence[Connection]) -> str:
        """Return the name that connections give their lane, empty when none may be taken."""
        for each in group:
            name = each.row["name"]
            if name and name not in self._out.lanes:
                return str(name)
            if name:
                self._out.clashes.append((each, str(name)))
                return ""
        return ""

    def _name(self, wanted: str) -> str:
        """Return a name that nothing else has, of at most 63 characters."""
        reserved = self._taken | {str(each.row["name"]) for each in self._connections}
        base, number = wanted, 1
        while True:
            name = base if number == 1 else f"{base}-{number}"
            if len(name) > _NAME_CHARS_MAX:
                mark = hashlib.sha256(name.encode()).hexdigest()[:8]
                name = f"{name[: _NAME_CHARS_MAX - 9]}-{mark}"
            if name not in reserved:
                self._taken.add(name)
                return name
            number += 1


def _mode(leaving: Iterable[Connection]) -> str:
    """Return the mode of the router that a choice among connections needs, else nothing."""
    routes = [each.row["route"] for each in leaving if each.intent == "events"]
    said = next((route for route in routes if route), RouterMode.BROADCAST)
    return "" if said == RouterMode.BROADCAST else str(said)


def _first(said: Mapping[str, list[Any]]) -> dict[str, Any]:
    return {key: values[0] if values else None for key, values in said.items()}
