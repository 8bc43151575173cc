"""The plan of a run: what a shim starts, written once by the daemon, then only read.

A plan is plain data (JSON in `plan.json` of the run directory). It must not hold secrets.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from byteord.deployment.capture import CapturePlan

PLAN_VERSION = 1
STATE_DOUBLE_BYTES_MAX = 4096
"""As BYTEOR_STATE_DOUBLE_BYTES_MAX of the stage ABI."""


@dataclass(frozen=True, slots=True)
class RingPlan:
    """One ring region."""

    file: str
    capacity: int
    slot_bytes: int
    cells: int
    """Gating cells.

    SingleRing: one per stage, plus one where the egress is a role or a client of its own.
    LaneGraph: one per consumer that is not lossy; none when all are.
    """
    lane: int = -1
    """Index of its lane in `RunPlan.lanes`; -1 in a SingleRing."""


@dataclass(frozen=True, slots=True)
class JournalPlan:
    """How a lane of kind `journal` keeps its records."""

    durable: bool
    directory: str
    """Of a durable one, as the deployment gives it; empty: `file` in the run directory."""
    file: str
    """Region of one in shared memory; empty for a durable one."""
    segment_bytes: int
    retention_bytes: int
    """0: everything is kept; never 0 for one in shared memory."""
    retention_s: int
    """0: no record goes for its age."""
    sync: str
    """`none`, `interval` or `every_batch`."""
    sync_interval_ms: int


@dataclass(frozen=True, slots=True)
class ConsumerPlan:
    """One consumer of a lane."""

    role: int
    cell: int
    """Its gating cell in each ring of the lane; -1: none (lossy, or a reader of a journal)."""


@dataclass(frozen=True, slots=True)
class LanePlan:
    """One lane of a LaneGraph."""

    index: int
    name: str
    kind: str
    """`events`, `fanout_broadcast`, `journal` or `sequenced_slots`."""
    on_full: str
    """`block` or `drop`."""
    rings: tuple[int, ...]
    """Indices into `RunPlan.rings`, one per stripe; empty for a journal."""
    capacity: int
    """Slots of each ring; 0 for a journal."""
    slot_bytes: int
    consumers: tuple[ConsumerPlan, ...]
    """In the order of their cells; those without a cell last."""
    producers: tuple[int, ...]
    """Role indices, in the order of their stripes; a role that sends dead letters is one."""
    publishers_max: int
    journal: JournalPlan | None = None


@dataclass(frozen=True, slots=True)
class RxPlan:
    """One lane that a role reads."""

    lane: int
    cell: int
    """Its gating cell, the same in every stripe; -1: lossy, or a reader of a journal."""
    lossy: bool = False
    depends: tuple[int, ...] = ()
    """Cells that it follows, on `sequenced_slots` only; empty: the producer."""


@dataclass(frozen=True, slots=True)
class TxPlan:
    """One lane that a role writes."""

    lane: int
    stripe: int
    """First ring of the lane that it owns; -1: none (in place on `sequenced_slots`, a journal)."""
    stripes: int = 1
    """Rings that it owns; more than one for an endpoint of clients: one per publisher."""


@dataclass(frozen=True, slots=True)
class RolePlan:
    """One place in the graph that runs."""

    index: int
    name: str
    """Unique in the run: the endpoint's or stage's name, `#SHARD` added when there are several."""
    kind: str
    """`ingress`, `stage` or `egress`; in a LaneGraph also `bridge`, `router` or `merge`."""
    shard: int
    """Ring it works on; -1: all of them. 0 in a LaneGraph."""
    cell: int
    """Its gating cell; -1: the producer, or an egress inside the final stage's worker.

    -1 in a LaneGraph, where `rx` has the cells.
    """
    depends: tuple[int, ...] = ()
    """Cells it follows; empty: the producer. Empty in a LaneGraph."""
    stage: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    mutates: tuple[tuple[int, int], ...] = ()
    drops: bool = False
    resizes: bool = False
    state: str = "stateless"
    state_bytes: int = 0
    digest: str = ""
    confined: bool = False
    """Its code is loaded only once the process has no way to have effects."""
    report: tuple[str, ...] = ()
    """Names of the counters that the stage keeps in its state area (`byteord.regions.report`)."""
    adapter: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    rx: tuple[RxPlan, ...] = ()
    """Lanes that it reads, in the order of the spec; LaneGraph only, as all below."""
    tx: tuple[TxPlan, ...] = ()
    """Lanes that it writes, in the order of the spec."""
    mode: str = ""
    """Router: `broadcast`, `work_queue`, `key_hash`.

    Merge: `round_robin`, `priority`, `ordered`.
    """
    key: tuple[int, int] | None = None
    """Offset and length of the payload bytes that `key_hash` goes by."""
    outputs_max: int = 1
    """Most messages that the stage makes of one; at most the capacity of every tx lane."""
    dead_letter: TxPlan | None = None
    """Where messages go that the stage failed on, with `failure_policy` `dead_letter`."""

    @property
    def in_place(self) -> bool:
        """Tell whether it is a stage that works in the slots of a `sequenced_slots` lane."""
        return [rx.lane for rx in self.rx] == [tx.lane for tx in self.tx] and bool(self.rx)

    @property
    def is_python(self) -> bool:
        """Tell whether the role runs Python code on its hot path."""
        return self.stage.startswith(("python:", "http_post:", "exec:"))


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """Roles that are called in turn over one batch and commit as one.

    In topological order. In a LaneGraph at most 8 roles with at most 64 ports: rx, tx, dead letter.
    """

    index: int
    roles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One process; each inner tuple of `threads` holds the units of one thread."""

    index: int
    name: str
    threads: tuple[tuple[int, ...], ...]
    cpus: tuple[int, ...] = ()
    """CPUs it runs on; with one for each of several threads, they are meant in that order."""

    def cpus_of(self, thread: int) -> tuple[int, ...]:
        """Return the CPUs of one of its threads; none: any."""
        if len(self.threads) > 1 and len(self.cpus) == len(self.threads):
            return (self.cpus[thread],)
        return self.cpus


@dataclass(frozen=True, slots=True)
class EffectPlan:
    """One capability of one role, as policy decided it when the run was admitted."""

    role: int
    """Index of the role."""
    capability: str
    target: str
    """What it acts on: a URL, a program, an address, a path, or the stage's own key."""
    mode: str
    """`act`: done while the lease of the run lasts; `record`: written down, never done."""


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """What every worker asks of the kernel; where each runs stands in `WorkerPlan.cpus`."""

    profile: str = "default"
    sched: str = "other"
    priority: int = 0
    mlock: bool = False
    prefault: bool = False
    huge_pages: bool = False
    timer_slack_ns: int = 1
    cpu_dma_latency_us: int = -1
    """-1: not held."""
    isolated: bool = False
    """CPUs of workers are meant to be isolated ones."""
    partition: str = ""
    """Path of the isolated cpuset partition that workers enter; empty: none."""
    strict: bool = False
    """The run must not begin unless all of it was applied."""
    housekeeping: tuple[int, ...] = ()
    """CPUs for everything else, the shim among it; empty: as it comes."""


CALLS_FILE = "calls.bin"
CALLS_BYTES = 40
GONE_FILE = "gone.bin"
GONE_BYTES = 24
"""In the run directory of a replay: by role 64 bits, how many calls of it were not as then."""


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What makes a run a replay, besides its ends."""

    run_id: str
    """Of the recorded run: part of idempotency keys; empty: it is not known."""
    sequence_base: int = 0
    """What is added to a sequence to have the recorded one."""
    actions_max: int = 0
    """Attempted actions of all roles together; 0: no limit."""
    traces: bool = False
    """Each worker has an area in which one message is followed."""
    hash_seed: int | None = None
    """PYTHONHASHSEED of the recorded run; None: it is not known."""
    choices: dict[str, str] = field(default_factory=dict)
    """Directories of recorded choices by role, which are made again."""
    exact: bool = False
    """A call of a stage waits for all messages that it had then."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that shim and workers need to know."""

    version: int
    run_id: str
    name: str
    spec_sha256: str
    deployment_sha256: str
    environment: str
    mode: str
    """`processes`, or `single_process` for `run --sp`."""
    rings: tuple[RingPlan, ...]
    roles: tuple[RolePlan, ...]
    units: tuple[UnitPlan, ...]
    workers: tuple[WorkerPlan, ...]
    shard_key: tuple[int, int] | None
    wait: str
    sleep_ns_max: int
    max_batch: int
    undo_bytes: int
    failure_policy: str
    restarts_max: int
    restart_window_s: int
    restart_backoff_ms: int
    stage_timeout_s: int
    drain_timeout_s: int
    code_dirs: tuple[str, ...]
    read_dirs: tuple[str, ...]
    write_dirs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """Why the plan is as it is, for `describe`."""
    schemas: tuple[str, ...] = ()
    """Contents of the schema files, as read when the run was admitted."""
    hash_key: str = ""
    """`secret:NAME` of the key of `hash` rules; the secret itself is never in a plan."""
    secrets_dir: str = ""
    actions: dict[str, Any] = field(default_factory=dict)
    """`byteord.deployment.model.ActionLimits` of action stages."""
    ca_text: str = ""
    """PEM of the authorities that `http_post` trusts; empty: the system's."""
    url_prefixes: tuple[str, ...] = ()
    exec_allowed: tuple[str, ...] = ()
    effects: tuple[EffectPlan, ...] = ()
    effects_policy: str = "hold"
    """What an effect does without a lease: `hold`, `dead_letter` or `stop`."""
    actions_dir: str = ""
    """Where workers write down what they do outside; empty: the run's directory."""
    code_store: str = ""
    """Where the code was copied to when it was hashed, by digest; empty: it is in `code_dirs`."""
    model: str = "single_ring"
    lanes: tuple[LanePlan, ...] = ()
    """Of a LaneGraph; its roles stand in topological order."""
    tuning: TuningPlan = field(default_factory=TuningPlan)
    capture: CapturePlan | None = None
    """None: the run is not recorded."""
    replay: ReplayPlan | None = None
    """None: an ordinary run."""
    seed: int = 0
    """63 bits, from which its stages get theirs: `role_seed`."""

    @property
    def hash_seed(self) -> int | None:
        """Return PYTHONHASHSEED of its workers; None: any."""
        if self.capture is not None:
            return self.capture.hash_seed
        return self.replay.hash_seed if self.replay is not None else None

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunPlan:
        """Read a plan back; raise ValueError for another version."""
        raw = json.loads(text)
        if raw.get("version") != PLAN_VERSION:
            seen = raw.get("version")
            message = f"plan version {seen!r}: this byteor reads version {PLAN_VERSION}"
            raise ValueError(message)
        raw["rings"] = tuple(RingPlan(**ring) for ring in raw["rings"])
        raw["lanes"] = tuple(_lane(lane) for lane in raw.get("lanes", ()))
        raw["roles"] = tuple(_role(role) for role in raw["roles"])
        raw["units"] = tuple(UnitPlan(unit["index"], tuple(unit["roles"])) for unit in raw["units"])
        raw["workers"] = tuple(_worker(worker) for worker in raw["workers"])
        raw["shard_key"] = tuple(raw["shard_key"]) if raw["shard_key"] else None
        for key in ("code_dirs", "read_dirs", "write_dirs", "notes"):
            raw[key] = tuple(raw[key])
        for key in ("url_prefixes", "exec_allowed"):
            raw[key] = tuple(raw.get(key, ()))
        raw["schemas"] = tuple(raw.get("schemas", ()))
        raw["effects"] = tuple(EffectPlan(**effect) for effect in raw.get("effects", ()))
        tuning = raw.get("tuning", {})
        tuning["housekeeping"] = tuple(tuning.get("housekeeping", ()))
        raw["tuning"] = TuningPlan(**tuning)
        raw["capture"] = CapturePlan.from_raw(raw["capture"]) if raw.get("capture") else None
        raw["replay"] = ReplayPlan(**raw["replay"]) if raw.get("replay") else None
        return cls(**raw)


UNIT_ROLES_MAX = 8
UNIT_PORTS_MAX = 64


def slot_payload_bytes(plan: RunPlan) -> int:
    """Return the most bytes that a payload of a SingleRing run can have."""
    return plan.rings[0].slot_bytes - 16


def role_seed(plan: RunPlan, role: RolePlan) -> int:
    """Return the seed of a stage: 64 bits that follow from the run's seed and its name alone."""
    text = f"{plan.seed}:{role.name}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def role_payload_bytes(plan: RunPlan, role: RolePlan) -> int:
    """Return the most bytes that a payload can have where a role works: what it leaves, or takes.

    For a stage of a LaneGraph the least of its outputs.
    """
    if plan.model != "lane_graph":
        return slot_payload_bytes(plan)
    ports: tuple[RxPlan | TxPlan, ...] = role.tx or role.rx
    return min(plan.lanes[port.lane].slot_bytes for port in ports) - 16


def unit_ranges(plan: RunPlan, unit: UnitPlan) -> tuple[tuple[int, int], ...]:
    """Return the payload ranges that the stages of a unit that works in place change.

    One range to the end when they overlap or any is open.
    """
    ranges = sorted({part for role in unit.roles for part in plan.roles[role].mutates})
    payload = role_payload_bytes(plan, plan.roles[unit.roles[0]])
    ends = [offset + (length or payload) for offset, length in ranges]
    if any(end > start for end, (start, _) in zip(ends, ranges[1:], strict=False)):
        return ((ranges[0][0], 0),)
    return tuple(ranges)


def undo_layout(plan: RunPlan, unit: UnitPlan) -> tuple[int, int, int]:
    """Return the bytes of the undo area of a unit that works in place.

    They are those of all slot entries, of the log of touched state, and of one entry.
    Both parts are at most `undo_bytes`, which thereby bounds the batch; the second part is 0
    without large state.
    """
    roles = [plan.roles[role] for role in unit.roles]
    payload = role_payload_bytes(plan, roles[0])
    stride = 8 + sum(
        length or max(payload - offset, 0) for offset, length in unit_ranges(plan, unit)
    )
    stride = (stride + 7) // 8 * 8
    changes = plan.failure_policy == "skip" or any(
        role.mutates or role.drops or role.resizes for role in roles
    )
    slots = min(plan.max_batch * stride, max(plan.undo_bytes, stride)) if changes else 64
    return (slots + 63) // 64 * 64, undo_log_bytes(plan, unit), stride if changes else 0


def undo_log_bytes(plan: RunPlan, unit: UnitPlan) -> int:
    """Return the bytes of a unit's log of touched state: 0 when none of its state is large."""
    sizes = [plan.roles[role].state_bytes for role in unit.roles]
    large = [size for size in sizes if size > STATE_DOUBLE_BYTES_MAX]
    log = max(plan.undo_bytes, *(size + 64 for size in large)) if large else 0
    return (log + 63) // 64 * 64


def _role(raw: dict[str, Any]) -> RolePlan:
    raw["depends"] = tuple(raw["depends"])
    raw["report"] = tuple(raw.get("report", ()))
    raw["mutates"] = tuple((offset, length) for offset, length in raw["mutates"])
    raw["rx"] = tuple(
        RxPlan(rx["lane"], rx["cell"], rx["lossy"], tuple(rx["depends"]))
        for rx in raw.get("rx", ())
    )
    raw["tx"] = tuple(TxPlan(**tx) for tx in raw.get("tx", ()))
    raw["key"] = tuple(raw["key"]) if raw.get("key") else None
    raw["dead_letter"] = TxPlan(**raw["dead_letter"]) if raw.get("dead_letter") else None
    return RolePlan(**raw)


def _lane(raw: dict[str, Any]) -> LanePlan:
    raw["rings"], raw["producers"] = tuple(raw["rings"]), tuple(raw["producers"])
    raw["consumers"] = tuple(ConsumerPlan(**consumer) for consumer in raw["consumers"])
    raw["journal"] = JournalPlan(**raw["journal"]) if raw["journal"] else None
    return LanePlan(**raw)


def _worker(raw: dict[str, Any]) -> WorkerPlan:
    threads = tuple(tuple(thread) for thread in raw["threads"])
    return WorkerPlan(raw["index"], raw["name"], threads, tuple(raw["cpus"]))
