"""Every code that a finding can carry, with its level and meaning: part of the contract.

A code never changes its meaning. Problems of a stage's configuration or an adapter's options have
codes of their catalogues, `STAGE_CONFIG_*` and `ADAPTER_OPTION_*`.
"""

from __future__ import annotations

from dataclasses import dataclass

CATALOGUE_PREFIXES = ("STAGE_CONFIG_", "ADAPTER_OPTION_")


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding."""

    name: str
    level: str
    meaning: str


def _level(level: str, **meanings: str) -> tuple[Code, ...]:
    return tuple(Code(name, level, meaning) for name, meaning in meanings.items())


CODES: tuple[Code, ...] = (
    *_level(
        "syntax",
        DOCUMENT_TOO_LARGE="more than 1 MiB",
        DOCUMENT_NOT_UTF8="a byte that is not UTF-8",
        DOCUMENT_BYTE_ORDER_MARK="a byte order mark at the beginning",
        DOCUMENT_CONTROL_CHARACTER="a control character in the text",
        DOCUMENT_NOT_ASCII="a character beyond ASCII in KV",
        DOCUMENT_WHITESPACE="a stray space or an empty line in KV",
        DOCUMENT_FORMAT_UNKNOWN="a format other than toml and kv was asked for",
        DOCUMENT_SYNTAX="text that the format does not allow",
        DOCUMENT_DUPLICATE_KEY="a key that stands twice",
        KEY_NAME_INVALID="a part of a key path with other characters than letters, digits, _ and -",
        DOCUMENT_TOO_DEEP="more than 16 levels of tables and arrays",
        DOCUMENT_TOO_MANY_KEYS="more than 10,000 keys",
        OVERRIDE_INVALID="a --set that names no key",
    ),
    *_level(
        "schema",
        DOCUMENT_VERSION_UNSUPPORTED="a version of the format that this build does not read",
        KEY_UNKNOWN="a key that nothing reads: a warning in dev, an error elsewhere and in --set",
        KEY_MISSING="a required key is missing",
        KEY_INDEX_GAP="an array whose indices have a gap",
        VALUE_TYPE="a value of the wrong type",
        VALUE_RANGE="a number outside its range",
        VALUE_CHOICE="a word that is none of the choices",
        VALUE_MALFORMED="a value of the right type that is not well formed",
        VALUE_EMPTY="an empty array or table where one says nothing",
        SECRET_IN_URL="a URL with a password",  # noqa: S106 (the name of a code)
        SECRET_IN_CLEAR="what looks like a key, token or password",  # noqa: S106 (the name of a code)
        SECRET_REFERENCE_INVALID="a malformed secret:NAME reference",  # noqa: S106 (the name of a code)
        SPEC_MODEL_MISSING="no model: it is never guessed",
        SPEC_MODEL_UNKNOWN="a model that does not exist",
        SPEC_NAME_INVALID="a name that is not an identifier",
        SPEC_NAME_DUPLICATE="a name that a stage, role or endpoint, or another lane has already",
        SPEC_CAPACITY_NOT_POWER_OF_TWO="a ring capacity that is no power of two",
        SPEC_SLOT_BYTES_NOT_MULTIPLE="slot bytes that are no multiple of 64",
        SPEC_PRODUCER_UNSUPPORTED="a producer other than `single`",
        SPEC_SCHEDULING_UNSUPPORTED="a scheduling other than `dedicated`",
        SPEC_STAGE_UNKNOWN="a stage key that nobody knows",
        SPEC_STAGE_KEY_INVALID="a stage key of a known kind that is not well formed",
        SPEC_DIGEST_INVALID="a digest that is not sha256: and 64 hex digits",
        SPEC_DIGEST_UNUSED="a digest on a built-in stage",
        SPEC_EFFECT_INVALID="an effect that is no capability name",
        SPEC_STATE_BYTES_MISSING="state = state without its size",
        SPEC_STATE_BYTES_UNUSED="state bytes of a stage that keeps none",
        SPEC_DECLARATION_CONFLICT="a built-in stage declared other than the catalogue does",
        SPEC_RANGE_OUTSIDE="a byte range beyond the longest message",
        SPEC_KEY_MISPLACED="a key on a lane, role or connection whose kind does not have it",
        SPEC_LOSSY_MISPLACED="lossy consumers of a lane that is no fan-out",
        SPEC_PORT_COUNT="a role with too few or too many lanes for its kind",
        SPEC_PORT_DUPLICATE="a lane that a role names twice",
        SPEC_ROUTER_KEY_EMPTY="a key_hash over no bytes",
        SPEC_SEGMENT_TOO_SMALL="journal segments too small for their records",
        SPEC_RETENTION_TOO_SMALL="a journal that keeps fewer than two segments",
        SPEC_PLAN_MIXED="a plan beside lanes and roles",
        DEPLOYMENT_ADAPTER_UNKNOWN="an adapter kind that nobody knows",
        DEPLOYMENT_ADAPTER_DIRECTION="an adapter kind on an endpoint of the other direction",
        DEPLOYMENT_PRIORITY_MISSING="a real-time policy without a priority",
        DEPLOYMENT_PRIORITY_UNUSED="a priority without a real-time policy",
        DEPLOYMENT_CAPTURE_DIRECTORY="how to record, and no directory to record to",
        DEPLOYMENT_CAPTURE_BOUND_MISSING="a capture of some messages that does not say which",
        DEPLOYMENT_CAPTURE_BOUND_UNUSED="a bound that the way of keeping does not go by",
        DEPLOYMENT_CAPTURE_RETENTION_TOO_SMALL="a capture that keeps fewer than two segments",
    ),
    *_level(
        "topology",
        SPEC_STAGES_NONE="no stage",
        SPEC_STAGES_TOO_MANY="more stages than a SingleRing holds: a LaneGraph is needed",
        SPEC_STRICT_SHARDS="strict ordering with several shards",
        SPEC_SHARD_KEY_MISSING="ordering per key without a shard key",
        SPEC_SHARD_KEY_EMPTY="a shard key of no bytes",
        SPEC_SHARD_KEY_UNUSED="a shard key with strict ordering",
        SPEC_INGRESS_COUNT="other than exactly one ingress; in a LaneGraph none",
        SPEC_EGRESS_COUNT="other than exactly one egress",
        SPEC_DEPENDENCY_MISSING="a later stage that declares neither dependencies nor source",
        SPEC_DEPENDENCY_UNKNOWN="a dependency on a stage that does not exist",
        SPEC_DEPENDENCY_FORWARD="a dependency on a later stage or on itself",
        SPEC_DEPENDENCY_DUPLICATE="a dependency that stands twice",
        SPEC_DEPENDENCY_ORDER="dependencies that are not increasing",
        SPEC_SOURCE_CONTRADICTION="source says other than the dependencies do",
        SPEC_PARALLEL_MUTATORS="stages that may change the same bytes at the same time",
        SPEC_UNORDERED_HEADER_CHANGE="a stage that drops or resizes and may run beside another",
        SPEC_MUTATOR_BESIDE_EGRESS="a changing stage that the final one does not follow",
        SPEC_READER_BESIDE_MUTATOR="a stage that may read while another changes bytes",
        SPEC_GRAPH_TOO_LARGE="more lanes, roles or endpoints than a graph may have",
        SPEC_LANE_UNKNOWN="a lane that is named and does not exist",
        SPEC_LANE_UNPRODUCED="a lane that nobody writes",
        SPEC_LANE_UNCONSUMED="a lane that nobody reads",
        SPEC_LANE_PRODUCERS="more producers than a lane takes",
        SPEC_LANE_CONSUMERS="more consumers than a lane takes",
        SPEC_LANE_CYCLE="messages that could come back to where they were",
        SPEC_LOSSY_UNKNOWN="a lossy consumer that does not read the lane",
        SPEC_LOSSY_INTO_ORDERED="a lossy edge into an ordered merge",
        SPEC_SLOT_TOO_SMALL="a lane whose slots cannot hold what a role passes on",
        SPEC_OUTPUTS_TOO_MANY="more outputs of one message than the lane behind can hold",
        SPEC_CONNECTION_UNKNOWN="an end of a connection that does not exist",
        SPEC_CONNECTION_DIRECTION="a connection into an ingress or out of an egress",
        SPEC_CONNECTION_DUPLICATE="two connections between the same places",
        SPEC_CONNECTION_CONFLICT="connections that say different things of what they share",
        SPEC_MERGE_UNUSED="a merge where nothing has to be merged",
        SPEC_PLACE_UNCONNECTED="a stage or endpoint that no connection reaches or leaves",
        DEPLOYMENT_ENDPOINT_UNBOUND="an endpoint of the spec without an adapter",
        DEPLOYMENT_ENDPOINT_UNKNOWN="an adapter for an endpoint that the spec does not have",
        DEPLOYMENT_POLICY_UNSUPPORTED="a failure policy that this model does not have",
        DEPLOYMENT_GROUPS_UNSUPPORTED="groups of roles for a SingleRing",
        DEPLOYMENT_CLIENT_ENDPOINT="a client's stream that could be any of several endpoints",
        DEPLOYMENT_STDIO_TWICE="two endpoints on one standard stream",
        DEPLOYMENT_JOURNAL_UNBOUND="a durable journal without a directory",
        DEPLOYMENT_JOURNAL_UNKNOWN="a directory for a journal that the spec does not have",
        DEPLOYMENT_JOURNAL_SHARED="two journals in one directory",
        DEPLOYMENT_GROUP_DUPLICATE="a group that stands twice, or a role in two",
        DEPLOYMENT_GROUP_ROLE_UNKNOWN="a role of a group that the spec does not have",
        DEPLOYMENT_GROUP_CLIENT="a client in a group of roles",
        DEPLOYMENT_DEAD_LETTER_MISSING="dead letters, and a stage that names no lane for them",
        DEPLOYMENT_DEAD_LETTER_UNUSED="lanes for dead letters that no policy sends anything to",
        DEPLOYMENT_CAPTURE_CLIENT="a client at an end of a run that is recorded",
        DEPLOYMENT_CLIENT_LANE="a client at a lane of a kind that clients cannot attach to",
    ),
    *_level(
        "policy",
        DEPLOYMENT_ENVIRONMENT_LOOSER="an environment looser than the daemon's",
        DEPLOYMENT_SIDE_EFFECTS_LOOSER="a side-effect policy looser than the daemon's",
        DEPLOYMENT_LEASE_LOST_EGRESS="dead letters of an egress that acts: only actions keep them",
        POLICY_LANE_GATED="a journal or sequenced_slots lane outside dev without allow_lanes",
        POLICY_NO_CODE_DIRS="code of a stage, and no directory that code may come from",
        POLICY_DIGEST_MISSING="code that is not pinned in staging or prod",
        POLICY_EFFECTS_UNDECLARED="a stage that does not declare its effects",
        POLICY_EFFECTS_GATED="side effects in staging or prod: the run needs an approval",
        POLICY_URL_DENIED="a URL outside the prefixes that the daemon and the deployment allow",
        POLICY_EXEC_DENIED="a program, or arguments, that the daemon does not allow",
        POLICY_SCHEMA_FILE="a schema file that cannot be read, or is not right",
        POLICY_PATH_DENIED="a path outside the directories that the daemon allows",
        POLICY_ADDRESS_DENIED="an address outside the patterns that the daemon allows",
        POLICY_WORKERS_MAX="more workers than the daemon gives one run",
        POLICY_REGION_BYTES_MAX="more shared memory than the daemon gives one run",
    ),
    *_level(
        "host",
        HOST_NOT_CONFINING="a stage declared effect-free, and a kernel that cannot hold it to that",
        HOST_CPU_MISSING="a CPU that the host does not have",
        HOST_CPU_NOT_ALLOWED="a CPU that the daemon may not use",
        HOST_CPU_TWICE="a CPU that is listed twice",
        HOST_SPIN_OVERCOMMIT="more spinning workers than CPUs",
        HOST_REALTIME_EVERYWHERE="real-time workers that spin on every CPU of the host",
        HOST_SHM_FULL="more shared memory than is free",
        HOST_MEMORY_LOW="more shared memory than there is memory",
    ),
)
"""In the order of the levels."""

LEVEL_OF = {code.name: code.level for code in CODES}
