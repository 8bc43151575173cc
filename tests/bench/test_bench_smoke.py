"""The bench itself works: anchors, peers and runner, with samples too short to mean anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.candidates import two_cpus
from tests.bench.client_links import CLIENT_LINKS, CLIENT_PINGS
from tests.bench.crowd import CROWD_NAMES, Crowd, build_crowd
from tests.bench.graph_runs import graph_shapes
from tests.bench.native import BenchError, NativePair, build_pair
from tests.bench.python_links import LINKS, PINGS
from tests.bench.python_pairs import PythonPair, PythonPing
from tests.bench.runs import BOUNDS_NS, SHAPES, DaemonUnderTest, RunGuest, ages

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="the native bench needs gcc and g++"),
    pytest.mark.skipif(
        not Path("/usr/include/boost/lockfree").exists(),
        reason="Boost.Lockfree (libboost-dev) is not installed",
    ),
]
SHORT_MS = 2.0


@pytest.fixture(scope="module")
def cpus() -> tuple[int, int]:
    """Return two CPUs, or skip."""
    try:
        return two_cpus()
    except BenchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the native program, built once."""
    return build_pair(tmp_path_factory.mktemp("bench"))


@pytest.fixture(params=["process", "thread"])
def pair(
    request: pytest.FixtureRequest, program: Path, cpus: tuple[int, int]
) -> Iterator[NativePair]:
    """Yield the native pair with both kinds of sides."""
    with NativePair(program, cpus, request.param) as opened:
        yield opened


def test_the_probe_gives_plausible_anchors(pair: NativePair) -> None:
    """A bare line takes 5 ns to 100 us, its tail is no shorter, lines stream at over 1 a us."""
    probe = pair.probe(4.0)
    assert 5 < probe.round_trip_p50_ns < 100_000
    assert probe.round_trip_p99_ns >= probe.round_trip_p50_ns
    assert probe.lines_per_s > 1e6


def test_every_native_candidate_delivers_in_order(pair: NativePair) -> None:
    """Each candidate moves messages, each the next one and whole, or it would be an error."""
    for name in pair.names():
        values = pair.sample(name, SHORT_MS).values
        assert all(value > 0 for value in values.values()), name


def test_an_unknown_candidate_is_named(pair: NativePair) -> None:
    """Asking for what does not exist names it."""
    with pytest.raises(BenchError, match="unknown_candidate_nothing"):
        pair.sample("nothing", SHORT_MS)


@pytest.mark.parametrize("name", sorted({**LINKS, **CLIENT_LINKS}))
def test_every_python_link_delivers_all_bytes(name: str, cpus: tuple[int, int]) -> None:
    """Each Python peer moves as many bytes as were sent."""
    try:
        with PythonPair(name, {**LINKS, **CLIENT_LINKS}[name], cpus) as link:
            assert link.sample(SHORT_MS)["rate"] > 0
    except BenchError as error:
        if "is not installed" in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("name", sorted({**PINGS, **CLIENT_PINGS}))
def test_every_python_ping_returns(name: str, cpus: tuple[int, int]) -> None:
    """Each Python peer answers a message with a message."""
    try:
        with PythonPing(name, {**PINGS, **CLIENT_PINGS}[name], cpus) as ping:
            assert ping.sample(SHORT_MS)["p50_ns"] > 0
    except BenchError as error:
        if "is not installed" in str(error):
            pytest.skip(str(error))
        raise


def test_real_runs_are_measured_from_outside(cpus: tuple[int, int]) -> None:
    """A run of generator, stages and discard under a real daemon shows a rate."""
    with DaemonUnderTest() as daemon:
        for name in ("run.batch.256k", "run.chain3.fused"):
            with RunGuest(daemon, name, SHAPES[name], cpus) as guest:
                assert guest.sample(20)["rate"] > 0


@pytest.mark.parametrize(
    "name",
    [
        "graph.fanout2.apart.batch",
        "graph.producers2.fused.single",
        "graph.diamond.apart.batch",
    ],
)
def test_graph_runs_bring_every_message_to_every_sink(name: str, cpus: tuple[int, int]) -> None:
    """A graph shows a rate; once drained, each sink has what all sources made, as often as due."""
    shape = graph_shapes()[name]
    with DaemonUnderTest() as daemon, RunGuest(daemon, name, shape, cpus) as guest:
        assert guest.sample(20)["rate"] > 0
        roles = guest.drained()
    assert len(roles) == shape.roles
    made = sum(roles[name]["published"] for name in shape.sources)
    assert made > 1000
    arrived = {name: roles[name]["received"] for name in shape.sinks}
    assert set(arrived.values()) == {made * shape.copies}, arrived


def test_all_sides_of_a_shape_can_have_one_cpu(tmp_path: Path, cpus: tuple[int, int]) -> None:
    """With --together a shape of three sides moves messages on the first CPU alone."""
    name, written = "graph.fanout2.apart.batch", tmp_path / "bench.json"
    assert f"pin = [{cpus[0]}]" in graph_shapes()[name].deployment((cpus[0], cpus[0]), 0)
    wanted = ["--rounds", "1", "--ms", "5", "--together", "--only", name]
    assert main([*wanted, "--json", str(written)]) == 0
    report = json.loads(written.read_text())
    assert report["processes"] == {name: "3 roles, 3 processes, on one CPU"}
    assert report["rounds"][0][name]["rate"] > 0


def test_every_queue_of_the_crowd_delivers_in_order(tmp_path: Path, cpus: tuple[int, int]) -> None:
    """Each queue of another project moves all messages in its shapes, or it would be an error."""
    with Crowd(build_crowd(tmp_path), cpus) as crowd:
        assert "boost.spsc" in crowd.queues
        names = [name for name, what in CROWD_NAMES.items() if what[0] in crowd.queues]
        assert {
            name for name in names if crowd.sample(CROWD_NAMES[name], SHORT_MS)["rate"] <= 0
        } == set()
        with pytest.raises(BenchError, match="unknown_nothing_chain"):
            crowd.sample(("nothing", "chain", 2, 1), SHORT_MS)


def test_ages_are_read_from_cumulative_counts() -> None:
    """The percentiles are of what was added between two looks, not of all that ever was."""
    before = [100] * len(BOUNDS_NS)
    after = [100 + min(index, 50) for index in range(len(BOUNDS_NS))]
    assert ages(before, after) == {"p50_ns": BOUNDS_NS[25], "p99_ns": BOUNDS_NS[50]}


def test_the_runner_prints_the_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cpus: tuple[int, int]
) -> None:
    """`python -m tests.bench` prints the table and writes every sample to the file."""
    written = tmp_path / "bench.json"
    run = partial(
        main,
        ["--quick", "--rounds", "1", "--ms", "2", "--only", "boost.single", "--json", str(written)],
    )
    assert run() == 0
    assert "Targets" in capsys.readouterr().out
    report = json.loads(written.read_text())
    assert report["cpus"] == list(cpus)
    assert "boost.single.256k.64" in report["rounds"][0]
