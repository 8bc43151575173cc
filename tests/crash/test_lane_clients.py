"""Many publishers of one lane: clients that come, leave and die beside an adapter, all counted."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from byteord import client
from byteord._cext import region
from byteord.deployment.plan import RunPlan
from byteord.regions.reader import attach as attach_region
from tests.support.graph_laws import check_conservation
from tests.support.lanes import L, R, graph_plan, sink, source, stage
from tests.support.poll import until
from tests.support.run import LiveRun, running

EACH, GENERATED = 3_000, 2_000


def _publish(directory: str, name: bytes, count: int) -> None:
    with client.attach(directory, "clients") as publisher:
        for number in range(count):
            publisher.publish(b"%s:%06d" % (name, number))


def _plan(out: Path, on_full: str) -> RunPlan:
    roles = [
        source("in", "a", "generator", size=48, count=GENERATED, content="checksummed"),
        R("clients", "ingress", tx=("a",), publishers=3, more={"adapter": "client"}),
        stage("pass", "a", "b", "identity"),
        sink("out", "b", "file", path=str(out), mode="truncate", framing="length_prefixed"),
    ]
    lanes = [L("a"), L("b", capacity=16, on_full=on_full)]
    return graph_plan(lanes, roles, write_dirs=(str(out.parent),))


def _traffic(run: LiveRun) -> None:
    """Three publishers at once, one that is killed while it publishes, one that takes its place."""
    context = multiprocessing.get_context("fork")
    names = (b"A", b"B", b"C")
    people = [context.Process(target=_publish, args=(run.directory, n, EACH)) for n in names]
    for each in people:
        each.start()
    for each in people:
        each.join(30)
    before = run.reader.read_lanes()[0]["published"]
    victim = context.Process(target=_publish, args=(run.directory, b"D", 10_000_000))
    victim.start()
    until(lambda: run.reader.read_lanes()[0]["published"] > before + 500, 20)
    os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join(10)
    _publish(run.directory, b"E", EACH)


def _messages(path: Path) -> list[bytes]:
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return [message for message in found if message[1:2] == b":"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("on_full", ["block", "drop"])
def test_publishers_come_leave_and_die_and_every_message_is_accounted(
    tmp_path: Path, on_full: str
) -> None:
    """Order is kept per publisher; with block nothing is lost, with drop sent = got + dropped."""
    with running(_plan(tmp_path / "out", on_full)) as run:
        run.until_state("running", "failed")
        _traffic(run)
        _until_received(run, "in", GENERATED)
        run.command(op="stop", mode="drain")
        status = run.until_state("stopped", "completed", "failed", timeout_s=30)
        assert status["failure"] is None, run.log()
        run.shim.wait(10)
        read = run.reader.read()
        check_conservation(run.reader.plan, read)
    first, second = read["lanes"]
    clients = next(role for role in read["roles"] if role["name"] == "clients")
    assert clients["received"] == clients["published"] == first["published"] - GENERATED
    lost = second["dropped"]["full"]
    assert first["published"] == second["published"] + lost
    assert (lost == 0) == (on_full == "block")
    got = _messages(tmp_path / "out")
    for name in (b"A", b"B", b"C", b"D", b"E"):
        mine = [message for message in got if message[:1] == name]
        assert mine == sorted(set(mine))
    if on_full == "block":
        counts = Counter(message[:1] for message in got)
        assert [counts[name] for name in (b"A", b"B", b"C", b"E")] == [EACH] * 4
        assert first["published"] == GENERATED + sum(counts.values())


def _until_received(run: LiveRun, name: str, count: int) -> None:
    until(lambda: run.role(name)["received"] >= count, 20)


@pytest.mark.timeout(60)
def test_a_lane_that_drops_never_blocks_its_client_and_counts_every_loss(tmp_path: Path) -> None:
    """Behind a stopped consumer what has no room is discarded at once: sent = got + dropped."""
    roles = [
        R("in", "ingress", tx=("a",), more={"adapter": "client"}),
        sink("out", "a", "file", path=str(tmp_path / "out"), mode="truncate", framing="lines"),
    ]
    plan = graph_plan([L("a", capacity=16, on_full="drop")], roles, write_dirs=(str(tmp_path),))
    with running(plan) as run:
        run.until_state("running", "failed")
        pid = run.worker_pid("out")
        with client.attach(run.directory, "in") as publisher:
            assert publisher.publish(b"first")
            _until_received(run, "out", 1)
            os.kill(pid, signal.SIGSTOP)
            sent = [b"%03d" % number for number in range(100)]
            taken = publisher.publish_many(sent[:10])
            assert taken == 10
            taken += publisher.publish_many(sent[10:50])
            refused = [publisher.publish(each) for each in sent[50:90]]
            taken += sum(refused) + publisher.publish_buffer(b"".join(sent[90:]), 3)
            assert 10 < taken <= 16
            assert not refused[-1]
            os.kill(pid, signal.SIGCONT)
            until(lambda: publisher.publish(b"last"), 20)
        run.command(op="stop", mode="drain")
        assert run.until_state("stopped", "completed", "failed")["failure"] is None, run.log()
        run.shim.wait(10)
        read = run.reader.read()
    lane, role = read["lanes"][0], read["roles"][0]
    got = (tmp_path / "out").read_bytes().splitlines()
    assert got == [b"first", *sent[:taken], b"last"]
    assert lane["published"] == role["published"] == len(got)
    assert role["received"] == len(got) + lane["dropped"]["full"]
    assert lane["dropped"]["full"] >= 100 - taken


@pytest.mark.timeout(60)
def test_a_merge_by_time_does_not_wait_for_a_client_that_has_nothing_to_say(
    tmp_path: Path,
) -> None:
    """Time passes at an attached client, too; what it publishes later still comes in order."""
    roles = [
        source("in", "a", "generator", size=8, count=GENERATED),
        R("idle", "ingress", tx=("b",), more={"adapter": "client"}),
        R("join", "merge", ("a", "b"), ("c",), more={"mode": "ordered"}),
        sink("out", "c", "file", path=str(tmp_path / "out"), mode="truncate", framing="fixed"),
    ]
    plan = graph_plan([L("a"), L("b"), L("c")], roles, write_dirs=(str(tmp_path),))
    with running(plan) as run:
        run.until_state("running", "failed")
        with client.attach(run.directory, "idle") as publisher:
            _until_received(run, "out", GENERATED)
            publisher.publish(b"the last")
            publisher.end()
        status = run.until_state("completed", "failed", timeout_s=30)
        assert status["failure"] is None, run.log()
        run.shim.wait(10)
    data = (tmp_path / "out").read_bytes()
    assert (len(data), data[-8:]) == (8 * (GENERATED + 1), b"the last")


@pytest.mark.timeout(60)
def test_a_merge_by_time_does_not_wait_for_an_endpoint_that_nobody_plays(tmp_path: Path) -> None:
    """The run keeps time where no client is, or it was killed; one that comes is never refused."""
    roles = [
        source("in", "a", "generator", size=8, rate=2_000, count=10_000_000),
        R("absent", "ingress", tx=("b",), publishers=2, more={"adapter": "client"}),
        R("join", "merge", ("a", "b"), ("c",), more={"mode": "ordered"}),
        sink("out", "c", "file", path=str(tmp_path / "out"), mode="truncate", framing="fixed"),
    ]
    lanes = [L("a", capacity=64), L("b"), L("c")]
    with running(graph_plan(lanes, roles, write_dirs=(str(tmp_path),))) as run:
        run.until_state("running", "failed")
        _until_received(run, "out", 300)
        victim = multiprocessing.get_context("fork").Process(
            target=_say_and_wait, args=(run.directory, "absent")
        )
        victim.start()
        until(lambda: run.role("absent")["received"] == 1, 20)
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join(10)
        _until_received(run, "out", run.role("out")["received"] + 300)
        for number in range(200):
            with client.attach(run.directory, "absent") as publisher:
                assert publisher.publish(b"no. %04d" % number)
        run.command(op="stop", mode="drain")
        status = run.until_state("stopped", "completed", "failed", timeout_s=30)
        assert status["failure"] is None, run.log()
        run.shim.wait(10)
    data = (tmp_path / "out").read_bytes()
    got = [data[at : at + 8] for at in range(0, len(data), 8)]
    assert [each for each in got if each.startswith((b"victim", b"no. "))] == [
        b"victim 1",
        *(b"no. %04d" % number for number in range(200)),
    ]


def _say_and_wait(directory: str, endpoint: str) -> None:
    with client.attach(directory, endpoint) as publisher:
        publisher.publish(b"victim 1")
        signal.pause()


def test_what_a_killed_client_had_written_is_published_before_time_passes(tmp_path: Path) -> None:
    """Killed between its stamps and the cursor: else a merge by time would let later ones pass."""
    path = tmp_path / "ring"
    client.create_ring(str(path), capacity=64, slot_bytes=64)
    with client.open_ring(str(path), "publisher") as publisher:
        assert publisher.publish(b"first")
        before = path.read_bytes()
        assert publisher.publish_many([b"second", b"third"]) == 2
    after = path.read_bytes()
    with path.open("r+b") as file:  # the words that say 3: as they were
        for at in range(0, len(after), 8):
            words = [int.from_bytes(each[at : at + 8], "little") for each in (before, after)]
            if words == [1, 3]:
                file.seek(at)
                file.write(before[at : at + 8])
    ring = attach_region(path, region.Ring)
    assert ring.read()["cursor"] == 1
    with client.open_ring(str(path), "publisher") as publisher:
        assert ring.read()["cursor"] == publisher.position == 3


@pytest.mark.timeout(60)
def test_a_client_that_leaves_does_not_speak_for_the_others(tmp_path: Path) -> None:
    """A role that several clients play is running until the last of them has left."""
    with running(_plan(tmp_path / "out", "block")) as run:
        run.until_state("running", "failed")
        with client.attach(run.directory, "clients") as one:
            with client.attach(run.directory, "clients") as other:
                assert one.publish(b"A:1")
                assert other.publish(b"B:1")
            assert run.role("clients")["state"] == "running"
            with pytest.raises(client.ClosedError, match="session is over"):
                other.publish(b"B:2")
            assert run.role("clients")["received"] == 2
        assert run.role("clients")["state"] == "ended"
