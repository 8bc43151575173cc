"""The deployment as values: immutable, complete after defaults and flags.

Owns the shape of the document and the seams through which its validation learns about adapters.
It must not open anything.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from byteord.deployment.capture import Capture
from byteord.deployment.topology import Rights, Topology, flat_topology
from byteord.spec.model import ConfigKey, ConfigProblem, Scalar, Stage

CLIENT = "client"
"""Kind of the adapter that is a process of its own, not one of the run's workers."""


class Environment(enum.StrEnum):
    """Where a run happens; the daemon's configuration decides."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class Wait(enum.StrEnum):
    """What a role does while it has nothing to do."""

    SPIN = "spin"
    BACKOFF = "backoff"
    PARK = "park"


SLEEP_NS_MAX = {Wait.SPIN: 1_000_000, Wait.BACKOFF: 1_000_000, Wait.PARK: 10_000_000}
"""Longest sleep of a role that waits without being woken; a role that spins does not sleep."""


class Sched(enum.StrEnum):
    """Scheduling policy of a worker's loop."""

    OTHER = "other"
    FIFO = "fifo"
    RR = "rr"


class Fuse(enum.StrEnum):
    """Whether adjacent native roles share a worker and are called in turn."""

    AUTO = "auto"
    NEVER = "never"
    ALWAYS = "always"


class FailurePolicy(enum.StrEnum):
    """What a stage error does."""

    STOP_PIPELINE = "stop_pipeline"
    SKIP = "skip"
    RESTART = "restart"
    DEAD_LETTER = "dead_letter"
    """To the lane that the stage names; LaneGraph only."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter bound to an endpoint: a kind and its options (flattened as in `Stage.config`)."""

    kind: str
    options: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Roles of a LaneGraph that share a worker."""

    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the run is to be placed, how it waits, and what its workers ask of the kernel."""

    profile: str = "default"
    wait: Wait = Wait.BACKOFF
    pin: str | tuple[int, ...] = "none"
    """`none`, `balanced`, `physical`, or a list of CPUs given to workers in order."""
    fuse: Fuse = Fuse.AUTO
    sched: Sched = Sched.OTHER
    priority: int = 0
    """Of `fifo` and `rr`: 1 to 99; 0 with `other`."""
    mlock: bool = False
    prefault: bool = False
    huge_pages: bool = False
    cpu_dma_latency: int = -1
    """Longest wake-up latency of CPUs that is tolerated, microseconds; -1: nothing is asked."""
    allow_degraded: bool = False

    @property
    def realtime(self) -> bool:
        """Tell whether workers ask for a real-time policy."""
        return self.sched is not Sched.OTHER


@dataclass(frozen=True, slots=True)
class Failure:
    """What happens when a stage fails or a worker dies."""

    policy: FailurePolicy = FailurePolicy.STOP_PIPELINE
    restarts_max: int = 5
    """Restarts of one worker within `restart_window_s`; one more stops the run."""
    restart_window_s: int = 60
    restart_backoff_ms: int = 100
    """Doubles with each restart in the window, to 10 s."""
    stage_timeout_s: int = 30
    """A stage call that takes longer is a hang: its worker is killed and the stage named."""
    drain_timeout_s: int = 30


@dataclass(frozen=True, slots=True)
class ActionLimits:
    """How `http_post` and `exec` stages try, and how long."""

    timeout_ms: int = 10_000
    """Of one HTTP request, connecting included."""
    exec_timeout_ms: int = 5_000
    """Of one run of a program."""
    retries_max: int = 5
    """Tries after the first, on results that may get better."""
    backoff_ms: int = 200
    """Before the first retry; doubles to `backoff_max_ms`, half of it by chance."""
    backoff_max_ms: int = 10_000
    concurrency: int = 1
    """Actions of neighbouring messages at the same time; 1 keeps their order outside too."""
    output_bytes_max: int = 65_536
    """A program that prints more is killed, and has failed."""
    content_type: str = "application/octet-stream"
    ca_file: str = ""
    """PEM file of the only authorities that `http_post` trusts; empty: the system's."""
    token: str = ""
    """`secret:NAME` of a bearer token for `http_post`."""


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """A schema file as it was read when the deployment was validated."""

    path: str
    sha256: str = ""
    """Lower-case hex; empty: not read."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Dataguard:
    """What the data protection stages of a run go by."""

    schemas: tuple[SchemaFile, ...] = ()
    hash_key: str = ""
    """A `secret:NAME` reference, or empty."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the loop."""

    max_batch: int = 256
    undo_bytes: int = 1 << 20


class SideEffects(enum.StrEnum):
    """What the daemon or a deployment lets stages and adapters do outside, least strict first."""

    ALLOW = "allow"
    REQUIRE_APPROVAL = "require_approval"
    DENY_ALL = "deny_all"


class OnLeaseLost(enum.StrEnum):
    """What an effect does while the run has no lease."""

    HOLD = "hold"
    DEAD_LETTER = "dead_letter"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Effects:
    """What may happen outside, and how."""

    side_effects: SideEffects = SideEffects.ALLOW
    dry_run: bool = False
    """Everything flows; what would be done outside is written down instead."""
    on_lease_lost: OnLeaseLost = OnLeaseLost.HOLD
    rehearsal: bool = False
    """Somebody asked for the dry run, so journals are not appended to either.

    A private daemon's effects are dry without being asked; its runs keep their journals.
    """


@dataclass(frozen=True, slots=True)
class Deployment:
    """A valid deployment after defaults and flags. `sha256` covers its canonical form."""

    environment: Environment
    adapters: Mapping[str, Adapter]
    """By endpoint name."""
    tuning: Tuning
    failure: Failure
    limits: Limits
    kv: bytes
    sha256: str
    effects: Effects = field(default_factory=Effects)
    groups: tuple[Group, ...] = ()
    """Roles that share a worker, of a LaneGraph; each other unit has a worker of its own."""
    journals: Mapping[str, str] = field(default_factory=dict)
    """Directories of durable journals, by lane name."""
    dataguard: Dataguard = field(default_factory=Dataguard)
    actions: ActionLimits = field(default_factory=ActionLimits)
    ca_certificates: SchemaFile = field(default_factory=lambda: SchemaFile(""))
    """Content of `actions.ca_file`."""
    url_prefixes: tuple[str, ...] = ()
    """Narrows the daemon's; empty: no narrower."""
    capture: Capture = field(default_factory=Capture)
    seed: int | None = None
    """Of what stages draw at random; None: every run has another one."""


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What the catalogue knows about one kind of adapter."""

    kind: str
    summary: str
    ingress: bool
    egress: bool
    keys: tuple[ConfigKey, ...]
    finite: bool
    """Its input can end by itself."""
    resumable: bool
    """A restarted worker continues where the last commit was."""


class AdapterNeeds(Protocol):
    """What an adapter wants of the host; the daemon's configuration must allow all of it."""

    @property
    def reads(self) -> Sequence[str]:
        """Return the paths that it opens for reading."""

    @property
    def writes(self) -> Sequence[str]:
        """Return the paths that it creates or writes."""

    @property
    def listens(self) -> Sequence[str]:
        """Return the addresses that it binds: `host:port` or `unix:/path`."""

    @property
    def connects(self) -> Sequence[str]:
        """Return the addresses that it connects or sends to."""


class DocumentFiles(Protocol):
    """Files that a deployment names; implemented by `byteord.runs.files`."""

    def schemas(self, paths: Sequence[str]) -> tuple[SchemaFile, ...]:
        """Return schema files as read; raise a ByteorError that names what is wrong."""

    def certificates(self, path: str) -> SchemaFile:
        """Return a PEM file as read; raise a ByteorError that names what is wrong."""

    def misfits(self, stage: Stage, dataguard: Dataguard, payload_max: int) -> list[ConfigProblem]:
        """Return what keeps a stage from working with these files; nothing for most stages."""


class AdapterCatalogue(Protocol):
    """What validation asks about adapters; implemented by `byteord.adapters.catalogue`."""

    def kinds(self) -> Sequence[str]:
        """Return the kinds of adapters."""

    def info(self, kind: str) -> AdapterInfo | None:
        """Return what is known of a kind, or None."""

    def check(
        self, kind: str, options: Mapping[str, Scalar], *, ingress: bool, payload_max: int
    ) -> list[ConfigProblem]:
        """Return every problem of an adapter's options."""

    def needs(self, kind: str, options: Mapping[str, Scalar], *, ingress: bool) -> AdapterNeeds:
        """Return what an adapter without problems wants of the host."""

    def as_stream(
        self, kind: str, options: Mapping[str, Scalar], *, ingress: bool
    ) -> Mapping[str, Scalar]:
        """Return options of kind `stream` that frame bytes as this adapter does."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What the daemon's own configuration allows; a deployment may narrow it, never widen it."""

    environment: Environment = Environment.DEV
    side_effects: SideEffects = SideEffects.ALLOW
    dry_run: bool = False
    """Nothing is done outside, whatever a deployment says."""
    secrets_dir: str = ""
    """Where `secret:NAME` is found: a file NAME, which workers read when they need it."""
    url_prefixes: tuple[str, ...] = ()
    """URLs that `http_post` may post to."""
    exec_allowed: tuple[str, ...] = ()
    """Programs with their arguments, `program|argument|...`, that `exec` may run, to the letter."""
    code_dirs: tuple[str, ...] = ()
    """Directories that `python:`, `cabi:` and `numba:` code may come from, searched in order."""
    code_packages: tuple[str, ...] = ()
    """Installed top-level packages or modules that `python:` and `numba:` code may come from."""
    read_dirs: tuple[str, ...] = ()
    write_dirs: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()
    """`host:port` patterns (either part may be `*`) and `unix:/dir` prefixes adapters may bind."""
    connect: tuple[str, ...] = ()
    """The same for addresses that adapters may connect or send to."""
    runs_max: int = 64
    workers_max: int = 256
    region_bytes_max: int = 8 << 30
    uploads_max: int = 64
    watches_max: int = 256
    replay_policy: str = "dry_run_only"
    """`disabled`, `dry_run_only` or `execute`."""
    replay_actions_max: int = 10_000
    """Actions that one replay may attempt."""
    replay_input_bytes_max: int = 128 << 20
    """Bytes of messages that one replay may take."""


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """Which approvals this daemon takes."""

    key_set: str = ""
    """File of the trusted keys; empty: none is trusted."""
    signers_staging: int = 1
    """Different people who must have signed; `dev` wants one where it asks for approvals at all."""
    signers_prod: int = 2
    host: str = ""
    """This host's name in approvals."""
    v1_scope: str = ""
    """`ORG/PROJECT/ENVIRONMENT_ID` of dotted approvals that staging takes; empty: it takes none."""
    clock_skew_s: int = 60
    validity_s_max: int = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Access:
    """Who has which role: `uid:N`, `gid:N`, `user:NAME`, `group:NAME` or `cert:PATTERN`."""

    viewers: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    payload: tuple[str, ...] = ()
    """Who may see payloads of messages, besides admins."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What planning and validation know of the host."""

    cpus_online: tuple[int, ...]
    cpus_allowed: tuple[int, ...]
    physical_cores: tuple[tuple[int, ...], ...]
    """CPUs of each physical core, siblings together."""
    shm_free_bytes: int
    memory_available_bytes: int
    membarrier: bool
    clock: str
    """`tsc` or `monotonic`."""
    topology: Topology = field(default_factory=Topology)
    """Caches, nodes, isolation; empty: only `physical_cores` is known."""
    rights: Rights = field(default_factory=Rights)
    """What the kernel lets the daemon, and so its workers, ask for."""
    confinement: str = "seccomp"
    """What this kernel has to confine code with; empty: it cannot."""

    @property
    def layout(self) -> Topology:
        """Return the topology, made from `physical_cores` alone where no more is known."""
        if self.topology.cpus:
            return self.topology
        return flat_topology(self.physical_cores, self.cpus_allowed)
