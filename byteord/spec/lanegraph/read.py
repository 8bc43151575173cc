"""From the rows of lanes, roles and endpoints to values, each by itself.

Owns which keys belong to which kind. What rows say together is `port_rules` and `shape_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byteord.spec.findings import Collector, Path, shown
from byteord.spec.lane_model import (
    PORTS_MAX,
    SEGMENT_BYTES_DEFAULT,
    SYNC_INTERVAL_MS_DEFAULT,
    GraphRole,
    Journal,
    Lane,
    LaneKind,
    MergeMode,
    OnFull,
    RoleKind,
    RouterMode,
    Sync,
)
from byteord.spec.lanegraph.keys import JOURNAL_KEYS
from byteord.spec.model import CAPACITY_DEFAULT, SLOT_BYTES_DEFAULT, ByteRange, Stage
from byteord.spec.rules import check_sizes

_STAGE_KEYS = (
    "stage",
    "config",
    "mutates",
    "drops",
    "resizes",
    "state",
    "state_bytes",
    "deterministic",
    "effects",
    "digest",
    "depends_on",
    "outputs_max",
    "dead_letter",
)
_MODES = {RoleKind.ROUTER: tuple(map(str, RouterMode)), RoleKind.MERGE: tuple(map(str, MergeMode))}
_PORTS = {
    RoleKind.STAGE: ((1, 1), (0, 1)),
    RoleKind.BRIDGE: ((1, 1), (1, 1)),
    RoleKind.ROUTER: ((1, 1), (2, PORTS_MAX)),
    RoleKind.MERGE: ((2, PORTS_MAX), (1, 1)),
}
"""How many lanes each kind reads and writes, fewest and most."""


def lane_of(row: Mapping[str, Any], on_full: OnFull) -> Lane:
    """Return the lane that a row describes."""
    kind = LaneKind(row["kind"])
    is_journal = kind is LaneKind.JOURNAL
    return Lane(
        name=row["name"] or "",
        kind=kind,
        capacity=0 if is_journal else row["capacity"] or CAPACITY_DEFAULT,
        slot_bytes=row["slot_bytes"] or SLOT_BYTES_DEFAULT,
        on_full=OnFull(row["on_full"] or on_full),
        publishers_max=(row["publishers_max"] or 1) if kind is LaneKind.EVENTS else 1,
        lossy=row["lossy"] if kind is LaneKind.FANOUT_BROADCAST else (),
        journal=journal_of(row) if is_journal else None,
    )


def journal_of(row: Mapping[str, Any]) -> Journal:
    """Return what a row says of a journal."""
    return Journal(
        durable=bool(row["durable"]),
        segment_bytes=row["segment_bytes"] or SEGMENT_BYTES_DEFAULT,
        retention_bytes=row["retention_bytes"] or 0,
        retention_s=row["retention_s"] or 0,
        sync=Sync(row["sync"] or Sync.NONE),
        sync_interval_ms=row["sync_interval_ms"] or SYNC_INTERVAL_MS_DEFAULT,
    )


def check_lane(row: Mapping[str, Any], path: Path, found: Collector) -> None:
    """Report sizes that no lane has, and keys that lanes of its kind do not have."""
    kind = row["kind"]
    check_sizes(
        row["capacity"] or CAPACITY_DEFAULT, row["slot_bytes"] or SLOT_BYTES_DEFAULT, path, found
    )
    is_journal = kind == LaneKind.JOURNAL
    if is_journal:
        check_journal(row, path, found)
    for key in ("capacity", "on_full") if is_journal else JOURNAL_KEYS:
        if row[key] is not None:
            _misplaced(path, key, f"a lane of kind {kind}", found)
    if (row["publishers_max"] or 1) > 1 and kind != LaneKind.EVENTS:
        _misplaced(path, "publishers_max", f"a lane of kind {kind}", found)
    if row["lossy"] and kind != LaneKind.FANOUT_BROADCAST:
        found.add(
            "SPEC_LOSSY_MISPLACED",
            (*path, "lossy"),
            seen=f"a lossy consumer of a lane of kind {kind}",
            wanted="lossy consumers on fanout_broadcast only"
            + (": readers of a journal never stall it" if is_journal else ""),
            fix='write kind = "fanout_broadcast", or delete lossy',
        )


def check_journal(row: Mapping[str, Any], path: Path, found: Collector) -> None:
    """Report what a journal cannot keep."""
    journal = journal_of(row)
    slot_bytes = row["slot_bytes"] or SLOT_BYTES_DEFAULT
    if journal.segment_bytes < 2 * slot_bytes:
        found.add(
            "SPEC_SEGMENT_TOO_SMALL",
            (*path, "segment_bytes"),
            seen=str(journal.segment_bytes),
            wanted=f"at least two of its longest records, {2 * slot_bytes} bytes",
            fix="raise segment_bytes, or lower slot_bytes",
        )
    if 0 < journal.retention_bytes < 2 * journal.segment_bytes:
        found.add(
            "SPEC_RETENTION_TOO_SMALL",
            (*path, "retention_bytes"),
            seen=str(journal.retention_bytes),
            wanted=f"0, or at least two segments, {2 * journal.segment_bytes} bytes: whole "
            "segments go, and one is being written",
            fix="raise retention_bytes, or lower segment_bytes",
        )
    if not journal.durable:
        for key in ("sync", "sync_interval_ms"):
            if row[key] not in (None, "none"):
                _misplaced(path, key, "a journal in shared memory", found, "write durable = true")
    elif row["sync_interval_ms"] is not None and journal.sync is not Sync.INTERVAL:
        _misplaced(
            path,
            "sync_interval_ms",
            f'a journal with sync = "{journal.sync}"',
            found,
            'write sync = "interval"',
        )


def _misplaced(
    path: Path, key: str, holder: str, found: Collector, instead: str = "choose another kind"
) -> None:
    found.add(
        "SPEC_KEY_MISPLACED",
        (*path, key),
        seen=f"{key} on {holder}",
        wanted=f"{key} where it means something; {holder} has none",
        fix=f"delete {key}, or {instead}",
    )


def role_of(row: Mapping[str, Any], stage: Stage | None) -> GraphRole | None:
    """Return the role that a row describes, or None without a kind."""
    if row["kind"] is None:
        return None
    kind = RoleKind(row["kind"])
    is_stage = kind is RoleKind.STAGE
    key = row["key"]
    return GraphRole(
        name=row["name"] or "",
        kind=kind,
        rx=row["rx"],
        tx=row["tx"],
        stage=stage,
        depends_on=row["depends_on"] if is_stage else (),
        outputs_max=(row["outputs_max"] or 1) if is_stage else 1,
        dead_letter=(row["dead_letter"] or "") if is_stage else "",
        mode=row["mode"] or "",
        key=ByteRange(*key) if key is not None and row["mode"] == RouterMode.KEY_HASH else None,
    )


def check_role(row: Mapping[str, Any], path: Path, found: Collector) -> None:
    """Report keys that a role of its kind lacks or does not have, and wrong counts of lanes."""
    if row["kind"] is None:
        return
    kind = RoleKind(row["kind"])
    holder = f"a role of kind {kind}"
    if kind is not RoleKind.STAGE:
        for key in _STAGE_KEYS:
            if row[key] not in (None, ()):
                _misplaced(path, key, holder, found)
    elif row["stage"] is None:
        missing(path, "stage", 'the stage\'s key, for example stage = "identity"', found)
    _check_mode(row, kind, path, found)
    _check_ports(row, kind, path, found)


def missing(path: Path, key: str, wanted: str, found: Collector) -> None:
    """Report a key that this kind of table needs."""
    if not found.is_bad((*path, key)):
        found.add("KEY_MISSING", (*path, key), seen="nothing", wanted=wanted, fix=f"add {key}")


def _check_mode(row: Mapping[str, Any], kind: RoleKind, path: Path, found: Collector) -> None:
    modes, mode, key = _MODES.get(kind, ()), row["mode"], row["key"]
    if modes and mode is None:
        missing(path, "mode", f"one of {', '.join(modes)}", found)
    elif modes and mode not in modes:
        found.add(
            "VALUE_CHOICE",
            (*path, "mode"),
            seen=shown(mode),
            wanted=f"one of {', '.join(modes)} on a {kind}",
            fix=f"choose one of {', '.join(modes)}",
        )
    elif not modes and mode is not None:
        _misplaced(path, "mode", f"a role of kind {kind}", found)
    if mode == RouterMode.KEY_HASH and kind is RoleKind.ROUTER:
        check_hash_key(key, path, found)
    elif key is not None:
        _misplaced(path, "key", f"a {kind} without key_hash", found, 'write mode = "key_hash"')


def check_hash_key(key: tuple[int, int] | None, path: Path, found: Collector) -> None:
    """Report a missing or empty key of `key_hash`."""
    if key is None:
        missing(path, "key", "the payload bytes that choose: { offset, length }", found)
    elif key[1] == 0:
        found.add(
            "SPEC_ROUTER_KEY_EMPTY",
            (*path, "key", "length"),
            seen="0",
            wanted="at least 1 byte",
            fix="give the length of the key in bytes",
        )


def _check_ports(row: Mapping[str, Any], kind: RoleKind, path: Path, found: Collector) -> None:
    for key, (least, most) in zip(("rx", "tx"), _PORTS[kind], strict=True):
        lanes: Sequence[str] = row[key]
        if found.is_bad((*path, key)):
            continue
        if not least <= len(lanes) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            found.add(
                "SPEC_PORT_COUNT",
                (*path, key),
                seen=f"{len(lanes)} lanes",
                wanted=f"{wanted} for a {kind}",
                fix=_PORT_FIX[key, len(lanes) > most],
            )
        for index, lane in enumerate(lanes):
            if lane in lanes[:index]:
                _twice(lane, (*path, key, str(index)), found)
    if row["dead_letter"] and row["dead_letter"] in (*row["rx"], *row["tx"]):
        _twice(row["dead_letter"], (*path, "dead_letter"), found)


_PORT_FIX = {
    ("rx", False): "name the lanes that it reads in rx",
    ("tx", False): "name the lanes that it writes in tx",
    ("rx", True): "let a role of kind merge bring several lanes together before it",
    ("tx", True): "let a role of kind router give messages to several lanes behind it",
}


def _twice(lane: str, path: Path, found: Collector) -> None:
    found.add(
        "SPEC_PORT_DUPLICATE",
        path,
        seen=f"{shown(lane)} again",
        wanted="each lane once in one role",
        fix="delete it, or name another lane",
    )
