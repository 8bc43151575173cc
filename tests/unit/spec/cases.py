"""For every code the documents that provoke it, and where the finding must stand."""

from __future__ import annotations

from dataclasses import replace

from byteord.deployment.model import Authority, SideEffects
from byteord.spec.findings import Severity
from tests.unit.spec.case import (
    IN_STAGING,
    KEEP,
    LOOK,
    PIN,
    PYTHON,
    SCRUB,
    Case,
    deployed,
    ring,
    two,
)
from tests.unit.spec.cases_capture import CAPTURES
from tests.unit.spec.cases_lanes import LANE_CASES
from tests.unit.spec.cases_schema import SCHEMA, SYNTAX
from tests.unit.spec.documents import (
    DEPLOYMENT,
    ENDS,
    HEAD,
    HOST,
    SPEC,
    NoFiles,
    narrowed,
    stages_spec,
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
        "DEPLOYMENT_SIDE_EFFECTS_LOOSER",
        "effects.side_effects",
        "deny_all",
        SPEC,
        deployed('[effects]\nside_effects = "require_approval"'),
        context={
            "authority": Authority(
                side_effects=SideEffects.DENY_ALL, read_dirs=("/data",), write_dirs=("/data",)
            )
        },
    ),
    Case(
        "DEPLOYMENT_LEASE_LOST_EGRESS",
        "effects.on_lease_lost",
        '"dead_letter" and an egress that acts: out (file) "hold" or "stop"',
        SPEC,
        deployed('[effects]\non_lease_lost = "dead_letter"').replace(
            '"box"\npath = "/data/out"', '"file"\npath = "/data/out"'
        ),
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
        severity=Severity.WARNING,
        context=IN_STAGING,
    ),
    Case(
        "POLICY_EFFECTS_GATED",
        "stages.0.effects",
        "approve request",
        stages_spec(f'{PYTHON}\n{PIN}\neffects = ["http"]'),
        severity=Severity.NOTE,
        context=IN_STAGING,
    ),
    Case(
        "POLICY_URL_DENIED",
        "stages.0.stage",
        "no url_prefixes",
        stages_spec('name = "a"\nstage = "http_post:https://hooks.example/in"'),
    ),
    Case(
        "POLICY_EXEC_DENIED",
        "stages.0.stage",
        "allow.exec",
        stages_spec('name = "a"\nstage = "exec:/bin/true|x"'),
    ),
    Case(
        "POLICY_SCHEMA_FILE",
        "dataguard.schemas",
        "no such file",
        SPEC,
        deployed('[dataguard]\nschemas = ["/data/none.toml"]'),
        line=10,
        context={"files": NoFiles()},
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
        "HOST_NOT_CONFINING",
        "stages.0.effects",
        "confines",
        stages_spec(f"{PYTHON}\n{PIN}\neffects = []"),
        context={**IN_STAGING, "host": replace(HOST, confinement="")},
    ),
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
        context={"overrides": {"tuning.wait": "spin"}},
    ),
    Case(
        "HOST_REALTIME_EVERYWHERE",
        "tuning.sched",
        "left to everything else",
        stages_spec(PYTHON),
        deployed('[tuning]\nwait = "spin"\nsched = "fifo"\npriority = 5'),
        context={"host": replace(HOST, cpus_online=(0, 1), cpus_allowed=(0, 1))},
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

CASES = (*SYNTAX, *SCHEMA, *TOPOLOGY, *POLICY, *HOSTED, *LANE_CASES, *CAPTURES)
