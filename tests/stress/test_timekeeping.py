"""Somebody else keeps time for a publisher that is busy: no message comes too late for it."""

from __future__ import annotations

import multiprocessing
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from byteord import client
from byteord._cext import region
from byteord._cext.timekeeping import SilentInput
from byteord.regions.reader import attach, open_region

ROUNDS, LIST = 1_000, 1024
MESSAGES = ROUNDS * (LIST + 1)


def _publish(path: str) -> None:
    with client.open_ring(path, "publisher") as publisher:
        for _ in range(ROUNDS):
            publisher.publish(b"a message")
            publisher.publish_many([b"another"] * LIST)
        publisher.end()


def _keep(path: str, kept: Any) -> None:
    silent = SilentInput(open_region(Path(path), writable=True))
    while silent.keep(0.0):
        kept.value += 1


@contextmanager
def _busy(*bodies: Any) -> Iterator[None]:
    people = [
        multiprocessing.get_context("fork").Process(target=each[0], args=each[1:])
        for each in bodies
    ]
    for each in people:
        each.start()
    yield
    for each in people:
        each.join(20)
        assert each.exitcode == 0


@pytest.mark.timeout(60)
def test_what_was_said_of_time_holds(tmp_path: Path) -> None:
    """After `everything up to p is published` nothing with a time up to p is published."""
    path = tmp_path / "ring"
    client.create_ring(str(path), capacity=4 * LIST, slot_bytes=64)
    ring = attach(path, region.Ring)
    kept = multiprocessing.get_context("fork").Value("Q", 0)
    looks: list[tuple[int, int]] = []
    times = array("Q")
    with (
        _busy((_publish, str(path)), (_keep, str(path), kept)),
        client.open_ring(str(path), "consumer") as consumer,
    ):
        while not consumer.ended:
            progress_ns = ring.read()["progress_ns"]
            looks.append((ring.read()["cursor"], progress_ns))
            with consumer.batch(LIST, timeout_s=0) as batch:
                times.extend(batch.times)
    assert len(times) == MESSAGES
    late = [look for look in looks if look[0] < MESSAGES and times[look[0]] <= look[1]]
    assert (late, kept.value > 100, len(set(looks)) > 100) == ([], True, True)
