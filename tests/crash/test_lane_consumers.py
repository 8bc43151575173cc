"""Clients that consume: a lane of several producers in their orders; lossily, all accounted for."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from byteord import client
from byteord.client import LossyConsumer, StripeConsumer
from byteord.deployment.plan import RunPlan
from byteord.errors import UnavailableError
from tests.support.graph_laws import check_conservation
from tests.support.lanes import L, R, graph_plan, sink, source
from tests.support.poll import until
from tests.support.run import LiveRun, running

EACH, PUBLISHERS = 3_000, 2


def _plan(*, generated: int = 0, capacity: int = 64) -> RunPlan:
    """Return clients, and if asked for a generator, that write the lane a client consumes."""
    roles = [R("in", "ingress", tx=("a",), publishers=PUBLISHERS, more={"adapter": "client"})]
    if generated:
        roles.insert(0, source("made", "a", "generator", size=8, count=generated))
    roles.append(R("out", "egress", rx=("a",), more={"adapter": "client"}))
    return graph_plan([L("a", capacity=capacity)], roles)


def _publish(directory: str, name: bytes) -> None:
    with client.attach(directory, "in") as publisher:
        for number in range(EACH):
            publisher.publish(b"%s:%06d" % (name, number))


def _by_producer(messages: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for message in messages:
        name = message[:1] if message[:2] in {b"A:", b"B:"} else b"made"
        found.setdefault(name, []).append(message)
    return found


@pytest.mark.timeout(60)
def test_a_client_consumes_what_several_producers_write() -> None:
    """All that an adapter and two clients wrote, each in its order; it ends when all have ended."""
    with running(_plan(generated=EACH)) as run:
        run.until_state("running", "failed")
        context = multiprocessing.get_context("fork")
        people = [context.Process(target=_publish, args=(run.directory, n)) for n in (b"A", b"B")]
        for each in people:
            each.start()
        with client.attach(run.directory, "out") as consumer:
            assert isinstance(consumer, StripeConsumer)
            with pytest.raises(UnavailableError, match="played by another process"):
                client.attach(run.directory, "out")
            got = [message for message in (consumer.take() for _ in range(100)) if message]
            while len(got) < 3 * EACH:
                got += consumer.take_many(1000)
            assert consumer.take(timeout_s=0) is None
            ended_early = consumer.ended
            for each in people:
                each.join(20)
            run.command(op="stop", mode="drain")
            assert list(consumer) == []
            assert (ended_early, consumer.ended) == (False, True)
        assert run.until_state("stopped", "completed", "failed")["failure"] is None, run.log()
        run.shim.wait(10)
        check_conservation(run.reader.plan, run.reader.read())
    made = _by_producer(got)
    numbers = [int.from_bytes(each, "little") for each in made.pop(b"made")]
    assert numbers == list(range(EACH))
    assert made == {n: [b"%s:%06d" % (n, i) for i in range(EACH)] for n in (b"A", b"B")}


@pytest.mark.timeout(60)
def test_a_client_visits_its_producers_in_turn() -> None:
    """None of them waits for another that has more; where one call stopped the next goes on."""
    with running(_plan(capacity=16)) as run:
        run.until_state("running", "failed")
        with (
            client.attach(run.directory, "in") as one,
            client.attach(run.directory, "in") as other,
            client.attach(run.directory, "out") as consumer,
        ):
            one.publish_many([b"A:%d" % n for n in range(16)])
            other.publish_many([b"B:%d" % n for n in range(4)])
            assert [consumer.take() for _ in range(4)] == [b"A:0", b"B:0", b"A:1", b"B:1"]
            assert consumer.take_many(3) == [b"A:2", b"A:3", b"A:4"]
            assert consumer.take_many(3) == [b"B:2", b"B:3", b"A:5"]
            assert consumer.positions == [6, 4]
            assert run.role("out")["received"] == 10
            one.end()
            other.end()
            assert [message[:1] for message in consumer] == [b"A"] * 10
        assert run.until_state("completed", "failed")["state"] == "completed", run.log()
        run.shim.wait(10)


def _take_and_hold(directory: str, taken: Any, ready: Any) -> None:
    with client.attach(directory, "out") as consumer:
        for _ in range(7):
            taken.send(consumer.take())
        for message in consumer.take_many(10):
            taken.send(message)
        ready.set()
        signal.pause()


@pytest.mark.timeout(60)
def test_a_consumer_that_is_killed_leaves_the_rest_to_the_next() -> None:
    """What it had taken is not given again; in every ring the next goes on where it stopped."""
    with running(_plan(capacity=64)) as run:
        run.until_state("running", "failed")
        sent = {b"A": [b"A:%02d" % n for n in range(40)], b"B": [b"B:%02d" % n for n in range(40)]}
        with (
            client.attach(run.directory, "in") as one,
            client.attach(run.directory, "in") as other,
        ):
            one.publish_many(sent[b"A"])
            other.publish_many(sent[b"B"])
            one.end()
            other.end()
        context = multiprocessing.get_context("fork")
        ready, (here, there) = context.Event(), context.Pipe(duplex=False)
        victim = context.Process(target=_take_and_hold, args=(run.directory, there, ready))
        victim.start()
        assert ready.wait(20)
        got = [here.recv() for _ in range(17)]
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join(10)
        with client.attach(run.directory, "out") as consumer:
            got += list(consumer)
        assert _by_producer(got) == sent
        until(lambda: run.role("out")["received"] == 80, 10)
        assert run.until_state("completed", "failed")["state"] == "completed", run.log()
        run.shim.wait(10)


def _lossy_plan(out: Path) -> RunPlan:
    roles = [
        R("in", "ingress", tx=("a",), more={"adapter": "client"}),
        sink("all", "a", "file", path=str(out), mode="truncate", framing="fixed"),
        R("out", "egress", rx=("a",), more={"adapter": "client"}),
    ]
    lanes = [L("a", "fanout_broadcast", capacity=64, lossy=("out",))]
    return graph_plan(lanes, roles, write_dirs=(str(out.parent),))


def _lossy_row(run: LiveRun) -> tuple[int, int, int]:
    """Return what was published, and what the lossy client has read and missed of it."""
    (lane,) = run.reader.read_lanes()
    row = next(each for each in lane["consumers"] if each["role"] == "out")
    return lane["published"], row["consumed"], row["missed"]


def _take_and_die(directory: str, count: int, taken: Any) -> None:
    with client.attach(directory, "out") as consumer:
        for _ in range(count):
            taken.send(consumer.take())
        taken.send(b"")
        signal.pause()


@pytest.mark.timeout(60)
def test_a_lossy_client_holds_nobody_and_knows_what_it_missed(tmp_path: Path) -> None:
    """Its sibling has all; what it read is a part of that, in order, and the rest is counted.

    One that is killed has a successor that goes on where it was.
    """
    sent = [b"%08d" % number for number in range(2_000)]
    with running(_lossy_plan(tmp_path / "out")) as run:
        run.until_state("running", "failed")
        with client.attach(run.directory, "in") as publisher:
            publisher.publish_many(sent[:40])
            context = multiprocessing.get_context("fork")
            here, there = context.Pipe(duplex=False)
            victim = context.Process(target=_take_and_die, args=(run.directory, 25, there))
            victim.start()
            got = [here.recv() for _ in range(26)][:-1]
            os.kill(victim.pid or 0, signal.SIGKILL)
            victim.join(10)
            with client.attach(run.directory, "out") as consumer:
                assert isinstance(consumer, LossyConsumer)
                with pytest.raises(UnavailableError, match="played by another process"):
                    client.attach(run.directory, "out")
                got += consumer.take_many(10)
                assert got == sent[:35]
                assert _lossy_row(run) == (40, 35, 0)
                publisher.publish_many(sent[40:])  # many times round, and nobody waits
                until(lambda: run.role("all")["received"] == len(sent), 20)
                assert _lossy_row(run) == (len(sent), 35, 0)
                publisher.end()
                rest = list(consumer)
                assert (consumer.ended, rest) == (True, sent[len(sent) - len(rest) :])
                assert 0 < len(rest) <= 64
                assert consumer.missed == len(sent) - 35 - len(rest)
                assert _lossy_row(run) == (len(sent), 35 + len(rest), consumer.missed)
        assert run.until_state("completed", "failed")["state"] == "completed", run.log()
        run.shim.wait(10)
    assert (tmp_path / "out").read_bytes() == b"".join(sent)
