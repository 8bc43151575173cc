"""Watches of runs."""

from __future__ import annotations

import asyncio

import pytest

from byteord.errors import ResourceError
from byteord.runs.state import RunState
from byteord.runs.view import RunView, WatchEvent, WatchKind
from byteord.runs.watch import Watch, WatchHub
from tests.unit.runs.support import run, view


class Runs:
    """A hub with runs to watch."""

    def __init__(self, *, log_max: int = 100, queue_max: int = 4, watches_max: int = 3) -> None:
        """Hold no run."""
        self.now: dict[str, RunView] = {}
        self.hub = WatchHub(
            self._snapshot, watches_max=watches_max, first=100, log_max=log_max, queue_max=queue_max
        )

    def change(self, run_id: str, state: RunState = RunState.RUNNING) -> int:
        """Change a run; return the revision."""
        revision = self.hub.next_revision()
        self.now[run_id] = view(run_id, state, revision=revision)
        self.hub.publish(self.now[run_id])
        return revision

    def _snapshot(self, run_id: str | None) -> list[RunView]:
        if run_id is not None:
            return [self.now[run_id]]
        return [each for each in self.now.values() if not each.ended]


async def take(watch: Watch, count: int) -> list[WatchEvent]:
    """Take that many events; a deadline guards against one too few."""
    events: list[WatchEvent] = []
    async with asyncio.timeout(5):
        events += [await anext(watch) for _ in range(count)]
    return events


def kinds(events: list[WatchEvent]) -> list[tuple[str, str]]:
    """Return kind and run of each event."""
    return [(str(event.kind), event.run.id if event.run else "") for event in events]


def test_begins_with_snapshots_then_changes() -> None:
    """A watch on all runs tells what there is, then what changes, with growing revisions."""

    async def work() -> None:
        runs = Runs()
        runs.change("a")
        runs.change("b")
        watch = runs.hub.open(None)
        revision = runs.change("a", RunState.DRAINING)
        runs.change("b", RunState.COMPLETED)
        events = await take(watch, 4)
        assert kinds(events) == [
            ("snapshot", "a"),
            ("snapshot", "b"),
            ("changed", "a"),
            ("ended", "b"),
        ]
        assert events[2].revision == revision
        assert events[3].revision == revision + 1

    run(work())


def test_watch_on_one_run_hears_of_no_other_and_ends_with_it() -> None:
    """A watch on one run stops by itself after the run's end."""

    async def work() -> None:
        runs = Runs()
        runs.change("a")
        watch = runs.hub.open("a")
        runs.change("b")
        runs.change("a", RunState.FAILED)
        events = [event async for event in watch]
        assert kinds(events) == [("snapshot", "a"), ("ended", "a")]
        assert runs.hub.watches == 0

    run(work())


def test_watch_on_an_ended_run_ends_at_once() -> None:
    """Whoever watches a run that has ended is told so and does not wait, resumed or not."""

    async def work() -> None:
        runs = Runs()
        ended = runs.change("a", RunState.STOPPED)
        events = [event async for event in runs.hub.open("a")]
        assert kinds(events) == [("snapshot", "a"), ("ended", "a")]
        resumed = [event async for event in runs.hub.open("a", ended)]
        assert kinds(resumed) == [("ended", "a")]

    run(work())


def test_resumes_after_a_revision() -> None:
    """A watch resumed after revision r gets every change after r, once."""

    async def work() -> None:
        runs = Runs()
        runs.change("a")
        middle = runs.change("a", RunState.DRAINING)
        runs.change("b")
        events = await take(runs.hub.open(None, middle), 1)
        assert kinds(events) == [("changed", "b")]

    run(work())


@pytest.mark.parametrize("after", [1, 10**9])
def test_a_revision_out_of_reach_is_too_old(after: int) -> None:
    """A revision forgotten, or of another daemon, is said to be too old and snapshots follow."""

    async def work() -> None:
        runs = Runs(log_max=2)
        for name in "abcd":
            runs.change(name)
        events = await take(runs.hub.open(None, after), 5)
        assert kinds(events)[0] == ("too_old", "")
        assert [kind for kind, _ in kinds(events)[1:]] == ["snapshot"] * 4

    run(work())


def test_a_slow_watch_is_moved_to_a_fresh_snapshot() -> None:
    """Publishing never waits: a watch that does not read loses its queue and is told so."""

    async def work() -> None:
        runs = Runs(queue_max=4)
        watch = runs.hub.open(None)
        for _ in range(50):
            runs.change("a")
        runs.change("b", RunState.COMPLETED)
        events = await take(watch, 2)
        assert kinds(events) == [("too_old", ""), ("snapshot", "a")]
        assert watch.behind == 1
        runs.change("a", RunState.DRAINING)
        assert kinds(await take(watch, 1)) == [("changed", "a")]

    run(work())


def test_too_many_watches_are_refused() -> None:
    """Beyond the ceiling a watch is refused by name; ending one makes room."""

    async def work() -> None:
        runs = Runs(watches_max=2)
        first, second = runs.hub.open(None), runs.hub.open(None)
        with pytest.raises(ResourceError) as caught:
            runs.hub.open(None)
        assert caught.value.reason == "WATCHES_MAX"
        await first.aclose()
        third = runs.hub.open(None)
        assert runs.hub.watches == 2
        await second.aclose()
        await third.aclose()

    run(work())


def test_an_abandoned_watch_makes_room() -> None:
    """A watch that nobody holds any more does not count."""

    async def work() -> None:
        runs = Runs(watches_max=1)
        runs.hub.open(None)
        assert runs.hub.open(None) is not None

    run(work())


def test_going_down_ends_every_watch_with_a_last_event() -> None:
    """A watch that waits is woken, gets `going_down`, and ends."""

    async def work() -> None:
        runs = Runs()
        watch = runs.hub.open(None)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        runs.hub.going_down()
        assert (await waiting).kind is WatchKind.GOING_DOWN
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
        late = runs.hub.open(None)
        assert (await anext(late)).kind is WatchKind.GOING_DOWN

    run(work())


def test_closing_wakes_the_reader() -> None:
    """`aclose` ends a reader that waits."""

    async def work() -> None:
        runs = Runs()
        watch = runs.hub.open(None)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await watch.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting

    run(work())
