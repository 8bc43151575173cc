"""The table of every key of a spec: what validation reads by, the reference is printed from."""

from __future__ import annotations

from byteord.spec.model import (
    CAPACITY_DEFAULT,
    CAPACITY_MAX,
    CAPACITY_MIN,
    SHARDS_MAX,
    SLOT_BYTES_DEFAULT,
    SLOT_BYTES_MAX,
    SLOT_BYTES_MIN,
)
from byteord.spec.schema import Key, compile_keys

VERSION = 1
STATE_BYTES_MAX = 1 << 30

SPEC_KEYS: tuple[Key, ...] = (
    Key("version", "integer", "Version of the spec format; this build reads 1.", default=VERSION),
    Key(
        "name",
        "string",
        "Name of the pipeline: a letter, then letters, digits, `_`, `-`, 63 at most.",
        required=True,
    ),
    Key(
        "model",
        "string",
        "Execution model, never guessed: `single_ring` or `lane_graph`.",
        required=True,
        missing="SPEC_MODEL_MISSING",
    ),
    Key(
        "ring.capacity",
        "integer",
        "Slots of the ring, a power of two.",
        default=CAPACITY_DEFAULT,
        minimum=CAPACITY_MIN,
        maximum=CAPACITY_MAX,
    ),
    Key(
        "ring.slot_bytes",
        "integer",
        "Bytes of a slot, a multiple of 64; 16 of them are the header, the rest is the longest "
        "message.",
        default=SLOT_BYTES_DEFAULT,
        minimum=SLOT_BYTES_MIN,
        maximum=SLOT_BYTES_MAX,
    ),
    Key(
        "ring.producer",
        "string",
        "Producers of the ring: `single` (`mpmc` is refused).",
        default="single",
    ),
    Key(
        "ring.scheduling",
        "string",
        "How stages get messages: `dedicated` (`work_queue` is refused).",
        default="dedicated",
    ),
    Key(
        "ring.shards",
        "integer",
        'Rings that work side by side; several need `ordering = "per_key"`.',
        default=1,
        minimum=1,
        maximum=SHARDS_MAX,
    ),
    Key(
        "ring.ordering",
        "string",
        "Order that the egress keeps: `strict` for all messages, `per_key` for those of one key.",
        default="strict",
        choices=("strict", "per_key"),
    ),
    Key(
        "ring.shard_key",
        "range",
        "Payload bytes that choose the shard: `{ offset, length }`; needed by `per_key`.",
    ),
    Key(
        "stages.*.name",
        "string",
        "Name of the stage, unique among stages and endpoints.",
        required=True,
    ),
    Key(
        "stages.*.stage",
        "string",
        "Stage key: a built-in name, `python:module:Class`, `cabi:library.so:symbol` or "
        "`numba:module:function`.",
        required=True,
    ),
    Key(
        "stages.*.depends_on",
        "integers",
        "Indices of the earlier stages that it follows, strictly increasing; every stage but a "
        "source declares them.",
        default=(),
    ),
    Key(
        "stages.*.source",
        "boolean",
        "Whether it follows the producer alone; to be said by stages other than the first that "
        "have no `depends_on`.",
        default_text="`true` for the first stage",
    ),
    Key(
        "stages.*.config",
        "config",
        "Configuration of the stage, as its catalogue entry or its own code defines it.",
        default_text="empty",
    ),
    Key(
        "stages.*.mutates",
        "ranges",
        'Payload bytes that it changes in place: `"all"` or `[{ offset, length }]`; `length` 0 '
        "is to the end.",
        default_text="none",
    ),
    Key("stages.*.drops", "boolean", "Whether it drops messages.", default_text="`false`"),
    Key(
        "stages.*.resizes",
        "boolean",
        "Whether it changes the length of messages.",
        default_text="`false`",
    ),
    Key(
        "stages.*.state",
        "string",
        "Where it keeps what it remembers: nowhere, in shared memory (survives a restart), or "
        "in its own process.",
        choices=("stateless", "state", "private"),
        default_text="`private` for `python:`, else `stateless`",
    ),
    Key(
        "stages.*.state_bytes",
        "integer",
        'Bytes of shared memory for `state = "state"`.',
        minimum=0,
        maximum=STATE_BYTES_MAX,
        default_text="0",
    ),
    Key(
        "stages.*.deterministic",
        "boolean",
        "Whether the same input always gives the same output.",
        default_text="`false`",
    ),
    Key(
        "stages.*.effects",
        "strings",
        "Capabilities it uses outside the pipeline; `[]` declares it effect-free. Not declared "
        "counts as side-effecting.",
        default_text="not declared",
    ),
    Key(
        "stages.*.digest",
        "string",
        "Pin of its code: `sha256:` and 64 hex digits; staging and prod demand it.",
        default_text="not pinned",
    ),
    Key(
        "endpoints.*.name",
        "string",
        "Name of the endpoint, to which the deployment binds an adapter.",
        required=True,
    ),
    Key(
        "endpoints.*.kind",
        "string",
        "Direction: exactly one of each.",
        required=True,
        choices=("ingress", "egress"),
    ),
)
"""Keys of `model = "single_ring"`.

For a built-in stage the catalogue declares `mutates` to `effects`; a spec may repeat them.
"""

SPEC_SCHEMA = compile_keys(SPEC_KEYS)
