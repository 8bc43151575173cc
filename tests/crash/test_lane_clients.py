"""Many publishers of one lane: clients that come, leave and die beside an adapter, all counted."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from byteord import client
from byteord.deployment.plan import RunPlan
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
        run.command(op="stop", mode="drain")
        status = run.until_state("stopped", "completed", "failed", timeout_s=30)
        assert status["failure"] is None, run.log()
        run.shim.wait(10)
        read = run.reader.read()
        check_conservation(run.reader.plan, read)
    first, second = read["lanes"]
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
