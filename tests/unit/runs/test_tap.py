"""A tap is a sample: what it looks at is bounded by time, and every message is accounted for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from byteord._cext.client import Consumer, Publisher
from byteord.capture.guarding import guarding_of
from byteord.regions.create import create_run, remove_run
from byteord.regions.tap import LaneTap
from byteord.runs.tap import BYTES_RATE, RATE, SEARCH, Pace, Sampler, TapFilter
from tests.support.guard import REGISTRY, config_of
from tests.support.run import make_test_plan, spec_text

STAGE = '[[stages]]\nname = "pass"\nstage = "identity"\n'
DEPLOYMENT = '[adapters.in]\nkind = "generator"\nsize = 8\n[adapters.out]\nkind = "discard"\n'
CAPACITY = 4096
LARGE = 65_536


class Lane:
    """A ring of a run that nobody started: the test is its producer and all of its consumers."""

    def __init__(self, directory: str, slot_bytes: int) -> None:
        """Create the region."""
        ring = f"capacity = {CAPACITY if slot_bytes < LARGE else 32}\nslot_bytes = {slot_bytes}"
        self.plan = make_test_plan(spec_text(STAGE, ring=ring), DEPLOYMENT)
        self.directory = create_run(directory, self.plan)
        path = Path(self.directory, self.plan.rings[0].file)
        self._descriptor = os.open(path, os.O_RDWR)
        self._publisher = Publisher(self._descriptor)
        cells = sorted(role.cell for role in self.plan.roles if role.cell >= 0)
        self._consumers = [Consumer(self._descriptor, cell=cell) for cell in cells]
        self._next = 0

    def move(self, count: int) -> None:
        """Publish numbered messages; every consumer takes them."""
        while count:
            part = min(count, self._publisher.capacity)
            numbers = range(self._next, self._next + part)
            sent = [number.to_bytes(8, "little") for number in numbers]
            assert self._publisher.publish_many(sent, timeout_s=0) == part
            for consumer in self._consumers:
                taken = 0
                while taken < part:  # a take ends where the ring wraps
                    found = len(consumer.take_many(part - taken, timeout_s=0))
                    assert found > 0
                    taken += found
            self._next += part
            count -= part

    def publish(self, sent: list[bytes]) -> None:
        """Publish these messages; every consumer takes them."""
        assert self._publisher.publish_many(sent, timeout_s=0) == len(sent)
        for consumer in self._consumers:
            assert len(consumer.take_many(len(sent), timeout_s=0)) == len(sent)

    def end(self) -> None:
        """Say that nothing more comes."""
        assert self._publisher.end(timeout_s=0)

    def close(self) -> None:
        """Remove it."""
        os.close(self._descriptor)
        remove_run(self.directory)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Provide a stack of what is to be closed."""
    with ExitStack() as stack:
        yield stack


def tapped(
    stack: ExitStack, wanted: TapFilter, slot_bytes: int = 64
) -> tuple[Lane, LaneTap, Sampler]:
    """Return a lane with a tap that begins at time 0."""
    root = stack.enter_context(tempfile.TemporaryDirectory(prefix="byteor-test-", dir="/dev/shm"))
    lane = Lane(root, slot_bytes)
    stack.callback(lane.close)
    tap = LaneTap(lane.directory, lane.plan, lane.plan.rings[0].file)
    stack.callback(tap.close)
    return lane, tap, Sampler(tap, wanted, 0.0)


def test_a_pace_allows_a_second_at_once_and_debts_are_waited_for() -> None:
    """What was not used is kept for one second; more than the room is paid for afterwards."""
    pace = Pace(100, 0.0)
    assert pace.room(50.0) == 100
    pace.spend(150)
    assert pace.room(50.0) == -50
    assert pace.room(50.5) == 0
    assert pace.room(51.0) == 50


def test_at_any_rate_of_the_run_so_many_are_looked_at(stack: ExitStack) -> None:
    """Ten seconds at 40,000 messages a second: one second's worth, then the rate; all told."""
    lane, tap, sampler = tapped(stack, TapFilter())
    shown = []
    for tick in range(1, 101):
        lane.move(4_000)
        shown += sampler.look(tick / 10)
    lane.end()
    tap.skip_rest()
    assert 10 * RATE <= len(shown) <= 11 * RATE
    assert len(shown) + sampler.missed == 400_000
    assert all(int.from_bytes(each.payload, "little") == each.sequence for each in shown)
    assert shown[-1].sequence > 390_000


def test_a_slow_lane_is_shown_whole(stack: ExitStack) -> None:
    """Below the rate nothing is skipped."""
    lane, _tap, sampler = tapped(stack, TapFilter())
    shown = []
    for tick in range(1, 101):
        lane.move(RATE // 10)
        shown += sampler.look(tick / 10)
    assert [each.sequence for each in shown] == list(range(10 * RATE))
    assert sampler.missed == 0


def test_large_slots_are_bounded_by_their_bytes(stack: ExitStack) -> None:
    """Slots of 64 KiB: 16 a second."""
    lane, _tap, sampler = tapped(stack, TapFilter(), LARGE)
    shown = 0
    for tick in range(1, 101):
        lane.move(32)
        shown += len(sampler.look(tick / 10))
    assert 10 * BYTES_RATE // LARGE <= shown <= 11 * BYTES_RATE // LARGE + 1


def test_a_filter_is_searched_with_more_but_shows_no_more(stack: ExitStack) -> None:
    """Filtered, shown and missed are all that passed, whether few match or all."""
    for needle in (b"\x00\x00\x00", b"\x07"):
        lane, tap, sampler = tapped(stack, TapFilter(needle))
        shown = 0
        for tick in range(1, 51):
            lane.move(4_000)
            shown += len(sampler.look(tick / 10))
        tap.skip_rest()
        assert 0 < shown <= 6 * RATE
        assert shown + sampler.filtered <= 6 * RATE * SEARCH
        assert shown + sampler.filtered + sampler.missed == 200_000


def test_a_limit_is_met_exactly(stack: ExitStack) -> None:
    """The last look gives what was still wanted."""
    lane, _tap, sampler = tapped(stack, TapFilter(limit=RATE + 5))
    shown = 0
    for tick in range(1, 11):
        lane.move(4_000)
        shown += len(sampler.look(tick / 10))
    assert shown == RATE + 5
    assert sampler.satisfied


def test_messages_go_through_the_rules_before_they_are_sought_in(stack: ExitStack) -> None:
    """What a rule takes out cannot be found by content; what fits no schema is counted alone."""
    rules = guarding_of(
        [("dataguard_redact", config_of(("user:drop",)))],
        [REGISTRY.decode()],
        rules={},
        slot_bytes=256,
        key=bytes(32),
    )
    hidden, plain = b"hidden-9w4", b'{"type":"login","version":3,"note":"plain"}'
    given = [plain[:-1] + b',"user":"%s"}' % hidden, b"no message", plain]
    for contains, shown in ((b"", 2), (hidden, 0), (b"plain", 2)):
        lane, tap, _ = tapped(stack, TapFilter(), 256)
        sampler = Sampler(tap, TapFilter(contains), 0.0, guarding=rules)
        lane.publish(given)
        assert [each.payload for each in sampler.look(1.0)] == [plain] * shown
        assert (sampler.withheld, sampler.filtered) == (1, 2 - shown)
    broken = replace(rules, problem="no schema") if rules is not None else None
    lane, tap, _ = tapped(stack, TapFilter(), 256)
    sampler = Sampler(tap, TapFilter(), 0.0, guarding=broken)
    lane.publish(given)
    assert sampler.look(1.0) == []
    assert sampler.withheld == 3
