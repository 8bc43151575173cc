"""What clients publish straight into the rings of a run is recorded too, by who takes it first."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from byteord import client
from byteord.deployment.plan import RunPlan
from tests.support.captured import made, payloads, recorded
from tests.support.lanes import L, R, graph_plan, sink, source, stage
from tests.support.run import LiveRun, make_test_plan, running, spec_text

EACH = 3_000
UPPER = '''
class Upper:
    """Upper-case text, in place."""

    def __init__(self, ctx):
        pass

    def process(self, batch):
        for index, payload in enumerate(batch):
            batch.replace(index, bytes(payload).upper())
'''


def _publish(directory: str, endpoint: str, name: bytes, count: int) -> None:
    with client.attach(directory, endpoint) as publisher:
        for number in range(count):
            publisher.publish(b"%s:%06d" % (name, number))


def _drained(run: LiveRun, endpoint: str, names: tuple[bytes, ...]) -> None:
    """Have one publisher per name publish at the same time, then drain the run."""
    run.until_state("running", "failed")
    context = multiprocessing.get_context("fork")
    people = [
        context.Process(target=_publish, args=(run.directory, endpoint, name, EACH))
        for name in names
    ]
    for each in people:
        each.start()
    for each in people:
        each.join(30)
    run.command(op="stop", mode="drain")
    status = run.until_state("stopped", "completed", "failed", timeout_s=30)
    assert status["failure"] is None, (status, run.log())
    run.shim.wait(10)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("on_full", ["degrade", "wait"])
def test_a_client_of_a_ring_is_recorded_before_a_stage_changes_it(
    tmp_path: Path, on_full: str
) -> None:
    """The messages stand in the capture as they were published, not as a stage left them."""
    (tmp_path / "upper_for_capture.py").write_text(UPPER)
    upper = (
        '[[stages]]\nname = "upper"\nstage = "python:upper_for_capture:Upper"\n'
        'mutates = "all"\nresizes = true\neffects = []\n'
    )
    deployment = (
        '[adapters.in]\nkind = "client"\n[adapters.out]\nkind = "file"\n'
        f'path = "{tmp_path / "out"}"\nmode = "truncate"\nframing = "lines"\n'
    )
    plan = make_test_plan(spec_text(upper), deployment, directories=[str(tmp_path)])
    plan, kept = recorded(plan, tmp_path / "captures", on_full=on_full)
    with running(plan) as run:
        _drained(run, "in", (b"a",))
    assert payloads(kept, "in", "in") == [b"a:%06d" % number for number in range(EACH)]
    left = [b"A:%06d" % number for number in range(EACH)]
    assert payloads(kept, "out", "out") == left
    assert (tmp_path / "out").read_bytes().splitlines() == left


def _lanes(out: Path) -> RunPlan:
    roles = [
        source("in", "a", "generator", size=48, count=EACH, content="checksummed"),
        R("clients", "ingress", tx=("a",), publishers=3, more={"adapter": "client"}),
        stage("pass", "a", "b", "identity"),
        sink("out", "b", "file", path=str(out), mode="truncate", framing="length_prefixed"),
    ]
    return graph_plan([L("a"), L("b")], roles, write_dirs=(str(out.parent),))


@pytest.mark.timeout(60)
def test_publishers_of_a_lane_are_recorded_in_the_order_in_which_they_are_taken(
    tmp_path: Path,
) -> None:
    """Three publishers beside an adapter: inputs and the choices of who takes give what left."""
    plan, kept = recorded(_lanes(tmp_path / "out"), tmp_path / "captures")
    with running(plan) as run:
        _drained(run, "clients", (b"A", b"B", b"C"))
    published = payloads(kept, "in", "clients")
    assert len(published) == 3 * EACH
    for name in (b"A", b"B", b"C"):
        mine = [message for message in published if message[:1] == name]
        assert mine == [b"%s:%06d" % (name, number) for number in range(EACH)]
    generated = payloads(kept, "in", "in")  # as many as had come when the drain began
    inputs = iter(generated), iter(published)
    taken = [next(inputs[0 if ring == 0 else 1]) for _, ring in made(kept, "pass", "take")]
    assert taken == payloads(kept, "out", "out")
    assert len(taken) == len(generated) + 3 * EACH
