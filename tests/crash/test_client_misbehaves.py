"""Clients that die, write nonsense or attach to the wrong run: said, or lost in a counted way."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from byteord import client
from byteord.deployment.plan import RunPlan
from byteord.errors import DeniedError, UnavailableError
from tests.support.graph_laws import check_conservation
from tests.support.lanes import L, R, graph_plan, sink
from tests.support.poll import until
from tests.support.run import LiveRun, running

LENGTH_BEFORE_PAYLOAD, FLAGS_BEFORE_PAYLOAD = 12, 9
"""Where a slot's length and flags stand, bytes before its payload: `byteor_slot`."""


def _plan(out: Path | None, publishers: int = 1) -> RunPlan:
    """Return clients, a bridge, and a file or a client that takes what comes."""
    end = (
        sink("out", "b", "file", path=str(out), mode="truncate", framing="lines")
        if out
        else R("out", "egress", rx=("b",), more={"adapter": "client"})
    )
    roles = [
        R("in", "ingress", tx=("a",), publishers=publishers, more={"adapter": "client"}),
        R("move", "bridge", ("a",), ("b",)),
        end,
    ]
    dirs = (str(out.parent),) if out else ()
    return graph_plan([L("a"), L("b")], roles, write_dirs=dirs)


def _drained(run: LiveRun) -> list[dict[str, Any]]:
    """Drain the run; return its lanes, of which every message is accounted for."""
    run.command(op="stop", mode="drain")
    status = run.until_state("stopped", "failed")
    assert status["failure"] is None, (status, run.log())
    run.shim.wait(10)
    read = run.reader.read()
    check_conservation(run.reader.plan, read)
    lanes: list[dict[str, Any]] = read["lanes"]
    return lanes


def _die_with_a_claim(directory: str, ready: Any) -> None:
    with client.attach(directory, "in") as publisher:
        publisher.publish(b"before")
        with publisher.batch(16, 8) as batch:
            for index in range(len(batch)):
                batch.payload(index)[:] = b"claimed!"
            ready.set()
            signal.pause()


def _die_with_a_batch(directory: str, ready: Any) -> None:
    with client.attach(directory, "out") as consumer, consumer.batch(16) as batch:
        assert len(batch)
        ready.set()
        signal.pause()


def _killed(target: Any, directory: str) -> None:
    """Run a client until it says that it holds something, and kill it there."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    victim = context.Process(target=target, args=(directory, ready))
    victim.start()
    assert ready.wait(20)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join(10)


@pytest.mark.timeout(60)
def test_a_publisher_that_dies_with_a_claim_leaves_no_hole(tmp_path: Path) -> None:
    """What it had not published is lost, and nothing else; the next one goes on in its place."""
    with running(_plan(tmp_path / "out")) as run:
        run.until_state("running", "failed")
        for _ in range(3):
            _killed(_die_with_a_claim, run.directory)
            with client.attach(run.directory, "in") as publisher:
                publisher.publish(b"after")
        first, _ = _drained(run)
    assert first["published"] == 6
    assert (tmp_path / "out").read_bytes() == b"before\nafter\n" * 3


@pytest.mark.timeout(60)
def test_a_consumer_that_dies_with_a_batch_leaves_it_to_the_next() -> None:
    """Nothing is lost: what it had not released is given again."""
    with running(_plan(None)) as run:
        run.until_state("running", "failed")
        with client.attach(run.directory, "in") as publisher:
            publisher.publish_many([b"%d" % n for n in range(20)])
            publisher.end()
        _killed(_die_with_a_batch, run.directory)
        with client.attach(run.directory, "out") as consumer:
            assert list(consumer) == [b"%d" % n for n in range(20)]
        assert run.until_state("completed", "failed")["state"] == "completed"
        run.shim.wait(10)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("offset", "value"),
    [(LENGTH_BEFORE_PAYLOAD, b"\xff\xff"), (FLAGS_BEFORE_PAYLOAD, b"\x40")],
    ids=["length", "flags"],
)
def test_nonsense_in_a_slot_is_a_counted_loss_of_that_slot(
    tmp_path: Path, offset: int, value: bytes
) -> None:
    """The reader bounds what it believes: the slot is passed over, its neighbours arrive."""
    with running(_plan(tmp_path / "out")) as run:
        run.until_state("running", "failed")
        pid = run.worker_pid("move")
        os.kill(pid, signal.SIGSTOP)
        with client.attach(run.directory, "in") as publisher:
            publisher.publish_many([b"message-%02d" % n for n in range(30)])
        with (
            open(Path(run.directory, "ring-0"), "r+b") as file,
            mmap.mmap(file.fileno(), 0) as ring,
        ):
            for number in (0, 7, 8, 29):
                at = ring.find(b"message-%02d" % number) - offset
                ring[at : at + len(value)] = value
        os.kill(pid, signal.SIGCONT)
        first, _ = _drained(run)
    (consumer,) = first["consumers"]
    assert (first["published"], consumer["consumed"], consumer["nonsense"]) == (30, 26, 4)
    good = [n for n in range(30) if n not in {0, 7, 8, 29}]
    assert (tmp_path / "out").read_text().split() == [f"message-{n:02}" for n in good]


@pytest.mark.timeout(60)
def test_a_client_of_another_spec_is_refused(tmp_path: Path) -> None:
    """Both hashes are named; the endpoint stays free."""
    with running(_plan(tmp_path / "out")) as run:
        run.until_state("running", "failed")
        with pytest.raises(DeniedError) as caught:
            client.attach(run.directory, "in", spec_sha256="11" * 32)
        assert caught.value.reason == "SPEC_MISMATCH"
        assert f"seen spec {'00' * 32}, wanted {'11' * 32}" in caught.value.message
        with client.attach(run.directory, "in", spec_sha256="00" * 32) as publisher:
            publisher.publish(b"mine")
        _drained(run)
    assert (tmp_path / "out").read_bytes() == b"mine\n"


@pytest.mark.timeout(60)
def test_one_publisher_too_many_is_told_so(tmp_path: Path) -> None:
    """As many as the lane has rings may publish at once; a place is free again when one leaves."""
    with running(_plan(tmp_path / "out", publishers=2)) as run:
        run.until_state("running", "failed")
        with client.attach(run.directory, "in") as first:
            with client.attach(run.directory, "in") as second:
                with pytest.raises(UnavailableError, match="played by another process"):
                    client.attach(run.directory, "in")
                second.publish(b"second")
            with client.attach(run.directory, "in") as third:
                third.publish(b"third")
            first.publish(b"first")
        until(lambda: run.role("out")["received"] == 3, 20)
        _drained(run)
