"""What a deployment says of recording its runs, and where the recorder's tapes lie in a plan.

Pure. What is written where is `byteord.regions.captures`; what the daemon allows is
`authority_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byteord.spec.findings import Collector, Severity, shown
from byteord.spec.lane_model import Sync
from byteord.spec.model import EndpointKind

KEEPS = ("all", "last", "sample")
OUTPUTS = ("digest", "messages")
ON_FULL = ("degrade", "wait")
SYNCS = tuple(str(each) for each in Sync)
BUFFER_BYTES_MIN = 1 << 20
SEGMENT_BYTES_MIN = 1 << 17
TAPE_SLOT_BYTES = 4096
_LEAST_SLOTS = BUFFER_BYTES_MIN // TAPE_SLOT_BYTES


@dataclass(frozen=True, slots=True)
class Capture:
    """How the runs of a deployment are recorded; without a directory they are not."""

    directory: str = ""
    keep: str = "all"
    last_messages: int = 0
    last_time_s: int = 0
    sample_every: int = 0
    outputs: str = "digest"
    on_full: str = "degrade"
    segment_bytes: int = 16 << 20
    retention_bytes: int = 0
    """Of each stream; 0: everything stays."""
    buffer_bytes: int = 16 << 20
    """Shared memory between an end of the run and the recorder, of each stream."""
    sync: str = "interval"
    sync_interval_ms: int = 1000

    @property
    def on(self) -> bool:
        """Tell whether runs are recorded."""
        return bool(self.directory)


@dataclass(frozen=True, slots=True)
class TapePlan:
    """One stream that is recorded: where a unit hands it over, and what it is."""

    file: str
    stream: str
    """`in`, `out` or `choices`: the directory of what is kept of it."""
    name: str
    """Of the endpoint or role."""
    role: int
    unit: int
    member: int
    kind: str
    """How the unit comes by it; a key of `byteord._cext.capture.KINDS`."""
    ports: int = 0
    """Of kind `lane` bit per port of the unit that reads what a client publishes, of kind `offer`
    of the one that writes what a client takes."""

    @property
    def counted(self) -> bool:
        """Tell whether the role counts what it hands over: then it is known what is not there."""
        return self.kind in {"in", "out", "offer"}


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """How one run is recorded."""

    directory: str
    """Of the deployment, absolute: the run's own lies beneath it, by its id."""
    keep: str
    last_messages: int
    last_time_s: int
    sample_every: int
    outputs: str
    on_full: str
    segment_bytes: int
    retention_bytes: int
    tape_slots: int
    """Slots of `TAPE_SLOT_BYTES` of the tape of an end."""
    hash_seed: int
    """PYTHONHASHSEED of its workers."""
    tapes: tuple[TapePlan, ...]
    sync: str = "none"
    sync_interval_ms: int = 0

    def slots_of(self, tape: TapePlan) -> int:
        """Return the slots of a tape: choices take far less than messages."""
        return choices_slots(self.tape_slots) if tape.stream == "choices" else self.tape_slots

    @property
    def memory_bytes(self) -> int:
        """Return the shared memory of all tapes."""
        return sum(tape_bytes(self.slots_of(tape)) for tape in self.tapes)

    @classmethod
    def from_raw(cls, raw: dict[str, Any]) -> CapturePlan:
        """Return what the JSON of a plan says."""
        raw["tapes"] = tuple(TapePlan(**tape) for tape in raw["tapes"])
        return cls(**raw)


def capture_of(typed: Mapping[str, Any]) -> Capture:
    """Return what a valid typed table says."""
    given = {key: value for key, value in typed.items() if value is not None}
    return Capture(**given)


def flat_capture(capture: Capture) -> dict[str, str | int | bool]:
    """Return the canonical keys and values; nothing where nothing is recorded."""
    if not capture.on:
        return {}
    values = {f"capture.{key}": getattr(capture, key) for key in Capture.__slots__}
    return {key: value for key, value in values.items() if value}


def tape_slots(capture: Capture) -> int:
    """Return the slots of each tape: a power of two."""
    return 1 << max(capture.buffer_bytes // TAPE_SLOT_BYTES - 1, 1).bit_length()


def choices_slots(slots: int) -> int:
    """Return the slots of a tape of choices, where the tape of an end has so many."""
    return max(slots // 8, _LEAST_SLOTS)


def tapes_bytes(capture: Capture, *, ends: int, roles: int) -> int:
    """Return the most shared memory that the tapes of a run take, every role choosing."""
    if not capture.on:
        return 0
    slots = tape_slots(capture)
    return ends * tape_bytes(slots) + roles * tape_bytes(choices_slots(slots))


def tape_bytes(slots: int) -> int:
    """Return the bytes of shared memory that a tape takes."""
    return slots * TAPE_SLOT_BYTES + 2 * TAPE_SLOT_BYTES


def check_capture(typed: Mapping[str, Any], found: Collector) -> None:
    """Report a table that does not say how much is kept, or says it twice."""
    capture, at = typed["capture"], ("capture",)
    said = [
        key for key, value in capture.items() if value not in (None, "", 0) and key != "directory"
    ]
    defaults = Capture()
    said = [key for key in said if capture[key] != getattr(defaults, key)]
    if not capture["directory"]:
        if said:
            found.add(
                "DEPLOYMENT_CAPTURE_DIRECTORY",
                (*at, "directory"),
                seen=f"nothing, and {', '.join(sorted(said))}",
                wanted="a directory: without one nothing is recorded",
                fix="add directory, or delete the table",
            )
        return
    wants = {"last": ("last_messages", "last_time_s"), "sample": ("sample_every",)}
    for keep, keys in wants.items():
        given = [key for key in keys if capture[key]]
        if capture["keep"] == keep and not given:
            found.add(
                "DEPLOYMENT_CAPTURE_BOUND_MISSING",
                (*at, keys[0]),
                seen="nothing",
                wanted=f'{" or ".join(keys)} with keep = "{keep}"',
                fix='add it, or write keep = "all"',
            )
        for key in given if capture["keep"] != keep else ():
            found.add(
                "DEPLOYMENT_CAPTURE_BOUND_UNUSED",
                (*at, key),
                seen=shown(capture[key]),
                wanted=f"nothing with keep = {shown(capture['keep'])}",
                fix=f'delete it, or write keep = "{keep}"',
            )
    if capture["sync_interval_ms"] is not None and capture["sync"] != Sync.INTERVAL:
        found.add(
            "DEPLOYMENT_CAPTURE_BOUND_UNUSED",
            (*at, "sync_interval_ms"),
            seen=shown(capture["sync_interval_ms"]),
            wanted=f"nothing with sync = {shown(capture['sync'])}",
            fix='delete it, or write sync = "interval"',
        )
    if 0 < capture["retention_bytes"] < 2 * capture["segment_bytes"]:
        found.add(
            "DEPLOYMENT_CAPTURE_RETENTION_TOO_SMALL",
            (*at, "retention_bytes"),
            seen=shown(capture["retention_bytes"]),
            wanted=f"0, or two segments of {capture['segment_bytes']} bytes and more",
            fix="make it larger, or segment_bytes smaller",
        )


def check_capture_ends(
    capture: Mapping[str, Any],
    clients: Mapping[str, EndpointKind],
    *,
    ring_shards: int,
    found: Collector,
) -> None:
    """Report endpoints played by clients that cannot be recorded.

    `ring_shards`: of a SingleRing; 1 for a LaneGraph.
    """
    if not capture["directory"]:
        return
    for name, kind in clients.items() if ring_shards > 1 else ():
        if kind is EndpointKind.EGRESS:
            found.add(
                "DEPLOYMENT_CAPTURE_CLIENT",
                ("adapters", name, "kind"),
                seen="client, in a deployment that is recorded",
                wanted="an adapter of a worker, if what leaves there is to be in the capture: what "
                "a client takes of several shards is not recorded",
                fix="nothing, if what enters is enough",
                severity=Severity.NOTE,
            )
        else:
            found.add(
                "DEPLOYMENT_CAPTURE_CLIENT",
                ("adapters", name, "kind"),
                seen="client, in a deployment that is recorded",
                wanted="an adapter of a worker: what a client publishes into several shards is not "
                "recorded",
                fix="bind another adapter, or delete [capture]",
            )
