"""Rules of the authoring shorthand: connections between places, before they are lowered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byteord.spec.findings import Collector, Path, Severity, shown
from byteord.spec.lane_model import RouterMode
from byteord.spec.lanegraph.keys import JOURNAL_KEYS
from byteord.spec.lanegraph.lower import Connection, Lowered
from byteord.spec.lanegraph.read import check_hash_key, check_journal
from byteord.spec.model import CAPACITY_DEFAULT, SLOT_BYTES_DEFAULT
from byteord.spec.nearest import did_you_mean
from byteord.spec.rules import check_name, check_sizes

_ONLY = {
    "lossy": ("broadcast",),
    "route": ("events",),
    "key": ("events",),
    **dict.fromkeys(JOURNAL_KEYS, ("journal",)),
    "capacity": ("events", "broadcast", "sequenced"),
    "on_full": ("events", "broadcast", "sequenced"),
}
"""Keys of a connection that only some intents have."""

_LANE_KEYS = ("name", "capacity", "slot_bytes", "on_full", *JOURNAL_KEYS)


def check_row(row: Mapping[str, Any], path: Path, found: Collector) -> None:
    """Report sizes that no lane has, and keys that connections of this intent do not have."""
    intent = row["intent"]
    check_sizes(
        row["capacity"] or CAPACITY_DEFAULT, row["slot_bytes"] or SLOT_BYTES_DEFAULT, path, found
    )
    if row["name"] is not None:
        check_name(row["name"], (*path, "name"), found)
    for key, intents in _ONLY.items():
        if row[key] not in (None, False) and intent not in intents:
            _misplaced(path, key, f"a connection with intent = {shown(intent)}", found)
    if intent == "journal":
        check_journal(row, path, found)


def _misplaced(path: Path, key: str, holder: str, found: Collector) -> None:
    found.add(
        "SPEC_KEY_MISPLACED",
        (*path, key),
        seen=f"{key} on {holder}",
        wanted=f"{key} where it means something; {holder} has none",
        fix=f"delete {key}, or choose another intent or route",
    )


def check_ends(
    rows: Sequence[Mapping[str, Any]], places: Mapping[str, str], found: Collector
) -> None:
    """Report ends of connections that do not exist or face the other way."""
    for index, row in enumerate(rows):
        path = ("plan", "connections", str(index))
        for key, wrong in (("from", "egress"), ("to", "ingress")):
            name = row[key]
            if name is None:
                if key == "to" and row["intent"] != "journal":
                    _no_target(path, found)
                continue
            if name not in places:
                found.add(
                    "SPEC_CONNECTION_UNKNOWN",
                    (*path, key),
                    seen=shown(name),
                    wanted=f"a stage or endpoint of this spec: {', '.join(places) or 'none yet'}",
                    fix=did_you_mean(name, list(places), otherwise="add it, or delete this"),
                )
            elif places[name] == wrong:
                found.add(
                    "SPEC_CONNECTION_DIRECTION",
                    (*path, key),
                    seen=f"{key} the {wrong} {shown(name)}",
                    wanted="connections from an ingress or a stage to a stage or an egress",
                    fix="swap from and to, or correct the endpoint's kind",
                )


def _no_target(path: Path, found: Collector) -> None:
    if not found.is_bad((*path, "to")):
        found.add(
            "SPEC_CONNECTION_UNKNOWN",
            (*path, "to"),
            seen="nothing",
            wanted="a stage or egress endpoint; only a journal may go nowhere else",
            fix="add to",
        )


def check_letters(
    rows: Sequence[Mapping[str, Any]], places: Mapping[str, str], found: Collector
) -> None:
    """Report dead letters to places that do not exist or take no messages."""
    for index, row in enumerate(rows):
        name = row["dead_letter"]
        if name is None or (places.get(name) in ("egress", "stage") and name != row["name"]):
            continue
        takers = [place for place, kind in places.items() if kind != "ingress"]
        found.add(
            "SPEC_CONNECTION_UNKNOWN",
            ("plan", "stages", str(index), "dead_letter"),
            seen=shown(name),
            wanted=f"another stage or an egress endpoint: {', '.join(takers) or 'none yet'}",
            fix=did_you_mean(name, takers, otherwise="add an egress endpoint for them"),
        )


def check_agreement(connections: Sequence[Connection], lowered: Lowered, found: Collector) -> None:
    """Report connections that stand twice, or say different things of what they share."""
    ends: set[tuple[str, str]] = set()
    for each in connections:
        if each.target and (each.source, each.target) in ends:
            found.add(
                "SPEC_CONNECTION_DUPLICATE",
                each.path,
                seen=f"{shown(each.source)} to {shown(each.target)} again",
                wanted="one connection, or dead letters, between two places",
                fix="delete one of the two, or put a stage between",
            )
        ends.add((each.source, each.target))
    for each, name in lowered.clashes:
        found.add(
            "SPEC_NAME_DUPLICATE",
            (*each.path, "name"),
            seen=shown(name),
            wanted="lane names that are unique",
            fix="rename one of the two",
        )
    for lane, group in lowered.shared:
        _agree(group, _LANE_KEYS, f"the lane {shown(lane)}", found)
    for place in lowered.ports:
        leaving = [e for e in connections if e.source == place and e.intent == "events"]
        _agree(leaving, ("route", "key"), f"what leaves {shown(place)}", found)
        _check_route(leaving, found)
        entering = [e for e in connections if e.target == place]
        _agree(entering, ("merge",), f"what enters {shown(place)}", found)
        if len(entering) == 1 and entering[0].row["merge"] is not None:
            found.add(
                "SPEC_MERGE_UNUSED",
                (*entering[0].path, "merge"),
                seen=f"merge on the only connection into {shown(place)}",
                wanted="merge where several connections enter",
                fix="delete it",
                severity=Severity.WARNING,
            )


def _check_route(leaving: Sequence[Connection], found: Collector) -> None:
    """Report a choice by key without a key, a key without such a choice, a choice of one."""
    routed = next((each for each in leaving if each.row["route"] is not None), None)
    keyed = next((each for each in leaving if each.row["key"] is not None), None)
    if routed is not None and routed.row["route"] == RouterMode.KEY_HASH:
        key = keyed.row["key"] if keyed is not None else None
        check_hash_key(key, keyed.path if keyed is not None else routed.path, found)
    elif keyed is not None:
        _misplaced(keyed.path, "key", "a connection without key_hash", found)
    if routed is not None and len(leaving) == 1:
        _misplaced(routed.path, "route", "the only connection of events from its place", found)


def _agree(group: Sequence[Connection], keys: Sequence[str], about: str, found: Collector) -> None:
    for key in keys:
        said = [each for each in group if each.row[key] is not None]
        for each in said[1:]:
            if each.row[key] != said[0].row[key]:
                found.add(
                    "SPEC_CONNECTION_CONFLICT",
                    (*each.path, key),
                    seen=_shown(each.row[key]),
                    wanted=f"{_shown(said[0].row[key])}, as another connection says of {about}",
                    fix="say the same, or say it once",
                )


def _shown(value: object) -> str:
    return shown(value) if isinstance(value, str | int | bool) else str(value)


def check_connected(
    places: Mapping[str, str], lowered: Lowered, found: Collector, where: Mapping[str, Path]
) -> None:
    """Report places that no message reaches, and ingress endpoints from which none goes on."""
    for name, kind in places.items():
        ports = lowered.ports[name]
        if ports.tx if kind == "ingress" else ports.rx:
            continue
        ends = "leaves" if kind == "ingress" else "enters"
        found.add(
            "SPEC_PLACE_UNCONNECTED",
            where[name],
            seen=f"no connection {ends} the {kind} {shown(name)}",
            wanted="each stage and egress reached, each ingress with somewhere to go",
            fix="add it to [[plan.connections]], or delete it",
        )
