"""The table of every key of a LaneGraph spec.

What validation reads by, what diff and the reference are made from.
"""

from __future__ import annotations

from dataclasses import replace

from byteord.spec.document import INTEGER_MAX
from byteord.spec.keys import SPEC_KEYS
from byteord.spec.lane_model import (
    FANOUT_CONSUMERS_MAX,
    MEMORY_SEGMENTS_DEFAULT,
    OUTPUTS_MAX,
    PUBLISHERS_MAX,
    SEGMENT_BYTES_DEFAULT,
    SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN,
    SYNC_INTERVAL_MS_DEFAULT,
    LaneKind,
    MergeMode,
    OnFull,
    RoleKind,
    RouterMode,
    Sync,
)
from byteord.spec.model import (
    CAPACITY_DEFAULT,
    CAPACITY_MAX,
    CAPACITY_MIN,
    SLOT_BYTES_DEFAULT,
    SLOT_BYTES_MAX,
    SLOT_BYTES_MIN,
)
from byteord.spec.schema import Key, compile_keys

INTENTS = ("events", "broadcast", "journal", "sequenced")
JOURNAL_KEYS = (
    "durable",
    "segment_bytes",
    "retention_bytes",
    "retention_s",
    "sync",
    "sync_interval_ms",
)

_ON_FULL = tuple(map(str, OnFull))


def _capacity(path: str, default: str) -> Key:
    return Key(
        path,
        "integer",
        "Slots of its ring, a power of two; of each ring where several producers write.",
        minimum=CAPACITY_MIN,
        maximum=CAPACITY_MAX,
        default_text=default,
    )


def _slot_bytes(path: str, default: str) -> Key:
    return Key(
        path,
        "integer",
        "Bytes of a slot, a multiple of 64; 16 of them are the header, the rest is the longest "
        "message, also that of a journal.",
        minimum=SLOT_BYTES_MIN,
        maximum=SLOT_BYTES_MAX,
        default_text=default,
    )


def _on_full(path: str) -> Key:
    return Key(
        path,
        "string",
        "What a producer does without room: wait, or discard the new message and count it.",
        choices=_ON_FULL,
        default_text="the graph's",
    )


def _journal(prefix: str) -> tuple[Key, ...]:
    return (
        Key(
            f"{prefix}.durable",
            "boolean",
            "Journal: whether it lies on disk, in the directory that the deployment's "
            "`journals.NAME` gives; else in shared memory.",
            default_text="`false`",
        ),
        Key(
            f"{prefix}.segment_bytes",
            "integer",
            "Journal: bytes of a segment, which is what retention lets go.",
            minimum=SEGMENT_BYTES_MIN,
            maximum=SEGMENT_BYTES_MAX,
            default_text=f"`{SEGMENT_BYTES_DEFAULT}`",
        ),
        Key(
            f"{prefix}.retention_bytes",
            "integer",
            "Journal: bytes that are kept; older segments go. 0: all.",
            minimum=0,
            maximum=INTEGER_MAX,
            default_text=f"0; in shared memory {MEMORY_SEGMENTS_DEFAULT} segments",
        ),
        Key(
            f"{prefix}.retention_s",
            "integer",
            "Journal: seconds after whose end a segment goes. 0: none goes for its age.",
            minimum=0,
            maximum=10 * 366 * 86_400,
            default_text="0",
        ),
        Key(
            f"{prefix}.sync",
            "string",
            "Durable journal: when it is written through to the disk, before which its writer "
            "does not release what it read.",
            choices=tuple(map(str, Sync)),
            default_text="`none`",
        ),
        Key(
            f"{prefix}.sync_interval_ms",
            "integer",
            'Durable journal with `sync = "interval"`: milliseconds between two syncs.',
            minimum=1,
            maximum=60_000,
            default_text=f"`{SYNC_INTERVAL_MS_DEFAULT}`",
        ),
    )


_STAGE_DECLARATIONS = (
    "config",
    "mutates",
    "drops",
    "resizes",
    "state",
    "state_bytes",
    "deterministic",
    "effects",
    "digest",
)


def _stage_keys(prefix: str) -> tuple[Key, ...]:
    """Return what a stage declares, as in a SingleRing, at another place."""
    rows = {key.path.removeprefix("stages.*."): key for key in SPEC_KEYS}
    return tuple(
        replace(rows[name], path=f"{prefix}.{name}", required=False) for name in _STAGE_DECLARATIONS
    )


def _outputs_max(path: str) -> Key:
    return Key(
        path,
        "integer",
        "Stage: most messages that it makes of one (`batch.emit`, `byteor_emit`); room for all is "
        "taken before the first, so it is less than the capacity of the lanes that it writes.",
        minimum=1,
        maximum=OUTPUTS_MAX,
        default_text="1",
    )


_COMMON = (
    *(key for key in SPEC_KEYS if key.path in ("version", "name", "model")),
    Key(
        "on_full",
        "string",
        "What a producer does when a lane has no room: wait, or discard the new message and "
        "count it.",
        default=str(OnFull.BLOCK),
        choices=_ON_FULL,
    ),
    Key(
        "allow_lanes",
        "strings",
        "Lane kinds beyond `events` and `fanout_broadcast` that the spec uses on purpose; outside "
        "`dev` no other is accepted.",
        default=(),
        choices=(str(LaneKind.JOURNAL), str(LaneKind.SEQUENCED_SLOTS)),
    ),
)

_LANES = (
    Key("lanes.*.name", "string", "Name of the lane, unique among lanes.", required=True),
    Key(
        "lanes.*.kind",
        "string",
        "`events` (one consumer), `fanout_broadcast` (one producer, each of up to "
        f"{FANOUT_CONSUMERS_MAX} consumers sees everything), `journal` (append log with readers "
        "that never stall its writer), `sequenced_slots` (a ring on which stages work in place).",
        default=str(LaneKind.EVENTS),
        choices=tuple(map(str, LaneKind)),
    ),
    _capacity("lanes.*.capacity", f"`{CAPACITY_DEFAULT}`; a journal has none"),
    _slot_bytes("lanes.*.slot_bytes", f"`{SLOT_BYTES_DEFAULT}`"),
    _on_full("lanes.*.on_full"),
    Key(
        "lanes.*.publishers_max",
        "integer",
        "`events`: producers that may write at the same time, each into a ring of its own; "
        "clients of a `client` endpoint count one by one.",
        minimum=1,
        maximum=PUBLISHERS_MAX,
        default_text="1",
    ),
    Key(
        "lanes.*.lossy",
        "strings",
        "`fanout_broadcast`: roles and egress endpoints that never stall the lane and are told "
        "what they missed.",
        default=(),
    ),
    *_journal("lanes.*"),
)

_ROLES = (
    Key(
        "roles.*.name",
        "string",
        "Name of the role, unique among roles and endpoints.",
        required=True,
    ),
    Key(
        "roles.*.kind",
        "string",
        "`stage` computes, `bridge` moves messages to a lane of another kind, `router` gives them "
        "to several lanes, `merge` takes them from several.",
        required=True,
        choices=tuple(map(str, RoleKind)),
    ),
    Key("roles.*.rx", "names", "Lane that it reads; a merge: lanes.", default=()),
    Key(
        "roles.*.tx",
        "names",
        "Lane that it writes; a router: lanes. A stage without one is a sink; one whose `tx` is "
        "its `rx`, a `sequenced_slots` lane, works in place.",
        default=(),
    ),
    Key(
        "roles.*.stage",
        "string",
        "Stage: its key, as in a SingleRing.",
        default_text="required of a stage",
    ),
    *_stage_keys("roles.*"),
    Key(
        "roles.*.depends_on",
        "names",
        "Stage in place: the roles on the same lane that are done with a message before.",
        default=(),
    ),
    _outputs_max("roles.*.outputs_max"),
    Key(
        "roles.*.dead_letter",
        "string",
        'Stage: lane for messages that it failed on, with `failure.policy = "dead_letter"` in '
        "the deployment.",
        default_text="none",
    ),
    Key(
        "roles.*.mode",
        "string",
        "Router: `broadcast` (all lanes), `work_queue` (one that has room), `key_hash` (one by "
        "`key`). Merge: `round_robin`, `priority` (the first lane that has a message), `ordered` "
        "(by ingress time).",
        choices=(*map(str, RouterMode), *map(str, MergeMode)),
        default_text="required of routers and merges",
    ),
    Key(
        "roles.*.key",
        "range",
        "Router with `key_hash`: payload bytes that choose the lane: `{ offset, length }`; of a "
        "shorter message those that it has.",
        default_text="none",
    ),
)

_ENDPOINTS = (
    Key(
        "endpoints.*.name",
        "string",
        "Name of the endpoint, to which the deployment binds an adapter.",
        required=True,
    ),
    Key(
        "endpoints.*.kind",
        "string",
        "Direction; there may be several of each.",
        required=True,
        choices=("ingress", "egress"),
    ),
    Key(
        "endpoints.*.lane",
        "string",
        "Lane that an ingress writes or an egress reads; not with `plan`, where connections say "
        "it.",
        default_text="required without `plan`",
    ),
)

_PLAN = (
    _capacity("plan.capacity", f"`{CAPACITY_DEFAULT}`"),
    _slot_bytes("plan.slot_bytes", f"`{SLOT_BYTES_DEFAULT}`"),
    Key(
        "plan.stages.*.name",
        "string",
        "Shorthand: name of the stage, unique among stages and endpoints.",
        required=True,
    ),
    Key("plan.stages.*.stage", "string", "Its key, as in a SingleRing.", required=True),
    *_stage_keys("plan.stages.*"),
    _outputs_max("plan.stages.*.outputs_max"),
    Key(
        "plan.stages.*.dead_letter",
        "string",
        "Egress endpoint or stage that gets messages that it failed on.",
        default_text="none",
    ),
    Key(
        "plan.connections.*.from",
        "string",
        "Ingress endpoint or stage that messages come from.",
        required=True,
    ),
    Key(
        "plan.connections.*.to",
        "string",
        "Stage or egress endpoint that they go to.",
        default_text="required, except for a journal that nobody reads",
    ),
    Key(
        "plan.connections.*.intent",
        "string",
        "`events`: a lane of its own; `broadcast`: one lane that all such connections of `from` "
        "read without copies; `journal`: what passes is kept; `sequenced`: a gated ring.",
        default="events",
        choices=INTENTS,
    ),
    Key(
        "plan.connections.*.name",
        "string",
        "Name of the lane that carries it, for the deployment and for people.",
        default_text="made from the ends",
    ),
    Key(
        "plan.connections.*.lossy",
        "boolean",
        "`broadcast`: whether `to` never stalls its siblings, and is told what it missed.",
        default_text="`false`",
    ),
    Key(
        "plan.connections.*.route",
        "string",
        "`events` from one place to several: whether each gets everything, or one of them each "
        "message.",
        choices=tuple(map(str, RouterMode)),
        default_text="`broadcast`",
    ),
    Key(
        "plan.connections.*.key",
        "range",
        "With `key_hash`: payload bytes that choose: `{ offset, length }`.",
        default_text="none",
    ),
    Key(
        "plan.connections.*.merge",
        "string",
        "Several into one place: the order in which they are taken.",
        choices=tuple(map(str, MergeMode)),
        default_text="each producer's own order, where all are `events`; else `round_robin`",
    ),
    _capacity("plan.connections.*.capacity", "`plan.capacity`"),
    _slot_bytes("plan.connections.*.slot_bytes", "`plan.slot_bytes`"),
    _on_full("plan.connections.*.on_full"),
    *_journal("plan.connections.*"),
)

LANE_GRAPH_KEYS: tuple[Key, ...] = (*_COMMON, *_LANES, *_ROLES, *_ENDPOINTS, *_PLAN)
"""Keys of `model = "lane_graph"`."""

ALL_SPEC_KEYS: tuple[Key, ...] = (
    *SPEC_KEYS,
    *(key for key in LANE_GRAPH_KEYS if key.path not in {row.path for row in SPEC_KEYS}),
)
"""Keys of either model, for a diff of specs."""

LANE_GRAPH_SCHEMA = compile_keys(LANE_GRAPH_KEYS)
