"""The table of every key of a deployment.

What validation reads by and the reference is printed from.
"""

from __future__ import annotations

from byteord.deployment.bundling import BUNDLE_KEYS
from byteord.deployment.capture import (
    BUFFER_BYTES_MIN,
    KEEPS,
    ON_FULL,
    OUTPUTS,
    SEGMENT_BYTES_MIN,
    SYNCS,
    Capture,
)
from byteord.deployment.model import (
    ActionLimits,
    Effects,
    Failure,
    FailurePolicy,
    Fuse,
    Limits,
    OnLeaseLost,
    Sched,
    SideEffects,
    Tuning,
    Wait,
)
from byteord.deployment.profiles import PROFILES
from byteord.spec.schema import Key, compile_keys

VERSION = 1
SEED_MAX = (1 << 63) - 1
PINS = ("none", "balanced", "physical")

_BY_PROFILE = "{}; with `low-latency` and `isolated-core` {}"
_ACTIONS, _CAPTURE = ActionLimits(), Capture()
_TUNING, _FAILURE, _LIMITS, _EFFECTS = Tuning(), Failure(), Limits(), Effects()

DEPLOYMENT_KEYS: tuple[Key, ...] = (
    Key("version", "integer", "Version of the format; this build reads 1.", default=VERSION),
    Key(
        "environment",
        "string",
        "Where the run happens; it may be stricter than the daemon's, never looser.",
        choices=("dev", "staging", "prod"),
        default_text="the daemon's",
    ),
    Key(
        "seed",
        "integer",
        "Seed of what stages draw at random by their contract. It is recorded with a run, and a "
        "replay has that of the run, whatever stands here.",
        default_text="another one for each run; 0 where recorded input comes without a seed",
        minimum=0,
        maximum=SEED_MAX,
    ),
    Key(
        "adapters.NAME.kind",
        "string",
        "Adapter bound to the endpoint NAME of the spec; its options stand beside this key.",
        required=True,
    ),
    Key(
        "adapters.NAME.**",
        "config",
        "Options of that kind of adapter, listed below.",
        default_text="each option's own",
    ),
    Key(
        "tuning.profile",
        "string",
        "Posture of the run: what it asks of the host where the keys below say nothing else.",
        default=_TUNING.profile,
        choices=tuple(PROFILES),
    ),
    Key(
        "tuning.wait",
        "string",
        "What a role does while it has nothing to do: `spin` burns its CPU, `backoff` spins, "
        "yields and then sleeps ever longer, `park` sleeps until it is woken.",
        default_text=_BY_PROFILE.format("`backoff`", "`spin`"),
        choices=tuple(str(item) for item in Wait),
    ),
    Key(
        "tuning.pin",
        "pin",
        "CPUs of the workers: `none`, `balanced` (a physical core each, siblings when cores run "
        "out), `physical` (never siblings), or a list of CPU numbers given to the workers in "
        "order.",
        default_text=_BY_PROFILE.format("`none`", "`balanced`"),
        choices=PINS,
    ),
    Key(
        "tuning.fuse",
        "string",
        "Whether adjacent native roles share a worker that calls them in turn; `auto` does so when "
        "busy roles outnumber the CPUs, and in a LaneGraph leaves at least as many threads as half "
        "of the CPUs.",
        default=str(_TUNING.fuse),
        choices=tuple(str(item) for item in Fuse),
    ),
    Key(
        "groups.*.name",
        "string",
        "LaneGraph: name of a worker that several roles share, each native one as a thread.",
        required=True,
    ),
    Key(
        "groups.*.roles",
        "strings",
        "Roles and endpoints that it hosts.",
        required=True,
        default=(),
    ),
    Key(
        "journals.NAME.directory",
        "string",
        "Directory of the durable journal lane NAME, beneath one that the daemon allows writing "
        "to; it is made where it is missing.",
        required=True,
    ),
    Key(
        "tuning.sched",
        "string",
        "Scheduling policy of the workers' loops; `fifo` and `rr` are real time and need a "
        "priority.",
        default_text=f"`{_TUNING.sched}`",
        choices=tuple(str(item) for item in Sched),
    ),
    Key(
        "tuning.priority",
        "integer",
        "Real-time priority, with `fifo` and `rr` alone.",
        default_text="none",
        minimum=1,
        maximum=99,
    ),
    Key(
        "tuning.mlock",
        "boolean",
        "Whether workers lock their memory.",
        default_text=_BY_PROFILE.format("`false`", "`true`"),
    ),
    Key(
        "tuning.prefault",
        "boolean",
        "Whether workers touch every page of the regions for writing before they begin.",
        default_text="`true` with `isolated-core`, else `false`",
    ),
    Key(
        "tuning.huge_pages",
        "boolean",
        "Whether regions of 2 MiB and more are asked to lie on huge pages.",
        default_text="`false`",
    ),
    Key(
        "tuning.cpu_dma_latency",
        "integer",
        "Longest wake-up latency of CPUs that is tolerated, in microseconds, held through "
        "`/dev/cpu_dma_latency` while the run lives; -1: nothing is asked.",
        default_text=_BY_PROFILE.format("`-1`", "`0`"),
        minimum=-1,
        maximum=2_000_000_000,
    ),
    Key(
        "tuning.allow_degraded",
        "boolean",
        "Whether `isolated-core` may start in staging and prod on a host that does not honour "
        "all of it.",
        default_text="`false`",
    ),
    Key(
        "failure.policy",
        "string",
        "What a stage error does: stop the pipeline, skip the message, restart the worker (all of "
        "its roles; where one keeps private state the pipeline stops instead), or give the message "
        "to the lane that the stage of a LaneGraph names as `dead_letter`.",
        default=str(_FAILURE.policy),
        choices=tuple(str(item) for item in FailurePolicy),
    ),
    Key(
        "failure.restarts_max",
        "integer",
        "Restarts of one worker within the window; one more stops the run.",
        default=_FAILURE.restarts_max,
        minimum=0,
        maximum=1_000,
    ),
    Key(
        "failure.restart_window_s",
        "integer",
        "Seconds over which restarts are counted.",
        default=_FAILURE.restart_window_s,
        minimum=1,
        maximum=86_400,
    ),
    Key(
        "failure.restart_backoff_ms",
        "integer",
        "Milliseconds before the first restart; doubles with each in the window, to 10 s.",
        default=_FAILURE.restart_backoff_ms,
        minimum=0,
        maximum=10_000,
    ),
    Key(
        "failure.stage_timeout_s",
        "integer",
        "Seconds after which a stage call counts as hung: its worker is killed, the stage named.",
        default=_FAILURE.stage_timeout_s,
        minimum=1,
        maximum=3_600,
    ),
    Key(
        "failure.drain_timeout_s",
        "integer",
        "Seconds that a draining run is given before it is aborted.",
        default=_FAILURE.drain_timeout_s,
        minimum=1,
        maximum=86_400,
    ),
    Key(
        "effects.side_effects",
        "string",
        "What stages and adapters may do outside: `allow` (in staging and prod with an approval), "
        "`require_approval` (in dev too), `deny_all`; stricter than the daemon's, never looser.",
        choices=tuple(str(item) for item in SideEffects),
        default_text="the daemon's",
    ),
    Key(
        "effects.dry_run",
        "boolean",
        "Let everything flow and write down what would be done outside instead of doing it. A "
        "durable journal is kept in the run's own directory then, and nothing is appended to its "
        "directory.",
        default=_EFFECTS.dry_run,
    ),
    Key(
        "effects.on_lease_lost",
        "string",
        "What happens to a message whose effect may not be done, since an approval expired or "
        "was revoked, the audit log cannot be written, or the daemon died: `hold` it until the "
        "lease is back, `dead_letter` it (actions alone keep such messages: not with an egress "
        "that acts), or `stop` the run.",
        default=str(_EFFECTS.on_lease_lost),
        choices=tuple(str(item) for item in OnLeaseLost),
    ),
    Key(
        "actions.timeout_ms",
        "integer",
        "Milliseconds of one HTTP request of `http_post`, connecting included.",
        default=_ACTIONS.timeout_ms,
        minimum=10,
        maximum=600_000,
    ),
    Key(
        "actions.exec_timeout_ms",
        "integer",
        "Milliseconds of one run of a program of `exec`.",
        default=_ACTIONS.exec_timeout_ms,
        minimum=10,
        maximum=600_000,
    ),
    Key(
        "actions.retries_max",
        "integer",
        "Tries after the first, on results that may get better: no connection, a timeout, status "
        "408, 425, 429, 500, 502, 503, 504, exit status 75. Then the stage fails.",
        default=_ACTIONS.retries_max,
        minimum=0,
        maximum=1_000_000,
    ),
    Key(
        "actions.backoff_ms",
        "integer",
        "Milliseconds before the first retry; doubles each time, and half of it is chance. A "
        "longer Retry-After of the server is honoured, to 300 s.",
        default=_ACTIONS.backoff_ms,
        minimum=1,
        maximum=600_000,
    ),
    Key(
        "actions.backoff_max_ms",
        "integer",
        "Longest pause that doubling comes to, milliseconds.",
        default=_ACTIONS.backoff_max_ms,
        minimum=1,
        maximum=600_000,
    ),
    Key(
        "actions.concurrency",
        "integer",
        "Actions of neighbouring messages at the same time; 1 keeps their order outside too. "
        "Messages leave the stage in order in any case.",
        default=_ACTIONS.concurrency,
        minimum=1,
        maximum=64,
    ),
    Key(
        "actions.output_bytes_max",
        "integer",
        "Bytes that a program may print; one that prints more is killed and has failed.",
        default=_ACTIONS.output_bytes_max,
        minimum=0,
        maximum=1 << 30,
    ),
    Key(
        "actions.content_type",
        "string",
        "Content-Type of posted messages.",
        default=_ACTIONS.content_type,
    ),
    Key(
        "actions.ca_file",
        "string",
        "PEM file of the only authorities that `http_post` trusts, beneath the daemon's read_dirs; "
        "its digest is part of the deployment's hash.",
        default="",
        default_text="the system's authorities",
    ),
    Key(
        "actions.token",
        "string",
        "Bearer token of `http_post`, as `secret:NAME`.",
        default="",
    ),
    Key(
        "actions.url_prefixes",
        "strings",
        "URLs that this deployment may post to; narrows the daemon's.",
        default=(),
        default_text="the daemon's",
    ),
    Key(
        "dataguard.schemas",
        "strings",
        "Schema files of the `dataguard_*` stages, beneath the daemon's read_dirs; their digests "
        "are part of the deployment's hash.",
        default=(),
    ),
    Key(
        "dataguard.hash_key",
        "string",
        "Key of `hash` rules, as `secret:NAME`: equal values have equal hashes under one key.",
        default="",
    ),
    Key(
        "capture.directory",
        "string",
        "Directory of what is recorded, beneath one that the daemon allows writing to: each run "
        "has one of its own in it, named by its id. It is made where it is missing.",
        default="",
        default_text="nothing is recorded",
    ),
    Key(
        "capture.keep",
        "string",
        "What is kept of the messages that enter: `all`, the `last` ones, or a `sample`.",
        default=_CAPTURE.keep,
        choices=KEEPS,
    ),
    Key(
        "capture.last_messages",
        "integer",
        "With `last`: so many messages of each ingress are kept at least, in whole segments.",
        default=0,
        default_text="none",
        minimum=1,
        maximum=1 << 48,
    ),
    Key(
        "capture.last_time_s",
        "integer",
        "With `last`: the messages of so many seconds are kept at least, in whole segments.",
        default=0,
        default_text="none",
        minimum=1,
        maximum=366 * 86_400,
    ),
    Key(
        "capture.sample_every",
        "integer",
        "With `sample`: of so many messages of an ingress the first is kept.",
        default=0,
        default_text="none",
        minimum=2,
        maximum=1 << 32,
    ),
    Key(
        "capture.outputs",
        "string",
        "What is kept of the messages that leave: a rolling `digest`, or the `messages` too.",
        default=_CAPTURE.outputs,
        choices=OUTPUTS,
    ),
    Key(
        "capture.on_full",
        "string",
        "What happens when the disk is full or too slow: `degrade` goes on without what could not "
        "be kept, and the gap is recorded exactly; `wait` makes the run wait. With `degrade` the "
        "recorder gets the CPU time that the run leaves (nice 15): leave it some.",
        default=_CAPTURE.on_full,
        choices=ON_FULL,
    ),
    Key(
        "capture.sync",
        "string",
        "When what was recorded is put on the disk: `none` leaves that to the kernel; `interval` "
        "syncs beside the recording; `every_batch` syncs whatever is written before more is taken "
        "from the run. After a sync that failed nothing more is kept of that stream, and it is "
        'said; with `on_full = "wait"` the run ends.',
        default=_CAPTURE.sync,
        choices=SYNCS,
    ),
    Key(
        "capture.sync_interval_ms",
        "integer",
        'With `sync = "interval"`: milliseconds from one sync to the next.',
        default_text=str(_CAPTURE.sync_interval_ms),
        minimum=1,
        maximum=3_600_000,
    ),
    Key(
        "capture.segment_bytes",
        "integer",
        "Bytes of one file of a recorded stream.",
        default=_CAPTURE.segment_bytes,
        minimum=SEGMENT_BYTES_MIN,
        maximum=1 << 34,
    ),
    Key(
        "capture.retention_bytes",
        "integer",
        "Bytes that each recorded stream may take on the disk: its oldest segments go; 0: no "
        "bound.",
        default=_CAPTURE.retention_bytes,
        minimum=0,
        maximum=1 << 48,
    ),
    Key(
        "capture.buffer_bytes",
        "integer",
        "Shared memory between each end of the run and the recorder: what it may be behind. "
        "Rounded up to a power of two.",
        default=_CAPTURE.buffer_bytes,
        minimum=BUFFER_BYTES_MIN,
        maximum=1 << 32,
    ),
    Key(
        "limits.max_batch",
        "integer",
        "Most messages of one batch.",
        default=_LIMITS.max_batch,
        minimum=1,
        maximum=65_536,
    ),
    Key(
        "limits.undo_bytes",
        "integer",
        "Bytes of the undo area of a role that changes messages in place; it bounds the batch.",
        default=_LIMITS.undo_bytes,
        minimum=4_096,
        maximum=1 << 28,
    ),
    *BUNDLE_KEYS,
)

DEPLOYMENT_SCHEMA = compile_keys(DEPLOYMENT_KEYS)
