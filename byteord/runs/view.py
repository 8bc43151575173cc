"""What others see of runs.

Immutable values, one for each message of the API, and nothing that acts. Owns the shapes that the
manager hands out and that the history keeps. All times are nanoseconds: `*_unix_ns` since the
epoch, everything else a duration.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from byteord.deployment.model import Deployment
from byteord.runs.replay_job import ReplayJob
from byteord.runs.state import RunState
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import Spec
from byteord.tuning.knobs import Knob

CHUNK_BYTES_MAX = 1 << 20
"""Largest piece of input or output that passes between a client and a run."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A run that validation has let in.

    Nothing of it is checked again, except for ceilings and code.
    """

    spec: Spec | LaneGraph
    deployment: Deployment
    single_process: bool = False
    client_input: bool = False
    client_output: bool = False
    principal: str = ""
    approval: bytes = b""
    """The credential that came with the request; empty: none."""
    request_id: str = ""
    asked_ns: int = 0
    """When it was asked for, CLOCK_MONOTONIC: its start counts from then. 0: from its regions."""
    run_id: str = ""
    """From `new_run_id`, for callers that must know it before the run starts; empty: made here."""
    replay: ReplayJob | None = None
    """What is replayed; None: an ordinary run."""


@dataclass(frozen=True, slots=True)
class InputChunk:
    """Bytes for an ingress, at most 1 MiB.

    The last one has `end` with the length and CRC32C of the whole.
    """

    data: bytes
    offset: int
    end: bool = False
    total_bytes: int = 0
    crc32c: int = 0


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """Bytes of an egress, at most 1 MiB.

    The last one has `end` with the length and CRC32C of the whole.
    """

    data: bytes
    offset: int
    end: bool = False
    total_bytes: int = 0
    crc32c: int = 0


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One statement about a run; `status` is `true`, `false` or `unknown`."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since_unix_ns: int = 0


@dataclass(frozen=True, slots=True)
class FailureView:
    """What made a run fail; `sequence` is None when no message was in hand."""

    reason: str
    role: str = ""
    stage: str = ""
    sequence: int | None = None
    message_sha256: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ErrorView:
    """One distinct error of a role."""

    code: str
    count: int
    first_sequence: int | None
    text: str


@dataclass(frozen=True, slots=True)
class RoleView:
    """One role as the control region shows it."""

    name: str
    kind: str
    stage: str
    state: str
    worker: int
    """Index of the worker that hosts it; -1: a process outside the run plays it, a client."""
    received: int = 0
    published: int = 0
    dropped: int = 0
    skipped: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    sequence: int = 0
    lag_slots: int = 0
    bytes: int = 0
    service_ns_p50: int = 0
    service_ns_p99: int = 0
    latency_ns_p50: int = 0
    latency_ns_p99: int = 0
    errors: tuple[ErrorView, ...] = ()
    report: Mapping[str, int] = field(default_factory=dict)
    """What the stage itself counts, in its own order."""


@dataclass(frozen=True, slots=True)
class JitterView:
    """Gaps of a worker's loop: time that somebody else had its CPU."""

    gaps: int = 0
    stolen_ns: int = 0
    gap_ns_p50: int = 0
    gap_ns_p99: int = 0
    gap_ns_p999: int = 0
    gap_ns_max: int = 0
    gap_ns_min: int = 0
    """Shortest stretch that counts."""


@dataclass(frozen=True, slots=True)
class ConsumerView:
    """One consumer of a lane: what it has got, what waits for it, what it lost."""

    role: str
    lossy: bool = False
    consumed: int = 0
    lag_slots: int = 0
    missed: int = 0
    nonsense: int = 0


@dataclass(frozen=True, slots=True)
class LaneStatusView:
    """One lane of a LaneGraph as the sequences show it."""

    name: str
    kind: str
    on_full: str = "block"
    capacity: int = 0
    slot_bytes: int = 0
    stripes: int = 1
    depth: int = 0
    published: int = 0
    consumed: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    overruns: int = 0
    full: bool = False
    held_by: str = ""
    producers: tuple[str, ...] = ()
    consumers: tuple[ConsumerView, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldView:
    """A role that cannot go on because a lane is full, or empty and its writer silent.

    `by` is who is to blame, `root` in the end.
    """

    role: str
    lane: str
    by: str
    lag_slots: int
    root: str
    message: str


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker process; `pid` is 0 while it does not run, `exit` empty until it ended once."""

    index: int
    pid: int
    state: str
    roles: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    restarts: int = 0
    heartbeat_age_ns: int = 0
    cycle_ns_max: int = 0
    exit: str = ""
    rss_bytes: int = 0
    tuning: tuple[Knob, ...] = ()
    """In the order of `byteord.tuning.knobs.KNOBS`; empty until the worker was read back."""
    jitter: JitterView | None = None
    """None until its regions could be read."""
    confinement: str = ""
    """What the kernel says its process is confined by; empty: it is not, and need not be."""


@dataclass(frozen=True, slots=True)
class EffectView:
    """One effect of one role; `mode` is `act` or `record`.

    Messages so far: `done` outside (twice where a crash came between), those that `would` have been
    in a dry run, that were `held` without a lease, and that were set aside as `dead_letters`.
    """

    role: str
    capability: str
    target: str
    mode: str
    done: int = 0
    would: int = 0
    held: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class EffectsView:
    """What a run does outside, and whether it may now.

    `lease` is `none`, `held`, `lost` or `dry_run`; `covered_until_unix_ns` 0: no approval needed.
    """

    effects: tuple[EffectView, ...]
    lease: str
    policy: str = "hold"
    reason: str = ""
    message: str = ""
    approval_id: str = ""
    signers: tuple[str, ...] = ()
    assurance: str = ""
    covered_until_unix_ns: int = 0


@dataclass(frozen=True, slots=True)
class StreamView:
    """One recorded stream: what came, what is kept of it, what is missing, what still waits."""

    stream: str
    """`in`, `out` or `choices`."""
    name: str
    """Of the endpoint or role."""
    state: str = "ok"
    """`ok`, `disk_full`, `failed` or `unsynced`."""
    seen: int = 0
    kept: int = 0
    bytes: int = 0
    lost: int = 0
    lost_disk: int = 0
    """Of them: since the disk had no room."""
    gaps: int = 0
    lag_bytes: int = 0
    """Handed over, and not dealt with yet."""


@dataclass(frozen=True, slots=True)
class CaptureView:
    """How a run is recorded, and how that goes."""

    directory: str
    keep: str
    outputs: str
    on_full: str
    streams: tuple[StreamView, ...] = ()


@dataclass(frozen=True, slots=True)
class GovernanceSample:
    """Policy, leases and audit of a daemon at one moment. Times are seconds since the epoch."""

    decisions: Mapping[str, int] = field(default_factory=dict)
    without_lease: int = 0
    expiry_unix: float = 0.0
    """End of the approval that ends first, of those that live runs depend on; 0: none."""
    audit_records: int = 0
    audit_checkpoint_unix: float = 0.0
    audit_writable: bool = True


@dataclass(frozen=True, slots=True)
class RunView:
    """One run. `ready_ns` and `first_message_ns` count from its start; 0 means not yet."""

    id: str
    name: str
    state: RunState
    conditions: tuple[ConditionView, ...] = ()
    failure: FailureView | None = None
    spec_sha256: str = ""
    deployment_sha256: str = ""
    created_unix_ns: int = 0
    ended_unix_ns: int = 0
    first_message_ns: int = 0
    ready_ns: int = 0
    single_process: bool = False
    workers: tuple[WorkerView, ...] = ()
    roles: tuple[RoleView, ...] = ()
    shim_pid: int = 0
    region_directory: str = ""
    code_digests: Mapping[str, str] = field(default_factory=dict)
    revision: int = 0
    principal: str = ""
    lanes: tuple[LaneStatusView, ...] = ()
    holds: tuple[HoldView, ...] = ()
    effects: EffectsView | None = None
    capture: CaptureView | None = None
    """None: it is not recorded."""

    @property
    def ended(self) -> bool:
        """Tell whether nothing will happen to it any more."""
        return self.state.terminal


class WatchKind(enum.StrEnum):
    """What a watch event says; values as in the API."""

    SNAPSHOT = "snapshot"
    CHANGED = "changed"
    ENDED = "ended"
    TOO_OLD = "too_old"
    GOING_DOWN = "going_down"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch, which can be resumed after `revision`.

    `run` is None for the last two kinds.
    """

    kind: WatchKind
    run: RunView | None
    revision: int
