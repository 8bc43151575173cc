"""LaneGraph specs: what a plan is lowered to, how a graph is shown and compared."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from byteord.deployment.describe import describe
from byteord.rpc.facts import LANES as LANES_SERVED
from byteord.spec.lane_model import LaneGraph, LaneKind
from byteord.spec.lanegraph.dot import to_dot
from byteord.spec.lanegraph.keys import ALL_SPEC_KEYS, LANE_GRAPH_KEYS
from byteord.spec.schema import key_of
from tests.unit.spec.documents import check, found
from tests.unit.spec.lane_documents import (
    ENDS,
    LANES,
    ROLES,
    deployed,
    end,
    graph,
    look,
    plan,
    role,
    stage,
)
from tests.unit.spec.test_views import compare

IN = 'from = "in", to = "s"'
OUT = 'from = "s", to = "out"'
CAST = 'intent = "broadcast"'


def _graph(text: str) -> LaneGraph:
    report = check(text)
    assert isinstance(report.spec, LaneGraph), [str(each) for each in report.findings]
    return report.spec


def _wiring(text: str) -> list[str]:
    """Return roles and endpoints of a lowered graph as `name: rx -> tx`."""
    made = _graph(text)
    roles = [
        f"{each.name}{':' + each.mode if each.mode else ''}: {' '.join(each.rx)} -> "
        f"{' '.join(each.tx)}{' !' + each.dead_letter if each.dead_letter else ''}"
        for each in made.roles
    ]
    return [*roles, *(f"{each.name}: {each.lane}" for each in made.endpoints)]


@pytest.mark.parametrize(
    ("connections", "stages", "wiring"),
    [
        ((IN, OUT), ("s",), ["s: in-s -> s-out", "in: in-s", "out: s-out"]),
        (
            (IN, 'from = "in", to = "t"', OUT, 'from = "t", to = "out"'),
            ("s", "t"),
            [
                "in-router:broadcast: in-out -> in-s in-t",
                "s: in-s -> out-in",
                "t: in-t -> out-in",
                "in: in-out",
                "out: out-in",
            ],
        ),
        (
            (
                f"{IN}, {CAST}",
                f'from = "in", to = "t", {CAST}',
                OUT,
                'from = "t", to = "out", merge = "ordered"',
            ),
            ("s", "t"),
            [
                "s: in-out -> s-out",
                "t: in-out -> t-out",
                "out-merge:ordered: s-out t-out -> out-in",
                "in: in-out",
                "out: out-in",
            ],
        ),
        (
            (
                f'{IN}, route = "key_hash", key = {{ offset = 0, length = 4 }}',
                'from = "in", to = "t"',
                OUT,
            ),
            ("s", "t"),
            [
                "in-router:key_hash: in-out -> in-s in-t",
                "s: in-s -> s-out",
                "t: in-t -> ",
                "in: in-out",
                "out: s-out",
            ],
        ),
        (
            (f"{IN}, {CAST}", 'from = "in", intent = "journal", durable = true', OUT),
            ("s",),
            [
                "s: in-out -> s-out",
                "in-journal-bridge: in-out -> in-journal",
                "in: in-out",
                "out: s-out",
            ],
        ),
        (
            (
                IN,
                f'{OUT}, intent = "journal", name = "kept"',
                'from = "s", to = "t", intent = "journal", name = "kept"',
            ),
            ("s", "t"),
            ["s: in-s -> kept", "t: kept -> ", "in: in-s", "out: kept"],
        ),
    ],
)
def test_a_plan_is_lowered_by_its_connections(
    connections: tuple[str, ...], stages: tuple[str, ...], wiring: list[str]
) -> None:
    """Each way of connecting places gives the lanes and roles that it needs, and no other."""
    assert _wiring(plan(*connections, stages=look(*stages))) == wiring


def test_several_producers_get_a_ring_each() -> None:
    """Events from several places into one enter by one lane with a ring for each producer."""
    made = _graph(
        plan(IN, 'from = "in", to = "t"', OUT, 'from = "t", to = "out"', stages=look("s", "t"))
    )
    assert made.lane("out-in").publishers_max == 2
    assert ("lane", "out-in") in [(each.what, each.name) for each in made.inserted]


def test_dead_letters_of_several_stages_share_a_lane() -> None:
    """Dead letters of several stages into one endpoint enter by a lane with a ring for each."""
    ends = (
        'name = "in"\nkind = "ingress"',
        'name = "out"\nkind = "egress"',
        'name = "bad"\nkind = "egress"',
    )
    stages = [f'{each}\ndead_letter = "bad"' for each in look("s", "t")]
    made = _wiring(
        plan(IN, 'from = "s", to = "t"', 'from = "t", to = "out"', stages=stages, ends=ends)
    )
    assert made[:2] == ["s: in-s -> s-t !bad-in", "t: s-t -> t-out !bad-in"]


def test_generated_names_never_clash() -> None:
    """A place that has the name that would be generated keeps it; long names are cut and marked."""
    long = "s" * 60
    made = _graph(
        plan(
            f'from = "in", to = "{long}"',
            f'from = "{long}", to = "in-out"',
            'from = "in", to = "in-out"',
            'from = "in-out", to = "out"',
            stages=look(long, "in-out"),
        )
    )
    names = [*(lane.name for lane in made.lanes), *(each.name for each in made.roles)]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for name in names)


def test_a_lossy_connection_stays_lossy_through_a_merge() -> None:
    """Where a merge stands before a lossy reader, it is the merge that never stalls the fan-out."""
    made = _graph(
        plan(
            f"{IN}, {CAST}",
            f'from = "in", to = "out", {CAST}, lossy = true',
            OUT,
            stages=look("s"),
        )
    )
    assert made.lane("in-out").lossy == ("out-merge",)


def test_the_hash_covers_what_was_written() -> None:
    """The canonical form is the authored plan, whose own KV gives the same graph."""
    made = _graph(plan(IN, OUT, stages=look("s")))
    assert b"plan.connections.0.from=in\n" in made.kv
    assert b"lanes." not in made.kv
    assert _graph(made.kv.decode()) == made


def test_one_lane_may_stand_without_quotes_or_brackets() -> None:
    """`rx = "a"` and `rx = ["a"]` are the same, as is `rx=a` in KV."""
    listed = graph(roles=('name = "s"\nkind = "stage"\nstage = "look"\nrx = ["a"]\ntx = ["b"]',))
    made = _graph(listed)
    assert made == _graph(graph())
    bare = made.kv.decode().replace("roles.0.rx.0=a", "roles.0.rx=a")
    assert _graph(bare) == made


def test_every_canonical_key_has_a_row() -> None:
    """Whatever stands in a canonical LaneGraph is described by the table of keys."""
    texts = (
        plan(
            f"{IN}, {CAST}, lossy = true",
            'from = "in", intent = "journal", durable = true',
            OUT,
            stages=look("s"),
        ),
        graph(
            lanes=(*LANES, 'name = "j"\nkind = "journal"\ndurable = true\nsync = "interval"'),
            ends=(*ENDS, end("x", "ingress", "j")),
        ),
    )
    for text in texts:
        for line in _graph(text).kv.decode().splitlines():
            assert key_of(LANE_GRAPH_KEYS, line.partition("=")[0]) is not None, line
            assert key_of(ALL_SPEC_KEYS, line.partition("=")[0]) is not None, line


def test_describe_says_what_was_inserted_and_why() -> None:
    """Describe has the lowered lanes and roles, what was inserted, and is plain JSON."""
    report = check(
        plan(f"{IN}, {CAST}", f'from = "in", to = "out", {CAST}', OUT, stages=look("s")),
        deployed('[[groups]]\nname = "w"\nroles = ["s", "out-merge"]'),
    )
    assert isinstance(report.spec, LaneGraph), report.findings
    assert report.deployment is not None
    said = describe(report.spec, report.deployment)
    assert json.loads(json.dumps(said)) == said
    assert said["model"] == "lane_graph"
    assert [each["name"] for each in said["lanes"]] == ["in-out", "s-out", "out-in"]
    assert said["lanes"][0]["consumers"] == ["s", "out-merge"]
    assert [each["name"] for each in said["inserted"]] == ["out-in", "out-merge"]
    assert said["inserted"][1]["why"] == "2 lanes enter out"
    assert said["groups"] == {"w": ["s", "out-merge"]}
    assert said["wiring"][1]["mode"] == "round_robin"
    assert said["endpoints"][0]["lane"] == "in-out"


SHOWN = graph(
    lanes=(
        'name = "a"\nkind = "fanout_broadcast"\nlossy = ["t"]',
        'name = "q"\nkind = "sequenced_slots"',
        'name = "b"\non_full = "drop"',
        'name = "c"',
        'name = "j"\nkind = "journal"\ndurable = true',
    ),
    roles=(
        role("w", "bridge", ("a",), ("q",)),
        stage("i", "q", "q"),
        role("x", "bridge", ("q",), ("b",)),
        stage("t", "a", "c"),
        role("y", "bridge", ("c",), ("j",)),
    ),
)


def test_dot_shows_every_lane_and_graphviz_draws_it() -> None:
    """The picture has lanes of every kind, work in place and lossy edges; Graphviz accepts it."""
    text = to_dot(_graph(SHOWN))
    for part in (
        '"in" -> "lane a"',
        '"lane a" -> "t" [label="lossy", style=dashed]',
        '"lane q" -> "i" [label="in place", dir=both]',
        '"i" -> "x"',
        '"y" -> "lane j"',
        "drops when full",
        "journal, durable",
    ):
        assert part in text, (part, text)
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    drawn = subprocess.run(
        ["dot", "-Tplain"], input=text, capture_output=True, text=True, check=True, timeout=30
    )
    assert drawn.stderr == ""
    assert len(re.findall(r"^edge ", drawn.stdout, re.MULTILINE)) == 9


def test_diff_of_graphs_and_of_models() -> None:
    """A diff names changed keys of lanes and roles, also between the two models."""
    result = compare(graph(), graph(lanes=('name = "a"\ncapacity = 64', 'name = "b"')))
    assert [(item.path, item.old, item.new) for item in result.changes] == [
        ("lanes.0.capacity", "1024", "64")
    ]
    assert result.takes == "restart"
    other = compare(check().spec_kv.decode(), graph())
    assert {"model", "lanes.0.name", "ring.capacity"} <= {item.path for item in other.changes}


def test_everything_wrong_with_a_graph_is_said_at_once() -> None:
    """A graph with several mistakes gets a finding for each, none of them twice."""
    report = check(
        graph(
            lanes=(*LANES, 'name = "c"\ncapacity = 100'),
            roles=(*ROLES, role("r", "router", ("a",), ("b", "x"), 'mode = "broadcast"')),
        )
    )
    codes = [item.code for item in report.findings]
    assert sorted(codes) == [
        "SPEC_CAPACITY_NOT_POWER_OF_TWO",
        "SPEC_LANE_CONSUMERS",
        "SPEC_LANE_PRODUCERS",
        "SPEC_LANE_UNCONSUMED",
        "SPEC_LANE_UNKNOWN",
        "SPEC_LANE_UNPRODUCED",
    ]


def test_gated_lanes_pass_outside_dev_when_the_spec_says_so() -> None:
    """A spec that names its gated kinds in allow_lanes is accepted in staging."""
    text = graph(
        lanes=(*LANES, 'name = "j"\nkind = "journal"\ndurable = true'),
        ends=(*ENDS, end("in2", "ingress", "j")),
        top='allow_lanes = ["journal"]',
    )
    deployment = deployed(
        '[adapters.in2]\nkind = "box"\npath = "/data/x"\n[journals.j]\ndirectory = "/data/j"'
    )
    report = check(text, deployment, overrides={"environment": "staging"})
    assert report.ok, [str(item) for item in report.findings]
    assert not found(report, "POLICY_LANE_GATED")


def test_a_clients_stream_is_the_unbound_of_several_endpoints() -> None:
    """With several ingress endpoints `--input` stands for the one without an adapter."""
    text = graph(
        lanes=('name = "a"\npublishers_max = 2', 'name = "b"'),
        ends=(*ENDS, end("in2", "ingress", "a")),
    )
    report = check(text, deployed(""), client_input=True)
    assert report.deployment is not None, [str(item) for item in report.findings]
    kinds = {name: adapter.kind for name, adapter in report.deployment.adapters.items()}
    assert kinds == {"in": "box", "in2": "stream", "out": "box"}


def test_capabilities_name_the_path_of_every_lane_kind() -> None:
    """Every kind of lane that a spec can name has a row in what `capabilities` prints."""
    assert set(LANES_SERVED) == {str(kind) for kind in LaneKind}
    assert all(LANES_SERVED.values())


@pytest.mark.parametrize(("readers", "further"), [(8, 0), (9, 1), (15, 1), (16, 2), (64, 8)])
def test_a_fan_out_with_too_many_readers_is_chained(readers: int, further: int) -> None:
    """Each reads one lane of at most eight, each lane hangs on the first; the report says why."""
    names = [f"s{n}" for n in range(readers)]
    lossy = {"s3", names[-1]}
    casts = [
        f'from = "in", to = "{name}", {CAST}{", lossy = true" if name in lossy else ""}'
        for name in names
    ]
    made = _graph(
        plan(*casts, *(f'from = "{name}", to = "out"' for name in names), stages=look(*names))
    )
    fans = [lane for lane in made.lanes if lane.kind is LaneKind.FANOUT_BROADCAST]
    assert len(fans) == further + 1
    reading = {role.name: role.rx[0] for role in made.roles if role.rx[0].startswith("in-out")}
    assert set(names) <= set(reading)
    for lane in fans:
        mine = [name for name, rx in reading.items() if rx == lane.name]
        assert 1 < len(mine) <= 8 or readers == 8
        assert set(lane.lossy) == lossy & set(mine)
    bridges = {role.tx[0]: role.rx[0] for role in made.roles if role.kind == "bridge"}
    assert {lane.name for lane in fans} - bridges.keys() == {"in-out"}
    said = [each.why for each in made.inserted if each.name in bridges]
    assert len(said) == len(fans) - 1
    assert all("which takes 8" in why for why in said)
