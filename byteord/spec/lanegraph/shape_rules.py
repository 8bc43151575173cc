"""Rules of what flows along the graph: no cycles, messages that fit, room for all outputs."""

from __future__ import annotations

from byteord.spec.findings import Collector, Path, shown
from byteord.spec.lane_model import GraphRole, Lane, LaneKind, RoleKind
from byteord.spec.lanegraph.draft import Draft
from byteord.spec.model import SLOT_HEADER_BYTES, ByteRange
from byteord.spec.topology import range_text


def check_cycles(draft: Draft, found: Collector) -> None:
    """Report each cycle once, by the way that a message would take."""
    behind = _behind(draft)
    seen: set[str] = set()
    for start in behind:
        way = _way_back(start, behind) if start not in seen else []
        if not way:
            continue
        seen.update(way)
        role = next((name for name in way if draft.role(name) is not None), start)
        found.add(
            "SPEC_LANE_CYCLE",
            draft.place("role", role),
            seen=" -> ".join([*way, way[0]]),
            wanted="a graph without cycles: a message that comes back could fill every lane on "
            "its way and stall it for good",
            fix="take one of these edges out",
        )
        seen.update(name for name, lanes in behind.items() if way[0] in lanes)


def _behind(draft: Draft) -> dict[str, list[str]]:
    """Return for each role the lanes, for each lane the roles behind it; in place is no edge."""
    behind: dict[str, list[str]] = {}
    for role in draft.roles:
        lane = draft.lanes.get(role.rx[0]) if role.in_place else None
        works_in_place = lane is None or lane.kind is LaneKind.SEQUENCED_SLOTS
        if role.in_place and works_in_place:
            continue
        letters = [role.dead_letter] if role.dead_letter else []
        behind.setdefault(role.name, []).extend(f"lane {name}" for name in (*role.tx, *letters))
        for name in role.rx:
            behind.setdefault(f"lane {name}", []).append(role.name)
    return behind


def _way_back(start: str, behind: dict[str, list[str]]) -> list[str]:
    """Return the names on a shortest way from a node back to itself, or none."""
    before: dict[str, str] = {}
    queue = [start]
    for node in queue:
        for after in behind.get(node, ()):
            if after == start:
                way = [node]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if after not in before:
                before[after] = node
                queue.append(after)
    return []


def check_messages(draft: Draft, found: Collector) -> None:
    """Report lanes that cannot hold what their role gives them, and keys outside the message."""
    for role in draft.roles:
        sources = [lane for name in role.rx if (lane := draft.lanes.get(name)) is not None]
        if not sources:
            continue
        widest = max(sources, key=lambda lane: lane.slot_bytes)
        for key, index, name in _outputs(role):
            lane = draft.lanes.get(name)
            if lane is None:
                continue
            path = draft.place("role", role.name, key, *([str(index)] if key == "tx" else []))
            if _passes_on(role, key) and lane.slot_bytes < widest.slot_bytes:
                _too_small(role, widest, lane, path, found)
            if key == "tx":
                _check_outputs(draft, role, lane, found)
        _check_letters(draft, role, found)
        _check_key(draft, role, min(sources, key=lambda lane: lane.slot_bytes), found)


def _outputs(role: GraphRole) -> list[tuple[str, int, str]]:
    letters = [("dead_letter", 0, role.dead_letter)] if role.dead_letter else []
    return [*(("tx", index, name) for index, name in enumerate(role.tx)), *letters]


def _passes_on(role: GraphRole, key: str) -> bool:
    """Tell whether what comes in goes out at its length; a stage that resizes makes its own."""
    resizes = role.stage is not None and role.stage.resizes
    return key == "dead_letter" or role.kind is not RoleKind.STAGE or not resizes


def _too_small(role: GraphRole, source: Lane, target: Lane, path: Path, found: Collector) -> None:
    found.add(
        "SPEC_SLOT_TOO_SMALL",
        path,
        seen=f"{shown(target.name)} with slot_bytes = {target.slot_bytes} behind "
        f"{shown(source.name)} with {source.slot_bytes}",
        wanted=f"room for each message that {shown(role.name)} passes on",
        fix=f"raise slot_bytes of {shown(target.name)} to {source.slot_bytes}, or lower that of "
        f"{shown(source.name)}",
    )


def _check_outputs(draft: Draft, role: GraphRole, lane: Lane, found: Collector) -> None:
    most = 1 if role.in_place else lane.batch_slots - 1
    if role.kind is not RoleKind.STAGE or lane.kind is LaneKind.JOURNAL:
        return
    if role.outputs_max > most:
        found.add(
            "SPEC_OUTPUTS_TOO_MANY",
            draft.place("role", role.name, "outputs_max"),
            seen=f"outputs_max = {role.outputs_max}",
            wanted="1: a stage in place has no other output than the slot"
            if role.in_place
            else f"at most {most}: room for all outputs of one message, and for the end of input, "
            f"is taken at once in {shown(lane.name)}"
            + (", where a batch gets a quarter because a consumer is lossy" if lane.lossy else ""),
            fix="give it a lane of its own as tx" if role.in_place else "raise the capacity",
        )


def _check_letters(draft: Draft, role: GraphRole, found: Collector) -> None:
    if role.in_place and role.dead_letter:
        found.add(
            "SPEC_OUTPUTS_TOO_MANY",
            draft.place("role", role.name, "dead_letter"),
            seen=f"dead_letter = {shown(role.dead_letter)} of a stage in place",
            wanted="none: a stage in place has no other output than the slot",
            fix="give it a lane of its own as tx, or take the key out",
        )


def _check_key(draft: Draft, role: GraphRole, source: Lane, found: Collector) -> None:
    if role.key is None or role.key.length == 0:
        return
    payload_max = source.slot_bytes - SLOT_HEADER_BYTES
    if role.key.offset + role.key.length > payload_max:
        found.add(
            "SPEC_RANGE_OUTSIDE",
            draft.place("role", role.name, "key"),
            seen=range_text(ByteRange(role.key.offset, role.key.length)),
            wanted=f"bytes within the longest message of {shown(source.name)}, {payload_max} "
            "bytes (slot_bytes less 16)",
            fix="move the range, or raise slot_bytes",
        )
