"""Clients that read a journal while its run writes it: from anywhere, all of it, losses told."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from byteord import client
from byteord.client import JournalConsumer
from byteord.deployment.plan import RunPlan
from byteord.errors import NotFoundError, RegionError
from byteord.regions.journals import names, segment_path
from tests.crash.test_journal_lanes import SEGMENT, journal_of
from tests.support.lanes import L, R, graph_plan, sink, source, stage
from tests.support.poll import until
from tests.support.run import LiveRun, running

COUNT = 5_000
BYTES = 48
PER_SEGMENT = (SEGMENT - 64) // 96


def _plan(where: Path | None, *, rate: int = 0, retention_bytes: int = 1 << 26) -> RunPlan:
    """Return a client, or with a rate a generator, whose messages a stage appends."""
    made = R("in", "ingress", tx=("a",), more={"adapter": "client"})
    if rate:
        made = source("in", "a", "generator", size=BYTES, count=COUNT, rate=rate, content="counter")
    roles = [made, stage("write", "a", "j", "identity"), sink("out", "j", "discard")]
    if where is not None:
        (where / "j").mkdir()
    journal = journal_of(where and where / "j", retention_bytes=retention_bytes)
    lanes = [L("a"), L("j", "journal", capacity=0, journal=journal)]
    return graph_plan(lanes, roles, write_dirs=(str(where or "/tmp"),))


def _message(number: int) -> bytes:
    return number.to_bytes(8, "little") + bytes(BYTES - 8)


def _numbers(messages: list[bytes]) -> list[int]:
    return [int.from_bytes(message[:8], "little") for message in messages]


def _publish(run: LiveRun, publisher: client.Publisher, low: int, high: int) -> None:
    """Publish numbered messages and wait until they are committed to the journal."""
    publisher.publish_many([_message(number) for number in range(low, high)])

    def committed() -> bool:
        lanes = {lane["name"]: lane for lane in run.reader.read()["lanes"]}
        return bool(lanes["j"]["published"] == high)

    until(committed, 20)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("durable", [False, True], ids=["memory", "disk"])
def test_a_journal_is_read_from_the_start_from_a_sequence_and_from_now_on(
    tmp_path: Path, *, durable: bool
) -> None:
    """Any number read it, over its segments, to its end; one goes on where another stopped."""
    with running(_plan(tmp_path if durable else None)) as run:
        assert run.until_state("running", "failed")["state"] == "running", run.status()
        with client.attach(run.directory, "in") as publisher:
            with client.attach_journal(run.directory, "j", since=0) as early:
                assert early.take(timeout_s=0) is None
                _publish(run, publisher, 0, 1500)
                assert _numbers(early.take_many(1000)) == list(range(1000))
                assert (early.position, early.missed, early.ended) == (1000, 0, False)
            there = client.attach_journal(run.directory, "j", since=early.position)
            new = client.attach_journal(run.directory, "j")
            future = client.attach_journal(run.directory, "j", since=1700)
            assert (new.position, new.take(timeout_s=0), future.take(timeout_s=0)) == (
                1500,
                None,
                None,
            )
            _publish(run, publisher, 1500, 2000)
            publisher.end()
            for consumer, since in ((there, 1000), (new, 1500), (future, 1700)):
                assert _numbers(list(consumer)) == list(range(since, 2000))
                assert (consumer.missed, consumer.ended, consumer.take()) == (0, True, None)
            assert PER_SEGMENT < 1000
        assert run.until_state("completed", "failed")["state"] == "completed", run.log()
        with client.attach_journal(run.directory, "j", since=1990) as late:
            assert _numbers(list(late)) == list(range(1990, 2000))
        with client.attach_journal(run.directory, "j") as late:
            assert (list(late), late.ended) == ([], True)
        with pytest.raises(NotFoundError, match="has no journal lane a; it has j"):
            client.attach_journal(run.directory, "a")
        with pytest.raises(client.ClosedError, match="the journal consumer is closed"):
            late.take()
        run.shim.wait(10)


@pytest.mark.timeout(60)
def test_a_reader_that_retention_overtakes_is_told_exactly_what_it_missed() -> None:
    """Before its first look or in the middle: what is read and what is missed add up, in order."""
    with running(_plan(None, retention_bytes=2 * SEGMENT)) as run:
        assert run.until_state("running", "failed")["state"] == "running", run.status()
        with client.attach(run.directory, "in") as publisher:
            consumer = client.attach_journal(run.directory, "j", since=0)
            _publish(run, publisher, 0, 100)
            assert _numbers(consumer.take_many(10)) == list(range(10))
            _publish(run, publisher, 100, COUNT)
            rest = _numbers(consumer.take_many(COUNT))
            assert 0 < len(rest) <= 2 * PER_SEGMENT + 1
            assert rest == list(range(COUNT - len(rest), COUNT))
            assert consumer.missed == COUNT - 10 - len(rest)
            other = client.attach_journal(run.directory, "j", since=50)
            publisher.end()
            assert _numbers(list(other)) == rest
            assert (other.missed, other.ended) == (COUNT - 50 - len(rest), True)
            assert (list(consumer), consumer.ended) == ([], True)
        assert run.until_state("completed", "failed")["state"] == "completed", run.log()
        run.shim.wait(10)


@pytest.mark.timeout(60)
def test_every_message_is_read_once_although_the_writer_is_killed(tmp_path: Path) -> None:
    """`kill -9` of the writer while it is read: only what it had committed is seen, and once."""
    with running(_plan(tmp_path, rate=COUNT)) as run:
        assert run.until_state("running", "failed")["state"] == "running", run.status()
        got: list[bytes] = []
        with client.attach_journal(run.directory, "j", since=0) as consumer:
            for turn in range(1, 4):
                while len(got) < turn * COUNT // 5:
                    got += consumer.take_many(64)
                pid = run.worker_pid("write")
                os.kill(pid, signal.SIGKILL)
                until(lambda pid=pid: run.worker_pid("write") not in {0, pid}, 20)  # type: ignore[misc]
            got += list(consumer)
            assert (consumer.missed, consumer.ended) == (0, True)
        assert _numbers(got) == list(range(COUNT))
        assert run.until_state("completed", "failed")["state"] == "completed", run.log()
        run.shim.wait(10)


@pytest.mark.timeout(60)
def test_a_frame_that_is_damaged_is_named_and_nothing_is_passed_over(tmp_path: Path) -> None:
    """A flipped byte among what was committed: the reader stops there, with file and offset."""
    with running(_plan(tmp_path)) as run:
        assert run.until_state("running", "failed")["state"] == "running", run.status()
        with client.attach(run.directory, "in") as publisher:
            _publish(run, publisher, 0, 1000)
            kept = tmp_path / "j"
            with segment_path(kept, names(kept)[0]).open("r+b") as file:
                file.seek(64 + 300 * 96 + 60)
                file.write(b"!")
            with client.attach_journal(run.directory, "j", since=0) as consumer:
                assert _numbers(consumer.take_many(1000)) == list(range(300))
                with pytest.raises(RegionError, match="no whole frame at offset 28864, where"):
                    consumer.take()
            consumer = client.attach_journal(run.directory, "j", since=301)
            with pytest.raises(RegionError, match="no whole frame at offset 28864, where"):
                consumer.take()
        run.command(op="stop", mode="abort")
        run.until_state("stopped")
        run.shim.wait(10)


@pytest.mark.timeout(60)
def test_a_reader_of_a_run_that_is_aborted_gets_what_there_is_and_stops() -> None:
    """It does not wait for an end that never comes."""
    with running(replace(_plan(None), drain_timeout_s=1)) as run:
        assert run.until_state("running", "failed")["state"] == "running", run.status()
        with client.attach(run.directory, "in") as publisher:
            _publish(run, publisher, 0, 50)
        consumer: JournalConsumer = client.attach_journal(run.directory, "j", since=0)
        run.command(op="stop", mode="abort")
        assert _numbers(list(consumer)) == list(range(50))
        assert (consumer.take(), consumer.ended) == (None, False)
        run.until_state("stopped")
        run.shim.wait(10)
