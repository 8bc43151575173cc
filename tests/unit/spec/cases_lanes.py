"""The documents that provoke the codes of LaneGraph specs."""

from __future__ import annotations

from byteord.spec.findings import Severity
from tests.unit.spec.case import Case
from tests.unit.spec.cases_lanes_deployed import LANE_DEPLOYED
from tests.unit.spec.lane_documents import (
    ENDS,
    LANES,
    ROLES,
    end,
    graph,
    ingress,
    look,
    plan,
    role,
    stage,
)

_DURABLE = 'name = "j"\nkind = "journal"\ndurable = true'
_TO_J = role("w", "bridge", ("b",), ("j",))
_FAN = ('name = "a"\nkind = "fanout_broadcast"', 'name = "b"', 'name = "c"')
_OUT2 = end("out2", "egress", "c")
_TWICE = (stage("s", "a", "b"), stage("t", "a", "c"))
_ONWARD = 'from = "in", to = "s"', 'from = "s", to = "out"'
_SEQ = ('name = "a"\nkind = "sequenced_slots"', 'name = "b"')
_LEAVE = role("leave", "bridge", ("a",), ("b",))


def _split(mode: str, key: str = "") -> str:
    """Return a router into two lanes that a merge joins again."""
    return graph(
        lanes=('name = "a"', 'name = "x"', 'name = "y"', 'name = "b"'),
        roles=(
            role("r", "router", ("a",), ("x", "y"), f'mode = "{mode}"\n{key}'),
            role("m", "merge", ("x", "y"), ("b",), 'mode = "priority"'),
        ),
    )


SCHEMA = (
    Case(
        "KEY_MISSING",
        "roles.0.stage",
        "stage",
        graph(roles=('name = "s"\nkind = "stage"\nrx = "a"\ntx = "b"',)),
    ),
    Case("KEY_MISSING", "endpoints.0.lane", "lane", graph(ends=('name = "in"\nkind = "ingress"',))),
    Case("KEY_MISSING", "roles.0.key", "offset", _split("key_hash")),
    Case("VALUE_CHOICE", "roles.0.mode", "work_queue", _split("ordered"), line=17, column=1),
    Case("SPEC_NAME_DUPLICATE", "lanes.2.name", "lanes.0", graph(lanes=(*LANES, 'name = "a"'))),
    Case(
        "SPEC_NAME_DUPLICATE",
        "endpoints.0.name",
        "roles.0",
        graph(ends=(end("s", "ingress", "a"), ENDS[1])),
    ),
    Case(
        "SPEC_CAPACITY_NOT_POWER_OF_TWO",
        "lanes.0.capacity",
        "64 or 128",
        graph(lanes=('name = "a"\ncapacity = 100', 'name = "b"')),
        line=6,
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "lanes.0.durable",
        "kind events",
        graph(lanes=('name = "a"\ndurable = true', 'name = "b"')),
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "lanes.0.publishers_max",
        "fanout_broadcast",
        graph(lanes=('name = "a"\nkind = "fanout_broadcast"\npublishers_max = 2', 'name = "b"')),
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "lanes.2.capacity",
        "kind journal",
        graph(lanes=(*LANES, f"{_DURABLE}\ncapacity = 64"), roles=(*ROLES, _TO_J)),
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "lanes.2.sync",
        "shared memory",
        graph(lanes=(*LANES, 'name = "j"\nkind = "journal"\nsync = "interval"')),
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "lanes.2.sync_interval_ms",
        "every_batch",
        graph(lanes=(*LANES, f'{_DURABLE}\nsync = "every_batch"\nsync_interval_ms = 5')),
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "roles.0.outputs_max",
        "kind bridge",
        graph(roles=(role("s", "bridge", ("a",), ("b",), "outputs_max = 2"),)),
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "roles.0.mode",
        "kind stage",
        graph(roles=(f'{ROLES[0]}\nmode = "priority"',)),
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "roles.0.key",
        "key_hash",
        _split("work_queue", "key = { offset = 0, length = 4 }"),
    ),
    Case(
        "SPEC_KEY_MISPLACED",
        "plan.connections.0.lossy",
        "intent",
        plan('from = "in", to = "s", lossy = true', _ONWARD[1], stages=look("s")),
    ),
    Case(
        "SPEC_LOSSY_MISPLACED",
        "lanes.0.lossy",
        "fanout_broadcast only",
        graph(lanes=('name = "a"\nlossy = ["s"]', 'name = "b"')),
    ),
    Case(
        "SPEC_PORT_COUNT",
        "roles.0.rx",
        "1 for a stage",
        graph(roles=(role("s", "stage", ("a", "b"), ("b",), 'stage = "look"'),)),
    ),
    Case(
        "SPEC_PORT_COUNT",
        "roles.0.tx",
        "2 to 32",
        graph(roles=(role("s", "router", ("a",), ("b",), 'mode = "broadcast"'),)),
    ),
    Case(
        "SPEC_PORT_COUNT",
        "roles.0.rx",
        "reads in rx",
        graph(roles=('name = "s"\nkind = "stage"\nstage = "look"\ntx = "b"',)),
    ),
    Case(
        "SPEC_PORT_DUPLICATE",
        "roles.0.tx.1",
        "each lane once",
        graph(roles=(role("s", "router", ("a",), ("b", "b"), 'mode = "broadcast"'),)),
    ),
    Case(
        "SPEC_PORT_DUPLICATE",
        "roles.0.dead_letter",
        "each lane once",
        graph(roles=(f'{ROLES[0]}\ndead_letter = "b"',)),
    ),
    Case(
        "SPEC_ROUTER_KEY_EMPTY",
        "roles.0.key.length",
        "1 byte",
        _split("key_hash", "key = { offset = 0 }"),
    ),
    Case(
        "SPEC_SEGMENT_TOO_SMALL",
        "lanes.2.segment_bytes",
        "131072",
        graph(
            lanes=(*LANES, f"{_DURABLE}\nslot_bytes = 65536\nsegment_bytes = 65536"),
            roles=(*ROLES, _TO_J),
        ),
    ),
    Case(
        "SPEC_RETENTION_TOO_SMALL",
        "lanes.2.retention_bytes",
        "two segments",
        graph(lanes=(*LANES, f"{_DURABLE}\nretention_bytes = 1000")),
    ),
    Case(
        "SPEC_PLAN_MIXED",
        "lanes",
        "not both",
        plan(*_ONWARD, stages=look("s")) + '[[lanes]]\nname = "a"\n',
    ),
    Case(
        "SPEC_PLAN_MIXED",
        "endpoints.0.lane",
        "not both",
        plan(*_ONWARD, stages=look("s"), ends=ENDS),
    ),
)

TOPOLOGY = (
    Case("SPEC_INGRESS_COUNT", "endpoints", "at least one", graph(ends=(ENDS[1],))),
    Case(
        "SPEC_GRAPH_TOO_LARGE",
        "lanes",
        "at most 256",
        graph(lanes=[*LANES, *(f'name = "l{i}"' for i in range(255))]),
    ),
    Case(
        "SPEC_LANE_UNKNOWN",
        "roles.0.tx.0",
        'did you mean "blue"',
        graph(lanes=('name = "a"', 'name = "blue"'), roles=(stage("s", "a", "blu"),)),
    ),
    Case(
        "SPEC_LANE_UNKNOWN",
        "endpoints.0.lane",
        "[[lanes]]",
        graph(ends=(end("in", "ingress", "zzz"), ENDS[1])),
    ),
    Case("SPEC_LANE_UNPRODUCED", "lanes.2", "nobody writes", graph(lanes=(*LANES, 'name = "c"'))),
    Case("SPEC_LANE_UNCONSUMED", "lanes.1", "nobody reads", graph(ends=ENDS[:1])),
    Case(
        "SPEC_LANE_UNCONSUMED",
        "lanes.2",
        "durable",
        graph(lanes=(*LANES, 'name = "j"\nkind = "journal"'), ends=(*ENDS, *ingress(("x", "j")))),
    ),
    Case(
        "SPEC_LANE_PRODUCERS",
        "endpoints.2.lane",
        "publishers_max = 2",
        graph(ends=(*ENDS, *ingress(("in2", "a")))),
    ),
    Case(
        "SPEC_LANE_PRODUCERS",
        "endpoints.3.lane",
        "merge",
        graph(lanes=_FAN, roles=_TWICE, ends=(*ENDS, _OUT2, *ingress(("in2", "a")))),
    ),
    Case(
        "SPEC_LANE_CONSUMERS",
        "roles.1.rx.0",
        "fanout_broadcast",
        graph(lanes=(*LANES, 'name = "c"'), roles=_TWICE, ends=(*ENDS, _OUT2)),
    ),
    Case(
        "SPEC_LANE_CONSUMERS",
        "roles.8.rx.0",
        "8 for a lane",
        graph(lanes=_FAN[:1], roles=[stage(f"s{i}", "a") for i in range(9)], ends=ENDS[:1]),
    ),
    Case(
        "SPEC_LANE_CYCLE",
        "roles.0",
        "m -> lane b -> s -> lane c -> m",
        graph(
            lanes=(*LANES, 'name = "c"'),
            roles=(
                role("m", "merge", ("a", "c"), ("b",), 'mode = "priority"'),
                stage("s", "b", "c"),
            ),
            ends=ENDS[:1],
        ),
    ),
    Case("SPEC_LANE_CYCLE", "roles.0", "s -> lane a -> s", graph(roles=(stage("s", "a", "a"),))),
    Case(
        "SPEC_LOSSY_UNKNOWN",
        "lanes.0.lossy.0",
        "s, t",
        graph(lanes=(f'{_FAN[0]}\nlossy = ["u"]', *_FAN[1:]), roles=_TWICE, ends=(*ENDS, _OUT2)),
    ),
    Case(
        "SPEC_LOSSY_INTO_ORDERED",
        "lanes.0.lossy.0",
        "what was lost",
        graph(
            lanes=(f'{_FAN[0]}\nlossy = ["m"]', *_FAN[1:]),
            roles=(
                stage("t", "a", "c"),
                role("m", "merge", ("a", "c"), ("b",), 'mode = "ordered"'),
            ),
        ),
    ),
    Case(
        "SPEC_SLOT_TOO_SMALL",
        "roles.0.tx.0",
        "slot_bytes",
        graph(lanes=('name = "a"', 'name = "b"\nslot_bytes = 128')),
    ),
    Case(
        "SPEC_SLOT_TOO_SMALL",
        "roles.0.dead_letter",
        "slot_bytes",
        graph(
            lanes=(*LANES, 'name = "d"\nslot_bytes = 64'),
            roles=(f'{ROLES[0]}\ndead_letter = "d"',),
            ends=(*ENDS, end("bad", "egress", "d")),
        ),
    ),
    Case(
        "SPEC_OUTPUTS_TOO_MANY",
        "roles.0.dead_letter",
        "in place",
        graph(
            lanes=(*_SEQ, 'name = "d"'),
            roles=(stage("s", "a", "a", 'dead_letter = "d"'), _LEAVE),
            ends=(*ENDS, end("out2", "egress", "d")),
        ),
    ),
    Case(
        "SPEC_OUTPUTS_TOO_MANY",
        "roles.0.outputs_max",
        "at most 15",
        graph(
            lanes=('name = "a"', 'name = "b"\ncapacity = 16'),
            roles=(f"{ROLES[0]}\noutputs_max = 16",),
        ),
    ),
    Case(
        "SPEC_OUTPUTS_TOO_MANY",
        "roles.0.outputs_max",
        "in place",
        graph(lanes=_SEQ, roles=(stage("s", "a", "a", "outputs_max = 2"), _LEAVE)),
    ),
    Case(
        "SPEC_RANGE_OUTSIDE",
        "roles.0.key",
        "240 bytes",
        _split("key_hash", "key = { offset = 236, length = 8 }"),
    ),
    Case(
        "SPEC_STAGES_TOO_MANY",
        "roles.4.tx",
        "at most 4",
        graph(
            lanes=_SEQ,
            roles=[
                *(
                    stage(f"s{i}", "a", "a", f'depends_on = "s{i - 1}"' if i else "")
                    for i in range(5)
                ),
                _LEAVE,
            ],
        ),
    ),
    Case(
        "SPEC_DEPENDENCY_MISSING",
        "roles.1.depends_on",
        'depends_on = "s"',
        graph(lanes=_SEQ, roles=(stage("s", "a", "a"), stage("t", "a", "a"), _LEAVE)),
    ),
    Case(
        "SPEC_DEPENDENCY_UNKNOWN",
        "roles.1.depends_on.0",
        "did you mean",
        graph(
            lanes=_SEQ,
            roles=(stage("st", "a", "a"), stage("t", "a", "a", 'depends_on = "sst"'), _LEAVE),
        ),
    ),
    Case(
        "SPEC_DEPENDENCY_FORWARD",
        "roles.0.depends_on.0",
        "stands before",
        graph(
            lanes=_SEQ,
            roles=(
                stage("s", "a", "a", 'depends_on = "t"'),
                stage("t", "a", "a", 'depends_on = "s"'),
                _LEAVE,
            ),
        ),
    ),
    Case(
        "SPEC_UNORDERED_HEADER_CHANGE",
        "roles.1",
        "drops",
        graph(
            lanes=_SEQ,
            roles=(
                stage("s", "a", "a"),
                stage("t", "a", "a", 'depends_on = "s"\nconfig.value = 1', key="keep"),
                stage("u", "a", "a", 'depends_on = "s"'),
                _LEAVE,
            ),
        ),
    ),
    Case(
        "SPEC_CONNECTION_UNKNOWN",
        "plan.connections.1.to",
        'did you mean "out"',
        plan(_ONWARD[0], 'from = "s", to = "outt"', stages=look("s")),
    ),
    Case(
        "SPEC_CONNECTION_UNKNOWN",
        "plan.connections.2.to",
        "only a journal",
        plan(*_ONWARD, 'from = "s"', stages=look("s")),
    ),
    Case(
        "SPEC_CONNECTION_UNKNOWN",
        "plan.stages.0.dead_letter",
        "egress",
        plan(*_ONWARD, stages=(f'{look("s")[0]}\ndead_letter = "in"',)),
    ),
    Case(
        "SPEC_CONNECTION_DIRECTION",
        "plan.connections.2.from",
        "swap",
        plan(*_ONWARD, 'from = "out", to = "s"', stages=look("s")),
    ),
    Case(
        "SPEC_CONNECTION_DUPLICATE",
        "plan.connections.2",
        "between two places",
        plan(*_ONWARD, _ONWARD[1], stages=look("s")),
    ),
    Case(
        "SPEC_CONNECTION_CONFLICT",
        "plan.connections.1.capacity",
        "64",
        plan(
            'from = "in", to = "s", intent = "broadcast", capacity = 64',
            'from = "in", to = "t", intent = "broadcast", capacity = 32',
            stages=look("s", "t"),
        ),
    ),
    Case(
        "SPEC_CONNECTION_CONFLICT",
        "plan.connections.3.merge",
        "priority",
        plan(
            'from = "in", to = "s", intent = "broadcast"',
            'from = "in", to = "t", intent = "broadcast"',
            'from = "s", to = "out", merge = "priority"',
            'from = "t", to = "out", merge = "ordered"',
            stages=look("s", "t"),
        ),
    ),
    Case(
        "SPEC_NAME_DUPLICATE",
        "plan.connections.1.name",
        "unique",
        plan(
            'from = "in", to = "s", name = "l"',
            'from = "s", to = "out", name = "l"',
            stages=look("s"),
        ),
    ),
    Case(
        "SPEC_MERGE_UNUSED",
        "plan.connections.1.merge",
        "several",
        plan(_ONWARD[0], 'from = "s", to = "out", merge = "ordered"', stages=look("s")),
        severity=Severity.WARNING,
    ),
    Case(
        "SPEC_PLACE_UNCONNECTED",
        "plan.stages.1",
        "enters the stage",
        plan(*_ONWARD, stages=look("s", "t")),
    ),
)

LANE_CASES = (*SCHEMA, *TOPOLOGY, *LANE_DEPLOYED)
