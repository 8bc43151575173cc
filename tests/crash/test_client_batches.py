"""Batches of clients: of several producers, lossy, over shards, at the end; killed, given back."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byteord import client
from byteord.client import LossyConsumer, ShardConsumer, ShardPublisher, StripeConsumer
from tests.support.graph_laws import check_conservation
from tests.support.lanes import L, R, graph_plan, sink
from tests.support.poll import until
from tests.support.run import LiveRun, make_test_plan, running, spec_text

NUMBER = np.dtype("<u8")
CLIENTS = '[adapters.in]\nkind = "client"\n[adapters.out]\nkind = "client"\n'
TAIL = """
class Tail:
    def __init__(self, ctx): ...
    def process(self, batch): ...
    def end(self, batch): return b"tail----"
"""


def _ends(lanes: list[L], *between: R, publishers: int = 1) -> list[R]:
    """Return roles from a client to a client, over the first lane and the last."""
    ingress = R("in", "ingress", tx=("a",), publishers=publishers, more={"adapter": "client"})
    egress = R("out", "egress", rx=(lanes[-1].name,), more={"adapter": "client"})
    return [ingress, *between, egress]


def _numbers(*values: int) -> bytes:
    return np.array(values, NUMBER).tobytes()


def _die_in_a_batch(directory: str, ready: Any, count: int, before: int) -> None:
    """Take a batch, let go of it, take another, and say what that held before dying with it."""
    with client.attach(directory, "out") as consumer:
        if before:
            with consumer.batch(before) as batch:
                assert len(batch) == before
        with consumer.batch(count) as batch:
            ready.send([bytes(view) for view in batch])
            signal.pause()


def _killed(directory: str, *, count: int, before: int = 0) -> list[bytes]:
    """Return what a consumer had in hand when it was killed."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    victim = context.Process(target=_die_in_a_batch, args=(directory, there, count, before))
    victim.start()
    assert here.poll(20)
    held: list[bytes] = here.recv()
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join(10)
    return held


def _given_back(handle: Any, *arguments: int) -> list[bytes]:
    """Return what a batch had whose block raised."""
    held: list[bytes] = []
    with contextlib.suppress(KeyError), handle.batch(*arguments) as batch:
        held += [bytes(view) for view in batch]
        raise KeyError
    return held


def _completed(run: LiveRun) -> None:
    assert run.until_state("completed", "failed")["state"] == "completed", run.log()
    run.shim.wait(10)
    check_conservation(run.reader.plan, run.reader.read())


@pytest.mark.timeout(60)
def test_a_batch_of_several_producers_is_of_one_of_them_and_the_next_of_the_next() -> None:
    """In place, in its order; what a block that raised had, and a held view keeps, comes again."""
    lanes = [L("a", capacity=16)]
    with running(graph_plan(lanes, _ends(lanes, publishers=2))) as run:
        run.until_state("running", "failed")
        with (
            client.attach(run.directory, "in") as one,
            client.attach(run.directory, "in") as other,
            client.attach(run.directory, "out") as consumer,
        ):
            assert isinstance(consumer, StripeConsumer)
            with consumer.batch(timeout_s=0) as batch:
                assert (len(batch), consumer.ended) == (0, False)
            one.publish_buffer(_numbers(*range(10)), 8)
            other.publish_buffer(_numbers(100, 101, 102), 8)
            with consumer.batch(4) as batch:
                assert batch.as_array(NUMBER).tolist() == [0, 1, 2, 3]
                assert list(batch.sequences) == [0, 1, 2, 3]
                for call in (consumer.take, lambda: consumer.take_many(1)):
                    with pytest.raises(BufferError, match="a batch of this client is open"):
                        call()
            assert b"".join(_given_back(consumer)) == _numbers(100, 101, 102)
            views = []
            with pytest.raises(BufferError, match="1 views of the"), consumer.batch() as batch:
                views.append(batch[0])
            views.clear()
            assert (consumer.positions, run.role("out")["received"]) == ([4, 0], 4)
            with consumer.batch() as batch:
                assert batch.as_array(NUMBER).tolist() == [100, 101, 102]
            with consumer.batch(2) as batch:
                assert batch.as_array(NUMBER).tolist() == [4, 5]
            one.end()
            other.end()
            with consumer.batch() as batch:
                assert batch.as_array(NUMBER).tolist() == [6, 7, 8, 9]
            with consumer.batch() as batch:
                assert (len(batch), consumer.ended) == (0, True)
        _completed(run)


@pytest.mark.timeout(60)
def test_a_consumer_of_several_producers_killed_with_a_batch_leaves_it_to_the_next() -> None:
    """What it had released is not given again, what it had in hand is; each producer in order."""
    lanes = [L("a", capacity=64)]
    with running(graph_plan(lanes, _ends(lanes, publishers=2))) as run:
        run.until_state("running", "failed")
        for first in (0, 100):
            with client.attach(run.directory, "in") as publisher:
                publisher.publish_buffer(_numbers(*range(first, first + 40)), 8)
                publisher.end()
        held = _killed(run.directory, count=20, before=10)
        assert len(held) == 20
        with client.attach(run.directory, "out") as consumer:
            rest = [int.from_bytes(message, "little") for message in consumer]
        low, high = ([n for n in rest if (n >= 100) is side] for side in (False, True))
        assert (low, high) == (list(range(10, 40)), list(range(100, 140)))
        assert {int.from_bytes(message, "little") for message in held} <= set(rest)
        until(lambda: run.role("out")["received"] == 80, 10)
        _completed(run)


def _lossy_row(run: LiveRun) -> tuple[int, int, int]:
    (lane,) = run.reader.read_lanes()
    row = next(each for each in lane["consumers"] if each["role"] == "out")
    return lane["published"], row["consumed"], row["missed"]


@pytest.mark.timeout(60)
def test_a_lossy_batch_has_no_gap_and_what_was_missed_is_exact(tmp_path: Path) -> None:
    """Copies: they stay while their slots are written over; a killed client's are read again."""
    lanes = [L("a", "fanout_broadcast", capacity=64, lossy=("out",))]
    path = str(tmp_path / "out")
    every = sink("all", "a", "file", path=path, mode="truncate", framing="fixed")
    plan = graph_plan(lanes, _ends(lanes, every), write_dirs=(str(tmp_path),))
    with running(plan) as run:
        run.until_state("running", "failed")
        with client.attach(run.directory, "in") as publisher:

            def publish(low: int, high: int) -> None:
                publisher.publish_buffer(_numbers(*range(low, high)), 8)
                until(lambda: run.role("all")["received"] == high, 20)

            publish(0, 40)
            assert len(_killed(run.directory, count=10, before=10)) == 10
            with client.attach(run.directory, "out") as consumer:
                assert isinstance(consumer, LossyConsumer)
                assert b"".join(_given_back(consumer, 5)) == _numbers(10, 11, 12, 13, 14)
                assert _lossy_row(run) == (40, 10, 0)
                with consumer.batch(20) as batch:
                    publish(40, 240)  # three times round, and nobody waits
                    assert batch.as_array(NUMBER).tolist() == list(range(10, 30))
                    assert list(batch.sequences) == list(range(10, 30))
                    with pytest.raises(BufferError, match="a batch of this consumer is open"):
                        consumer.take()
                assert (_lossy_row(run), consumer.missed) == ((240, 30, 0), 0)
                with consumer.batch() as batch:
                    assert batch.as_array(NUMBER).tolist() == list(range(176, 240))
                    assert list(batch.sequences) == list(range(176, 240))
                assert (_lossy_row(run), consumer.missed) == ((240, 94, 146), 146)
                publisher.end()
                with consumer.batch() as batch:
                    assert (len(batch), consumer.ended) == (0, True)
            with client.attach(run.directory, "out") as consumer:
                assert (consumer.ended, consumer.take()) == (True, None)
        _completed(run)
    assert Path(path).read_bytes() == _numbers(*range(240))


def _in_shards(run: LiveRun) -> list[int]:
    return [role["received"] for role in run.reader.read()["roles"] if role["kind"] == "stage"]


def _die_with_a_claim(directory: str, ready: Any) -> None:
    with client.attach(directory, "in") as publisher, publisher.batch(16, 8) as batch:
        batch.as_array(NUMBER)[:] = 7
        ready.set()
        signal.pause()


@pytest.mark.timeout(60)
def test_a_batch_over_shards_is_published_whole_or_not_at_all() -> None:
    """Each message goes where its key sends it, in order; a kill or an error publishes nothing."""
    ring = 'shards = 3\nordering = "per_key"\nshard_key = { offset = 0, length = 8 }\ncapacity = 16'
    same = '[[stages]]\nname = "same"\nstage = "identity"\n'
    with running(make_test_plan(spec_text(same, ring=ring), CLIENTS)) as run:
        run.until_state("running", "failed")
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        victim = context.Process(target=_die_with_a_claim, args=(run.directory, ready))
        victim.start()
        assert ready.wait(20)
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join(10)
        with (
            client.attach(run.directory, "in") as publisher,
            client.attach(run.directory, "out") as consumer,
        ):
            assert isinstance(publisher, ShardPublisher)
            assert isinstance(consumer, ShardConsumer)
            assert len(_given_back(publisher, 4, 8)) == 4
            sent: list[int] = []
            got: list[bytes] = []
            while len(sent) < 500:
                with publisher.batch(500 - len(sent), 8) as batch:
                    assert 0 < len(batch) <= 16
                    made = range(len(sent), len(sent) + len(batch))
                    batch.as_array(NUMBER)[:] = made
                    sent += made
                    with pytest.raises(BufferError, match="a batch of this client is open"):
                        publisher.publish(b"1")
                got += consumer.take_many(16)
            with publisher.batch(1, 8) as batch:
                batch.replace(0, b"shorter")
            with pytest.raises(ValueError, match="4096 bytes: a message of this run has at most"):
                publisher.batch(1, 4096)
            publisher.end()
            got += list(consumer)
            assert got == [_numbers(number) for number in sent] + [b"shorter"]
        assert run.until_state("completed", "failed")["state"] == "completed", run.log()
        run.shim.wait(10)
        shards = _in_shards(run)
        assert (sum(shards), min(shards) > 0) == (501, True)


@pytest.mark.timeout(60)
def test_a_message_in_the_end_slot_outlives_a_killed_batch_and_one_that_raised(
    tmp_path: Path,
) -> None:
    """What a stage leaves at the end is given again, and then the input ends, whoever takes it."""
    (tmp_path / "tail_stage.py").write_text(TAIL)
    tail = '[[stages]]\nname = "tail"\nstage = "python:tail_stage:Tail"\nstate = "stateless"\n'
    plan = make_test_plan(spec_text(tail), CLIENTS, directories=[str(tmp_path)])
    with running(plan) as run:
        run.until_state("running", "failed")
        with client.attach(run.directory, "in") as publisher:
            publisher.publish_many([b"first---", b"second--"])
            publisher.end()
        until(lambda: run.role("tail")["state"] == "ended", 10)
        assert _killed(run.directory, count=1, before=2) == [b"tail----"]
        with client.attach(run.directory, "out") as consumer:
            assert _given_back(consumer) == [b"tail----"]
            with consumer.batch() as batch:
                assert ([bytes(view) for view in batch], consumer.ended) == ([b"tail----"], False)
                with pytest.raises(BufferError, match="a batch of this consumer is open"):
                    consumer.take()
            assert (consumer.ended, consumer.take()) == (True, None)
        with client.attach(run.directory, "out") as consumer:
            assert (consumer.ended, consumer.take()) == (True, None)
        assert run.until_state("completed", "failed")["state"] == "completed", run.log()
        run.shim.wait(10)


@pytest.mark.timeout(60)
def test_nothing_else_is_published_while_a_batch_is_claimed() -> None:
    """A message, an end or a second batch in between would take the slots that are claimed."""
    lanes = [L("a")]
    with running(graph_plan(lanes, _ends(lanes))) as run:
        run.until_state("running", "failed")
        with client.attach(run.directory, "in") as publisher:
            with publisher.batch(2, 8) as batch:
                for call in (
                    lambda: publisher.publish(b"1"),
                    lambda: publisher.publish_many([b"1"]),
                    publisher.end,
                    lambda: publisher.batch(1, 8),
                ):
                    with pytest.raises(BufferError, match="a batch of this publisher is open"):
                        call()
                batch.as_array(NUMBER)[:] = (1, 2)
            publisher.end()
        with client.attach(run.directory, "out") as consumer:
            assert list(consumer) == [_numbers(1), _numbers(2)]
        _completed(run)
