"""A LaneGraph spec as values: lanes, roles and endpoints, immutable and complete after defaults.

Owns the shape of the lowered graph, whatever form its author wrote. It must not know about
deployments.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from byteord.spec.model import (
    CAPACITY_DEFAULT,
    SLOT_BYTES_DEFAULT,
    ByteRange,
    EndpointKind,
    Model,
    Stage,
)

LANES_MAX = 256
ROLES_MAX = 256
ENDPOINTS_MAX = 64
PORTS_MAX = 32
"""Lanes that one router writes or one merge reads."""
FANOUT_CONSUMERS_MAX = 8
PUBLISHERS_MAX = 64
IN_PLACE_STAGES_MAX = 4
"""Stages that work in place on one lane of kind `sequenced_slots`."""
OUTPUTS_MAX = 4096
"""Most messages that a stage may make of one."""
LOSSY_SHARE = 4
"""A batch takes at most this part of a lane with lossy consumers: the rest is their window."""
SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_DEFAULT = 1 << 16, 1 << 30, 1 << 24
MEMORY_SEGMENTS_DEFAULT = 4
"""Segments that a journal in shared memory keeps unless `retention_bytes` says otherwise."""
SYNC_INTERVAL_MS_DEFAULT = 100


class LaneKind(enum.StrEnum):
    """What a lane promises to its producers and consumers."""

    EVENTS = "events"
    FANOUT_BROADCAST = "fanout_broadcast"
    JOURNAL = "journal"
    SEQUENCED_SLOTS = "sequenced_slots"


GATED_KINDS = (LaneKind.JOURNAL, LaneKind.SEQUENCED_SLOTS)
"""Kinds that a spec must name in `allow_lanes` outside `dev`."""


class OnFull(enum.StrEnum):
    """What a producer does when its lane has no room."""

    BLOCK = "block"
    DROP = "drop"


class RoleKind(enum.StrEnum):
    """What a role does with messages."""

    STAGE = "stage"
    BRIDGE = "bridge"
    ROUTER = "router"
    MERGE = "merge"


class RouterMode(enum.StrEnum):
    """Which of its lanes a router gives a message to."""

    BROADCAST = "broadcast"
    WORK_QUEUE = "work_queue"
    KEY_HASH = "key_hash"


class MergeMode(enum.StrEnum):
    """Which of its lanes a merge takes the next message from."""

    ROUND_ROBIN = "round_robin"
    PRIORITY = "priority"
    """The first lane of `rx` that has one."""
    ORDERED = "ordered"
    """The earliest ingress time; ties go to the earlier lane of `rx`."""


class Sync(enum.StrEnum):
    """When a durable journal is written through to the disk."""

    NONE = "none"
    INTERVAL = "interval"
    EVERY_BATCH = "every_batch"


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal keeps; the deployment says in which directory a durable one lies."""

    durable: bool = False
    segment_bytes: int = SEGMENT_BYTES_DEFAULT
    retention_bytes: int = 0
    """Oldest segments go beyond this; 0: all are kept, in shared memory four segments."""
    retention_s: int = 0
    """Segments whose last record is older go; 0: none goes for its age."""
    sync: Sync = Sync.NONE
    sync_interval_ms: int = SYNC_INTERVAL_MS_DEFAULT


@dataclass(frozen=True, slots=True)
class Lane:
    """A conduit between roles."""

    name: str
    kind: LaneKind = LaneKind.EVENTS
    capacity: int = CAPACITY_DEFAULT
    """Slots of the ring, of each ring where several producers write; a journal has none."""
    slot_bytes: int = SLOT_BYTES_DEFAULT
    """Bounds the longest message: 16 bytes of a slot are its header; for a journal too."""
    on_full: OnFull = OnFull.BLOCK
    publishers_max: int = 1
    """Rings of an `events` lane, one for each producer that can write at the same time."""
    lossy: tuple[str, ...] = ()
    """Consumers (roles and egress endpoints) that never stall a `fanout_broadcast` lane."""
    journal: Journal | None = None

    @property
    def batch_slots(self) -> int:
        """Return how many slots one batch may take."""
        return self.capacity // LOSSY_SHARE if self.lossy else self.capacity


@dataclass(frozen=True, slots=True)
class GraphRole:
    """One role of the lowered graph."""

    name: str
    kind: RoleKind
    rx: tuple[str, ...]
    """Lanes that it reads; one, but for a merge."""
    tx: tuple[str, ...]
    """Lanes that it writes: none (a stage that is a sink), one, or a router's several.

    A stage whose `tx` is its `rx` works in place, on a lane of kind `sequenced_slots`.
    """
    stage: Stage | None = None
    depends_on: tuple[str, ...] = ()
    """In place only: stages of the same lane that are done with a message before."""
    outputs_max: int = 1
    dead_letter: str = ""
    """Lane for the messages that a stage failed on."""
    mode: str = ""
    """`RouterMode` of a router, `MergeMode` of a merge."""
    key: ByteRange | None = None
    """What `key_hash` goes by."""

    @property
    def in_place(self) -> bool:
        """Tell whether it works in the slots of a `sequenced_slots` lane."""
        return self.kind is RoleKind.STAGE and bool(self.rx) and self.tx == self.rx


@dataclass(frozen=True, slots=True)
class LaneEndpoint:
    """A named place where bytes enter or leave a lane."""

    name: str
    kind: EndpointKind
    lane: str


@dataclass(frozen=True, slots=True)
class Inserted:
    """One lane or role that lowering added to what the author wrote."""

    what: str
    """`lane`, `bridge`, `router` or `merge`."""
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class LaneGraph:
    """A valid LaneGraph spec after defaults and lowering; `sha256` covers the authored document."""

    name: str
    on_full: OnFull
    allow_lanes: tuple[LaneKind, ...]
    lanes: tuple[Lane, ...]
    roles: tuple[GraphRole, ...]
    """In topological order, otherwise as declared."""
    endpoints: tuple[LaneEndpoint, ...]
    """Ingress first, otherwise as declared."""
    inserted: tuple[Inserted, ...]
    kv: bytes
    sha256: str
    model: Model = field(default=Model.LANE_GRAPH, init=False)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return what its stage roles compute, in their order."""
        return tuple(role.stage for role in self.roles if role.stage is not None)

    @property
    def egresses(self) -> tuple[LaneEndpoint, ...]:
        """Return the endpoints where bytes leave."""
        return tuple(end for end in self.endpoints if end.kind is EndpointKind.EGRESS)

    def lane(self, name: str) -> Lane:
        """Return a lane by name."""
        return next(lane for lane in self.lanes if lane.name == name)
