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
        SPEC_MODEL_UNSUPPORTED="a model that this build cannot execute",
        SPEC_NAME_INVALID="a name that is not an identifier",
        SPEC_NAME_DUPLICATE="a name that a stage or endpoint has already",
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
        DEPLOYMENT_ADAPTER_UNKNOWN="an adapter kind that nobody knows",
        DEPLOYMENT_ADAPTER_DIRECTION="an adapter kind on an endpoint of the other direction",
        DEPLOYMENT_PRIORITY_MISSING="a real-time policy without a priority",
        DEPLOYMENT_PRIORITY_UNUSED="a priority without a real-time policy",
        DEPLOYMENT_POLICY_UNSUPPORTED="a failure policy that this build does not have",
    ),
    *_level(
        "topology",
        SPEC_STAGES_NONE="no stage",
        SPEC_STAGES_TOO_MANY="more stages than a SingleRing holds: a LaneGraph is needed",
        SPEC_STRICT_SHARDS="strict ordering with several shards",
        SPEC_SHARD_KEY_MISSING="ordering per key without a shard key",
        SPEC_SHARD_KEY_EMPTY="a shard key of no bytes",
        SPEC_SHARD_KEY_UNUSED="a shard key with strict ordering",
        SPEC_INGRESS_COUNT="other than exactly one ingress",
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
        DEPLOYMENT_ENDPOINT_UNBOUND="an endpoint of the spec without an adapter",
        DEPLOYMENT_ENDPOINT_UNKNOWN="an adapter for an endpoint that the spec does not have",
    ),
    *_level(
        "policy",
        DEPLOYMENT_ENVIRONMENT_LOOSER="an environment looser than the daemon's",
        DEPLOYMENT_SIDE_EFFECTS_LOOSER="a side-effect policy looser than the daemon's",
        POLICY_NO_CODE_DIRS="code of a stage, and no directory that code may come from",
        POLICY_DIGEST_MISSING="code that is not pinned in staging or prod",
        POLICY_EFFECTS_UNDECLARED="a stage that does not declare its effects",
        POLICY_EFFECTS_GATED="side effects in staging or prod: the run needs an approval",
        POLICY_NOT_CONFINED="a stage declared effect-free that this build does not confine",
        POLICY_SCHEMA_FILE="a schema file that cannot be read, or is not right",
        POLICY_PATH_DENIED="a path outside the directories that the daemon allows",
        POLICY_ADDRESS_DENIED="an address outside the patterns that the daemon allows",
        POLICY_WORKERS_MAX="more workers than the daemon gives one run",
        POLICY_REGION_BYTES_MAX="more shared memory than the daemon gives one run",
    ),
    *_level(
        "host",
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
