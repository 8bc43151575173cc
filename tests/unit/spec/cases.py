"""For every code the documents that provoke it, and where the finding must stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from byteord.deployment.model import Authority, Environment
from byteord.spec.document import Source
from byteord.spec.findings import Severity
from tests.unit.spec.documents import (
    DEPLOYMENT,
    ENDS,
    HEAD,
    HOST,
    SPEC,
    narrowed,
    stages_spec,
)

KEEP = 'name = "a"\nstage = "keep"\nconfig.value = 1'
LOOK = 'name = "{0}"\nstage = "look"'
PYTHON = 'name = "p"\nstage = "python:mod:Cls"'
SCRUB = 'name = "{0}"\nstage = "scrub"\nconfig.at = {1}'
PIN = f'digest = "sha256:{"0" * 64}"'


@dataclass(frozen=True)
class Case:
    """One document that provokes one code."""

    code: str
    path: str
    words: str
    """What the finding must say somewhere."""
    spec: str | bytes | Source = SPEC
    deployment: str | bytes | None = None
    line: int | None = None
    """Line and column, where the case is about them."""
    column: int | None = None
    severity: Severity = Severity.ERROR
    context: dict[str, Any] = field(default_factory=dict)


def ring(text: str) -> str:
    """Return the small spec with this ring table."""
    return f"{SPEC}\n[ring]\n{text}\n"


def two(first: str, second: str) -> str:
    """Return a spec with two stages."""
    return stages_spec(first, second)


def deployed(text: str) -> str:
    """Return the small deployment with more text."""
    return f"{DEPLOYMENT}\n{text}\n"


IN_STAGING = {"authority": Authority(environment=Environment.STAGING, code_dirs=("/code",))}

SYNTAX = (
    Case("DOCUMENT_FORMAT_UNKNOWN", "", "toml or kv", Source("s.yaml", b"a: 1", "yaml")),
    Case("DOCUMENT_TOO_LARGE", "", "2097152 bytes", b"junk" * (1 << 19)),
    Case("DOCUMENT_NOT_UTF8", "", "0xff", b'name = "x"\nmo\xffdel = 1', line=2, column=3),
    Case("DOCUMENT_BYTE_ORDER_MARK", "", "byte order mark", b"\xef\xbb\xbfa = 1", line=1),
    Case("DOCUMENT_CONTROL_CHARACTER", "", "U+0007", 'name = "a\x07"', line=1, column=10),
    Case("DOCUMENT_CONTROL_CHARACTER", "", "U+0009", "name=a\tb\nmodel=x\n", line=1, column=7),
    Case("DOCUMENT_NOT_ASCII", "", "U+00E9", "model=x\nname=caf\xe9\n", line=2, column=9),
    Case("DOCUMENT_WHITESPACE", "", "stray space", "model=x \nname=y\n", line=1, column=8),
    Case("DOCUMENT_WHITESPACE", "", "empty line", "model=x\n\nname=y\n", line=2, column=1),
    Case("DOCUMENT_SYNTAX", "", "invalid value", 'name = "a"\nmodel = x\n', line=2, column=9),
    Case("DOCUMENT_SYNTAX", "", "expected", 'name = "a"\n[ring', line=2),
    Case("DOCUMENT_SYNTAX", "", "JSON string", 'name="a\nmodel=x\n', line=1, column=6),
    Case("DOCUMENT_DUPLICATE_KEY", "", "in line 1", f'name = "a"\n{HEAD}{ENDS}', line=2, column=1),
    Case("DOCUMENT_DUPLICATE_KEY", "", "in line 1", "name=a\nmodel=x\nname=b\n", line=3, column=1),
    Case("DOCUMENT_DUPLICATE_KEY", "", "as a table", "ring=a\nring.capacity=8\n", line=2),
    Case("DOCUMENT_TOO_DEEP", "", "16", f"x = {'[' * 40}{']' * 40}", line=1),
    Case("DOCUMENT_TOO_DEEP", "", "16", f"{'.'.join('a' * 20)}=1\n", line=1),
    Case("DOCUMENT_TOO_MANY_KEYS", "", "10000", f"x = [{'1,' * 10_001}]", line=1),
    Case("DOCUMENT_TOO_MANY_KEYS", "", "10000", "".join(f"k{i}=1\n" for i in range(10_001))),
    Case(
        "OVERRIDE_INVALID", "", "--set a b=1", SPEC, DEPLOYMENT, context={"overrides": {"a b": "1"}}
    ),
)

SCHEMA = (
    Case("DOCUMENT_VERSION_UNSUPPORTED", "version", "1", f"version = 2\n{SPEC}", line=1),
    Case(
        "KEY_UNKNOWN",
        "ring.capacty",
        'did you mean "capacity"?',
        ring("capacty = 8"),
        severity=Severity.WARNING,
    ),
    Case("KEY_UNKNOWN", "rinng", "ring", f"rinng = 1\n{SPEC}", line=1, context=IN_STAGING),
    Case("KEY_MISSING", "name", "a string", SPEC.replace('name = "orders"\n', "")),
    Case("KEY_MISSING", "endpoints.1.kind", "ingress", SPEC.replace('kind = "egress"\n', "")),
    Case(
        "KEY_NAME_INVALID",
        "stages.0.config.a b",
        "letters",
        f'{SPEC}\n[x]\n"y" = 1\n'.replace("config.value", 'config."a b"'),
    ),
    Case("KEY_NAME_INVALID", "", "leading zeros", "a.01=1\nmodel=x\n", line=1),
    Case(
        "KEY_INDEX_GAP",
        "stages",
        "stages.1 is missing",
        "name=x\nstages.0.name=a\nstages.2.name=b\n",
    ),
    Case("VALUE_TYPE", "ring.capacity", "an integer", ring('capacity = "8"')),
    Case("VALUE_TYPE", "ring", "a table", f"ring = 5\n{SPEC}", line=1),
    Case("VALUE_TYPE", "stages", "an array of tables", f"stages = 5\n{HEAD}{ENDS}"),
    Case("VALUE_TYPE", "name", "a string", SPEC.replace('"orders"', "2026-01-01"), line=1),
    Case("VALUE_TYPE", "stages.0.config.value", "boolean", SPEC.replace("84", "inf")),
    Case("VALUE_RANGE", "ring.capacity", "from 8 to 16777216", ring("capacity = 4")),
    Case("VALUE_RANGE", "ring.shards", "from 1 to 64", ring("shards = 0")),
    Case("VALUE_RANGE", "ring.slot_bytes", "65536", ring("slot_bytes = 1048576")),
    Case("VALUE_CHOICE", "ring.ordering", 'did you mean "strict"?', ring('ordering = "strikt"')),
    Case("VALUE_MALFORMED", "stages.0.config.value", "NUL", SPEC.replace("84", r'"a\u0000"')),
    Case("VALUE_EMPTY", "stages.0.config.value", "an empty array", SPEC.replace("84", "[]")),
    Case(
        "SECRET_IN_URL",
        "stages.0.config.u",
        "URL",
        SPEC.replace("value = 84", 'u = "amqp://me:hush@h/q"'),
    ),
    Case(
        "SECRET_IN_CLEAR",
        "adapters.in.password",
        "secret:NAME",
        SPEC,
        DEPLOYMENT.replace("[adapters.out]", 'password = "hush"\n[adapters.out]'),
    ),
    Case(
        "SECRET_IN_CLEAR",
        "stages.0.config.x",
        "private key",
        SPEC.replace("value = 84", 'x = "-----BEGIN PRIVATE KEY-----"'),
    ),
    Case(
        "SECRET_REFERENCE_INVALID",
        "stages.0.config.x",
        "secret:NAME",
        SPEC.replace("value = 84", 'x = "secret:1 2"'),
    ),
    Case(
        "SPEC_MODEL_MISSING", "model", "never guessed", SPEC.replace('model = "single_ring"\n', "")
    ),
    Case(
        "SPEC_MODEL_UNKNOWN",
        "model",
        'did you mean "single_ring"?',
        SPEC.replace("single_ring", "single_rng"),
        line=2,
    ),
    Case(
        "SPEC_MODEL_UNSUPPORTED",
        "model",
        "no LaneGraph executor",
        SPEC.replace("single_ring", "lane_graph"),
        line=2,
        column=1,
    ),
    Case("SPEC_NAME_INVALID", "name", "a letter", SPEC.replace("orders", "1st order"), line=1),
    Case(
        "SPEC_NAME_DUPLICATE", "endpoints.0.name", "stages.0.name", SPEC.replace('"in"', '"keep"')
    ),
    Case("SPEC_CAPACITY_NOT_POWER_OF_TWO", "ring.capacity", "512 or 1024", ring("capacity = 1000")),
    Case("SPEC_SLOT_BYTES_NOT_MULTIPLE", "ring.slot_bytes", "choose 128", ring("slot_bytes = 100")),
    Case("SPEC_PRODUCER_UNSUPPORTED", "ring.producer", "lane_graph", ring('producer = "mpmc"')),
    Case(
        "SPEC_SCHEDULING_UNSUPPORTED",
        "ring.scheduling",
        "dedicated",
        ring('scheduling = "work_queue"'),
    ),
    Case(
        "SPEC_STAGE_UNKNOWN",
        "stages.0.stage",
        'did you mean "keep"?',
        SPEC.replace('stage = "keep"', 'stage = "kepe"'),
        line=6,
    ),
    Case(
        "SPEC_STAGE_UNKNOWN",
        "stages.0.stage",
        'did you mean "python"?',
        stages_spec('name = "p"\nstage = "pyhton:a:B"'),
    ),
    Case(
        "SPEC_STAGE_KEY_INVALID",
        "stages.0.stage",
        "python:module:Class",
        stages_spec('name = "p"\nstage = "python:a"'),
    ),
    Case(
        "SPEC_STAGE_KEY_INVALID",
        "stages.0.stage",
        "cabi:library.so:symbol",
        stages_spec('name = "p"\nstage = "cabi:/lib/x.so:f"'),
    ),
    Case(
        "SPEC_STAGE_KEY_INVALID",
        "stages.0.stage",
        "without a target",
        stages_spec('name = "p"\nstage = "keep:84"'),
    ),
    Case(
        "SPEC_DIGEST_INVALID",
        "stages.0.digest",
        "64 lower-case hex",
        stages_spec(f'{PYTHON}\ndigest = "sha256:AB"'),
    ),
    Case("SPEC_DIGEST_UNUSED", "stages.0.digest", "built-in", stages_spec(f"{KEEP}\n{PIN}")),
    Case(
        "SPEC_EFFECT_INVALID",
        "stages.0.effects.1",
        "capability",
        stages_spec(f'{PYTHON}\neffects = ["http", "E 1"]'),
    ),
    Case(
        "SPEC_STATE_BYTES_MISSING",
        "stages.0.state_bytes",
        "ctx.state",
        stages_spec(f'{PYTHON}\nstate = "state"'),
    ),
    Case(
        "SPEC_STATE_BYTES_UNUSED",
        "stages.0.state_bytes",
        'state = "private"',
        stages_spec(f"{PYTHON}\nstate_bytes = 8"),
    ),
    Case(
        "SPEC_DECLARATION_CONFLICT",
        "stages.0.drops",
        "true, as the catalogue",
        stages_spec(f"{KEEP}\ndrops = false"),
    ),
    Case(
        "SPEC_DECLARATION_CONFLICT",
        "stages.0.mutates",
        "bytes 0 to 3",
        stages_spec('name = "s"\nstage = "scrub"\nmutates = "all"'),
    ),
    Case(
        "SPEC_RANGE_OUTSIDE",
        "stages.0.mutates.0",
        "240 bytes",
        stages_spec(f"{PYTHON}\nmutates = [{{ offset = 200, length = 41 }}]"),
    ),
    Case(
        "SPEC_RANGE_OUTSIDE",
        "ring.shard_key",
        "240 bytes",
        ring('ordering = "per_key"\nshard_key = { offset = 239, length = 2 }'),
    ),
    Case(
        "DEPLOYMENT_ADAPTER_UNKNOWN",
        "adapters.in.kind",
        'did you mean "box"?',
        SPEC,
        DEPLOYMENT.replace('kind = "box"', 'kind = "bix"', 1),
        line=2,
    ),
    Case(
        "DEPLOYMENT_ADAPTER_DIRECTION",
        "adapters.in.kind",
        "can be an ingress",
        SPEC,
        DEPLOYMENT.replace('kind = "box"\npath = "/data/in"', 'kind = "stdout"'),
        line=2,
    ),
    Case(
        "DEPLOYMENT_PROFILE_UNSUPPORTED",
        "tuning.profile",
        "does not have isolated-core",
        SPEC,
        deployed('[tuning]\nprofile = "isolated-core"'),
        line=10,
    ),
    Case(
        "DEPLOYMENT_POLICY_UNSUPPORTED",
        "failure.policy",
        "does not have dead_letter",
        SPEC,
        deployed('[failure]\npolicy = "dead_letter"'),
    ),
)

TOPOLOGY = (
    Case("SPEC_STAGES_NONE", "stages", "1 to 4 stages", HEAD + ENDS),
    Case(
        "SPEC_STAGES_TOO_MANY",
        "stages",
        "LaneGraph",
        stages_spec(
            *(LOOK.format(f"s{i}") + (f"\ndepends_on = [{i - 1}]" if i else "") for i in range(5))
        ),
    ),
    Case("SPEC_STRICT_SHARDS", "ring.shards", "one shard", ring("shards = 2")),
    Case(
        "SPEC_SHARD_KEY_MISSING",
        "ring.shard_key",
        "offset",
        ring('shards = 2\nordering = "per_key"'),
    ),
    Case(
        "SPEC_SHARD_KEY_EMPTY",
        "ring.shard_key.length",
        "1 byte",
        ring('ordering = "per_key"\nshard_key = { offset = 0 }'),
    ),
    Case(
        "SPEC_SHARD_KEY_UNUSED",
        "ring.shard_key",
        "per_key",
        ring("shard_key = { offset = 0, length = 8 }"),
        severity=Severity.WARNING,
    ),
    Case(
        "SPEC_INGRESS_COUNT",
        "endpoints",
        "0 endpoints",
        HEAD
        + '[[stages]]\nname = "a"\nstage = "look"\n[[endpoints]]\nname = "out"\nkind = "egress"\n',
    ),
    Case(
        "SPEC_EGRESS_COUNT",
        "endpoints.2.kind",
        "lane_graph",
        f'{SPEC}\n[[endpoints]]\nname = "out2"\nkind = "egress"\n',
        line=19,
    ),
    Case(
        "SPEC_DEPENDENCY_MISSING",
        "stages.1.depends_on",
        "depends_on = [0]",
        two(LOOK.format("a"), LOOK.format("b")),
    ),
    Case(
        "SPEC_DEPENDENCY_UNKNOWN",
        "stages.1.depends_on.0",
        "7",
        two(LOOK.format("a"), f"{LOOK.format('b')}\ndepends_on = [7]"),
    ),
    Case(
        "SPEC_DEPENDENCY_FORWARD",
        "stages.0.depends_on.0",
        "topological",
        two(f"{LOOK.format('a')}\ndepends_on = [1]", f"{LOOK.format('b')}\ndepends_on = [0]"),
    ),
    Case(
        "SPEC_DEPENDENCY_FORWARD",
        "stages.1.depends_on.0",
        "follow itself",
        two(LOOK.format("a"), f"{LOOK.format('b')}\ndepends_on = [1]"),
    ),
    Case(
        "SPEC_DEPENDENCY_DUPLICATE",
        "stages.1.depends_on.1",
        "0 again",
        two(LOOK.format("a"), f"{LOOK.format('b')}\ndepends_on = [0, 0]"),
    ),
    Case(
        "SPEC_DEPENDENCY_ORDER",
        "stages.2.depends_on.1",
        "depends_on = [0, 1]",
        stages_spec(
            LOOK.format("a"),
            f"{LOOK.format('b')}\ndepends_on = [0]",
            f"{LOOK.format('c')}\ndepends_on = [1, 0]",
        ),
    ),
    Case(
        "SPEC_SOURCE_CONTRADICTION",
        "stages.1.source",
        "one of the two",
        two(LOOK.format("a"), f"{LOOK.format('b')}\ndepends_on = [0]\nsource = true"),
    ),
    Case(
        "SPEC_SOURCE_CONTRADICTION",
        "stages.0.source",
        "first stage",
        stages_spec(f"{LOOK.format('a')}\nsource = false"),
    ),
    Case(
        "SPEC_PARALLEL_MUTATORS",
        "stages.2",
        "bytes 0 to 3",
        stages_spec(
            LOOK.format("a"),
            f"{SCRUB.format('b', 0)}\ndepends_on = [0]",
            f"{SCRUB.format('c', 3)}\ndepends_on = [0]",
            f"{LOOK.format('d')}\ndepends_on = [1, 2]",
        ),
    ),
    Case(
        "SPEC_UNORDERED_HEADER_CHANGE",
        "stages.0",
        "drops",
        two(KEEP, f"{LOOK.format('b')}\nsource = true"),
    ),
    Case(
        "SPEC_UNORDERED_HEADER_CHANGE",
        "stages.1",
        "resizes",
        two(LOOK.format("b"), 'name = "t"\nstage = "trim"\nsource = true'),
    ),
    Case(
        "SPEC_MUTATOR_BESIDE_EGRESS",
        "stages.0",
        "egress",
        two(SCRUB.format("a", 0), f"{LOOK.format('b')}\nsource = true"),
    ),
    Case(
        "SPEC_READER_BESIDE_MUTATOR",
        "stages.0",
        "read while",
        two(LOOK.format("a"), f"{SCRUB.format('b', 0)}\nsource = true"),
        severity=Severity.NOTE,
    ),
    Case(
        "DEPLOYMENT_ENDPOINT_UNBOUND",
        "adapters.in",
        "[adapters.in]",
        SPEC,
        DEPLOYMENT.replace("adapters.in", "adapters.inn"),
    ),
    Case(
        "DEPLOYMENT_ENDPOINT_UNKNOWN",
        "adapters.inn",
        'did you mean "in"?',
        SPEC,
        DEPLOYMENT.replace("adapters.in", "adapters.inn"),
        line=1,
    ),
)

POLICY = (
    Case(
        "DEPLOYMENT_ENVIRONMENT_LOOSER",
        "environment",
        "staging",
        SPEC,
        f'environment = "dev"\n{DEPLOYMENT}',
        line=1,
        context=IN_STAGING,
    ),
    Case(
        "POLICY_NO_CODE_DIRS",
        "stages.0.stage",
        "code_dirs",
        stages_spec(PYTHON),
        context={"authority": Authority()},
    ),
    Case(
        "POLICY_DIGEST_MISSING",
        "stages.0.digest",
        "pinned",
        stages_spec(f"{PYTHON}\neffects = []"),
        context=IN_STAGING,
    ),
    Case(
        "POLICY_EFFECTS_UNDECLARED",
        "stages.0.effects",
        "effects = []",
        stages_spec(PYTHON),
        severity=Severity.NOTE,
    ),
    Case(
        "POLICY_EFFECTS_UNDECLARED",
        "stages.0.effects",
        "effects = []",
        stages_spec(f"{PYTHON}\n{PIN}"),
        context=IN_STAGING,
    ),
    Case(
        "POLICY_EFFECTS_GATED",
        "stages.0.effects",
        "approvals",
        stages_spec(f'{PYTHON}\n{PIN}\neffects = ["http"]'),
        context=IN_STAGING,
    ),
    Case(
        "POLICY_NOT_CONFINED",
        "stages.0.effects",
        "confines",
        stages_spec(f"{PYTHON}\n{PIN}\neffects = []"),
        severity=Severity.WARNING,
        context=IN_STAGING,
    ),
    Case(
        "POLICY_PATH_DENIED",
        "adapters.in.path",
        "/data",
        SPEC,
        DEPLOYMENT.replace("/data/in", "/etc/passwd"),
        line=3,
    ),
    Case(
        "POLICY_PATH_DENIED",
        "adapters.out.path",
        "/data",
        SPEC,
        DEPLOYMENT.replace("/data/out", "/data/../etc/x"),
        line=7,
    ),
    Case(
        "POLICY_PATH_DENIED",
        "adapters.in.path",
        "read_dirs",
        SPEC,
        DEPLOYMENT,
        context={"authority": Authority()},
    ),
    Case(
        "POLICY_ADDRESS_DENIED",
        "adapters.in.address",
        "127.0.0.1:*",
        SPEC,
        DEPLOYMENT.replace(
            'kind = "box"\npath = "/data/in"', 'kind = "ear"\naddress = "0.0.0.0:80"'
        ),
    ),
    Case(
        "POLICY_ADDRESS_DENIED",
        "adapters.out.address",
        "*:9000",
        SPEC,
        DEPLOYMENT.replace('kind = "box"\npath = "/data/out"', 'kind = "mouth"\naddress = "h:80"'),
    ),
    Case(
        "POLICY_WORKERS_MAX",
        "",
        "at most 1",
        two(LOOK.format("a"), f"{LOOK.format('b')}\ndepends_on = [0]"),
        context={"authority": narrowed(workers_max=1), "overrides": {"tuning.fuse": "never"}},
    ),
    Case(
        "POLICY_REGION_BYTES_MAX",
        "",
        "at most 4096",
        context={"authority": narrowed(region_bytes_max=4096)},
    ),
)

HOSTED = (
    Case(
        "HOST_CPU_MISSING",
        "tuning.pin.1",
        "8 CPUs of this host: 0-7",
        SPEC,
        deployed("[tuning]\npin = [0, 99]"),
        line=10,
        column=11,
    ),
    Case("HOST_CPU_NOT_ALLOWED", "tuning.pin.0", "0-3", SPEC, deployed("[tuning]\npin = [5]")),
    Case(
        "HOST_CPU_TWICE",
        "tuning.pin.1",
        "each CPU once",
        SPEC,
        deployed("[tuning]\npin = [1, 1]"),
        severity=Severity.WARNING,
    ),
    Case(
        "HOST_SPIN_OVERCOMMIT",
        "tuning.wait",
        "on 1 CPUs",
        stages_spec(PYTHON),
        context={"overrides": {"tuning.wait": "spin", "tuning.pin.0": "0"}},
    ),
    Case(
        "HOST_SPIN_OVERCOMMIT",
        "tuning.wait",
        "5 spinning workers on 4 CPUs",
        stages_spec(
            *(
                f'name = "p{i}"\nstage = "python:mod:Cls"\n'
                + (f"depends_on = [{i - 1}]" if i else "")
                for i in range(4)
            ),
            ring="capacity = 8\nshards = 1",
        ),
        severity=Severity.WARNING,
        context={"overrides": {"tuning.wait": "spin"}},
    ),
    Case(
        "HOST_SHM_FULL", "", "bytes of shared memory", ring("capacity = 16777216\nslot_bytes = 64")
    ),
    Case(
        "HOST_MEMORY_LOW",
        "",
        "memory available",
        context={
            "host": HOST.__class__(
                HOST.cpus_online, HOST.cpus_allowed, HOST.physical_cores, 1 << 30, 4096, True, "tsc"
            )
        },
    ),
)

CASES = (*SYNTAX, *SCHEMA, *TOPOLOGY, *POLICY, *HOSTED)
