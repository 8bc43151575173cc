"""The plan of a LaneGraph: places in lanes, units, workers."""

from __future__ import annotations

from byteord.deployment.describe_graph import graph_notes
from byteord.deployment.plan import ConsumerPlan, RolePlan, RunPlan, RxPlan, TxPlan
from byteord.runs.plan import make_plan, plan_description, plan_memory_bytes
from byteord.spec.lane_model import LaneGraph
from tests.unit.spec.documents import AUTHORITY, HOST, check
from tests.unit.spec.lane_documents import ENDS, deployed, end, graph, role, stage

FAN = (
    'name = "a"\nkind = "fanout_broadcast"\nlossy = ["t"]',
    'name = "b"',
    'name = "c"',
    'name = "d"\npublishers_max = 5',
)
CLIENT = '[adapters.{0}]\nkind = "client"\n'
BOX = '[adapters.{0}]\nkind = "box"\npath = "/data/{0}"\n'


def _plan(spec: str, deployment: str, *, single: bool = False, fuse: str = "never") -> RunPlan:
    report = check(spec, deployment, overrides={"tuning.fuse": fuse})
    assert report.spec is not None, [str(each) for each in report.findings]
    assert report.deployment is not None, [str(each) for each in report.findings]
    return make_plan(
        report.spec,
        report.deployment,
        run_id="r",
        single_process=single,
        host=HOST,
        authority=AUTHORITY,
    )


def _role(plan: RunPlan, name: str) -> RolePlan:
    return next(each for each in plan.roles if each.name == name)


def _units(plan: RunPlan) -> list[str]:
    return ["+".join(plan.roles[index].name for index in unit.roles) for unit in plan.units]


def _split() -> str:
    """Return a graph of two branches that a merge joins, one of them lossy."""
    return graph(
        lanes=(*FAN[:3], 'name = "d"'),
        roles=(
            role("m", "merge", ("c", "d"), ("b",), 'mode = "round_robin"'),
            stage("s", "a", "c"),
            stage("t", "a", "d"),
        ),
    )


def test_roles_stand_in_topological_order() -> None:
    """Ingress first, then roles along the graph whatever their order in the spec, egress last."""
    plan = _plan(_split(), deployed(""))
    assert [each.name for each in plan.roles] == ["in", "s", "t", "m", "out"]
    assert plan.model == "lane_graph"


def test_lossless_readers_have_cells_and_lossy_ones_none() -> None:
    """Cells of a fan-out count the readers that hold it back."""
    plan = _plan(_split(), deployed(""))
    lane = plan.lanes[0]
    assert lane.consumers == (ConsumerPlan(1, 0), ConsumerPlan(2, -1))
    assert plan.rings[lane.rings[0]].cells == 1
    assert _role(plan, "t").rx == (RxPlan(0, -1, lossy=True),)


def test_producers_and_clients_share_the_stripes_of_a_lane() -> None:
    """Each producer has one ring of an events lane; a client endpoint has all that are left."""
    spec = graph(
        lanes=('name = "a"\npublishers_max = 5', 'name = "b"'),
        ends=(*ENDS, end("net", "ingress", "a"), end("in3", "ingress", "a")),
    )
    plan = _plan(
        spec, CLIENT.format("in") + BOX.format("net") + BOX.format("in3") + BOX.format("out")
    )
    assert [each.tx for each in plan.roles[:3]] == [
        (TxPlan(0, 0, 3),),
        (TxPlan(0, 3, 1),),
        (TxPlan(0, 4, 1),),
    ]
    assert [plan.rings[index].file for index in plan.lanes[0].rings] == [
        f"lane-a.{stripe}" for stripe in range(5)
    ]


def test_stages_in_place_follow_each_other_and_one_reader_leaves() -> None:
    """On sequenced_slots cells follow depends_on; who leaves follows the last stages."""
    spec = graph(
        lanes=('name = "a"\nkind = "sequenced_slots"', 'name = "b"'),
        roles=(
            stage("x", "a", "a"),
            stage("y", "a", "a", 'depends_on = "x"'),
            stage("z", "a", "a", 'depends_on = "x"'),
            role("leave", "bridge", ("a",), ("b",)),
        ),
    )
    plan = _plan(spec, deployed(""))
    depends = {each.name: each.rx[0].depends for each in plan.roles if each.rx}
    assert depends == {"x": (), "y": (0,), "z": (0,), "leave": (1, 2), "out": ()}
    assert [each.in_place for each in plan.roles[1:5]] == [True, True, True, False]
    assert _role(plan, "y").tx == (TxPlan(0, -1),)


def test_a_journal_has_a_region_or_a_directory() -> None:
    """In shared memory a journal keeps four segments unless told; a durable one has a directory."""
    spec = graph(
        lanes=(
            'name = "a"\nkind = "fanout_broadcast"',
            'name = "j"\nkind = "journal"\nsegment_bytes = 65536',
            'name = "k"\nkind = "journal"\ndurable = true\nsync = "interval"',
            'name = "b"',
        ),
        roles=(
            role("w", "bridge", ("a",), ("j",)),
            role("v", "bridge", ("a",), ("k",)),
            stage("s", "j", "b"),
        ),
    )
    plan = _plan(spec, deployed('[journals.k]\ndirectory = "/data/k"'))
    memory, durable = plan.lanes[1].journal, plan.lanes[2].journal
    assert memory is not None
    assert (memory.file, memory.directory, memory.retention_bytes) == ("journal-j", "", 4 * 65536)
    assert durable is not None
    assert (durable.file, durable.directory, durable.sync) == ("", "/data/k", "interval")
    assert plan.lanes[1].rings == ()
    assert plan_memory_bytes(plan) > 4 * 65536


def test_native_neighbours_are_fused_along_lossless_rings() -> None:
    """Fusion joins neighbours, not across a lossy edge, and never so that messages come back."""
    plan = _plan(_split(), deployed(""), fuse="always")
    assert _units(plan) == ["in+s", "t+m+out"]
    assert [worker.name for worker in plan.workers] == ["in+s", "t+m+out"]


def test_python_roles_and_clients_stay_alone() -> None:
    """A Python stage has a unit and a process of its own; a client is in no worker."""
    spec = graph(
        lanes=('name = "a"', 'name = "c"', 'name = "b"'),
        roles=(stage("p", "a", "c", key="python:m:C"), stage("s", "c", "b")),
    )
    plan = _plan(spec, CLIENT.format("in") + BOX.format("out"), fuse="always")
    assert _units(plan) == ["in", "p", "s+out"]
    assert [worker.name for worker in plan.workers] == ["p", "s+out"]


def test_groups_share_a_worker_and_fusion_stays_within() -> None:
    """Roles of a group are threads of one worker; fusion does not join roles of two groups."""
    deployment = deployed('[[groups]]\nname = "w"\nroles = ["s", "t"]')
    plan = _plan(_split(), deployment)
    assert [worker.name for worker in plan.workers] == ["in", "w", "m", "out"]
    assert plan.workers[1].threads == ((1,), (2,))
    fused = _plan(_split(), deployment, fuse="always")
    assert _units(fused) == ["in", "s", "t", "m+out"]


def test_one_process_has_a_thread_for_each_unit_and_one_for_python() -> None:
    """With one process native units have a thread each, all Python ones share the first."""
    spec = graph(
        lanes=('name = "a"\nkind = "fanout_broadcast"', 'name = "c"', 'name = "d"', 'name = "b"'),
        roles=(
            stage("p", "a", "c", key="python:m:C"),
            stage("q", "a", "d", key="python:m:D"),
            role("m", "merge", ("c", "d"), ("b",), 'mode = "ordered"'),
        ),
    )
    plan = _plan(spec, deployed(""), single=True)
    assert [worker.threads for worker in plan.workers] == [((1, 2), (0,), (3,), (4,))]


def test_a_unit_stops_growing_at_eight_roles() -> None:
    """A long chain is cut into units of at most eight roles."""
    names = [f"l{index}" for index in range(12)]
    chain = [stage(f"s{i}", names[i], names[i + 1]) for i in range(11)]
    spec = graph(
        lanes=[f'name = "{name}"' for name in names],
        roles=chain,
        ends=(end("in", "ingress", "l0"), end("out", "egress", "l11")),
    )
    plan = _plan(spec, deployed(""), fuse="always")
    assert [len(unit.roles) for unit in plan.units] == [8, 5]
    assert [worker.threads for worker in plan.workers] == [((0, 1),)]


def _fan_out(width: int, lossy: str = "") -> str:
    """Return a graph of one source and several sinks."""
    sinks = [end(f"out{i}", "egress", "a") for i in range(width)]
    return graph(
        lanes=(f'name = "a"\nkind = "fanout_broadcast"\n{lossy}',),
        roles=(),
        ends=(end("in", "ingress", "a"), *sinks),
    )


def _sinks(width: int) -> str:
    return BOX.format("in") + "".join(BOX.format(f"out{i}") for i in range(width))


def test_neighbours_that_cannot_commit_as_one_take_turns_on_a_thread() -> None:
    """Each unit has at most one sink; fused, those of one source share its thread and worker."""
    plan = _plan(_fan_out(3), _sinks(3), fuse="always")
    assert _units(plan) == ["in+out0", "out1", "out2"]
    assert [worker.name for worker in plan.workers] == ["in+out0+out1+out2"]
    assert plan.workers[0].threads == ((0, 1, 2),)
    single = _plan(_fan_out(3), _sinks(3), single=True, fuse="always")
    assert single.workers[0].threads == ((0, 1, 2),)
    never = _plan(_fan_out(3), _sinks(3))
    assert [worker.threads for worker in never.workers] == [((0,),), ((1,),), ((2,),), ((3,),)]


def test_a_reader_that_may_miss_messages_never_shares_the_thread_of_its_writer() -> None:
    """Nobody waits for it, so it must not hold anybody up."""
    plan = _plan(_fan_out(3, 'lossy = ["out1"]'), _sinks(3), fuse="always")
    assert [worker.name for worker in plan.workers] == ["in+out0+out2", "out1"]


def test_auto_leaves_threads_for_half_of_the_cpus() -> None:
    """Where there are CPUs, units keep threads of their own even if roles are fused."""
    cpus = len(HOST.cpus_allowed)
    plan = _plan(_fan_out(cpus), _sinks(cpus), fuse="auto")
    assert len(plan.units) == cpus
    assert len(plan.workers) == max(cpus // 2, 1)


def test_the_plan_is_described_with_its_lanes() -> None:
    """The description of a plan names who writes and reads each lane."""
    said = plan_description(_plan(_split(), deployed("")))
    assert said["lanes"][0] == {
        "name": "a",
        "kind": "fanout_broadcast",
        "rings": ["lane-a"],
        "producers": ["in"],
        "consumers": ["s", "t"],
    }


def test_a_merge_by_time_says_whether_its_order_is_the_same_in_every_run() -> None:
    """It is, unless a lane before it mingles: there `describe` names that lane."""
    lanes = ('name = "a"', 'name = "b"', 'name = "c"\nkind = "fanout_broadcast"', 'name = "d"')
    more = ('name = "e"', 'name = "f"')

    def notes(mode: str) -> list[str]:
        spec = graph(
            lanes=(*lanes, *more),
            roles=(
                role("first", "router", ("a",), ("d", "e"), 'mode = "broadcast"'),
                role("mix", "merge", ("d", "e"), ("c",), f'mode = "{mode}"'),
                stage("s", "c", "f"),
                role("last", "merge", ("f", "c"), ("b",), 'mode = "ordered"'),
            ),
        )
        report = check(spec, deployed(""))
        assert isinstance(report.spec, LaneGraph), [str(each) for each in report.findings]
        return graph_notes(report.spec)

    assert notes("ordered")[1] == "last merges by ingress time: its order is the same in every run"
    assert notes("round_robin")[1].startswith("last merges by ingress time, but f, c may come")
