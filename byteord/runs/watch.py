"""Watches: who wants to hear of runs, and what each has still to be told.

Owns the revision counter, the log of recent events and one bounded queue a watch. Publishing never
waits: a watch that does not keep up loses its queue, is told so (`too_old`) and is given fresh
snapshots instead. Everything happens on one event loop.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from byteord.errors import ResourceError
from byteord.runs.view import RunView, WatchEvent, WatchKind

LOG_EVENTS_MAX = 1024
QUEUE_EVENTS_MAX = 256

Snapshot = Callable[[str | None], Sequence[RunView]]
"""Returns the runs a new watch begins with.

All live ones, or the one of that id whatever its state.
"""


def first_revision() -> int:
    """Return a revision that no earlier daemon on this host has given out.

    Microseconds since the epoch.
    """
    return time.time_ns() // 1000


class WatchHub:
    """Hands every change of a run to every watch that wants it, and to no one else."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        watches_max: int,
        first: int | None = None,
        log_max: int = LOG_EVENTS_MAX,
        queue_max: int = QUEUE_EVENTS_MAX,
    ) -> None:
        """Start with no watch; `first` is the revision before the first change."""
        self._snapshot = snapshot
        self._watches_max = watches_max
        self._queue_max = queue_max
        self._log: deque[WatchEvent] = deque(maxlen=log_max)
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._going_down = False
        self.revision = first_revision() if first is None else first
        self._forgotten = self.revision

    @property
    def watches(self) -> int:
        """Watches that are open."""
        return len(self._watches)

    def next_revision(self) -> int:
        """Take the revision of a change that is about to be published."""
        self.revision += 1
        return self.revision

    def publish(self, view: RunView) -> None:
        """Tell everyone that the run changed; `view.revision` must come from `next_revision`."""
        kind = WatchKind.ENDED if view.ended else WatchKind.CHANGED
        event = WatchEvent(kind, view, view.revision)
        if len(self._log) == self._log.maxlen:
            self._forgotten = self._log[0].revision
        self._log.append(event)
        for watch in list(self._watches):
            watch.offer(event)

    def going_down(self) -> None:
        """Give every watch its last event; later ones get nothing else."""
        self._going_down = True
        for watch in list(self._watches):
            watch.say_last(self.revision)

    def open(self, run_id: str | None, after_revision: int = 0) -> Watch:
        """Open a watch on one run or on all; raise ResourceError when there are too many.

        With a revision it continues there if the log still reaches so far, else says so and begins
        anew.
        """
        if len(self._watches) >= self._watches_max:
            raise ResourceError(
                f"{len(self._watches)} watches are open and this daemon allows "
                f"{self._watches_max}: "
                "end one, or raise watches_max in the daemon's configuration",
                reason="WATCHES_MAX",
                details={"seen": str(len(self._watches)), "wanted": f"< {self._watches_max}"},
            )
        watch = Watch(self, run_id, self._queue_max)
        self._begin(watch, after_revision)
        if self._going_down:
            watch.say_last(self.revision)
        self._watches.add(watch)
        return watch

    def close(self, watch: Watch) -> None:
        """Forget a watch."""
        self._watches.discard(watch)

    def snapshots(self, run_id: str | None) -> list[WatchEvent]:
        """Return the events a fresh watch begins with."""
        events = []
        for view in self._snapshot(run_id):
            events.append(WatchEvent(WatchKind.SNAPSHOT, view, self.revision))
            if view.ended and run_id is not None:
                events.append(WatchEvent(WatchKind.ENDED, view, self.revision))
        return events

    def _already_ended(self, watch: Watch) -> list[WatchEvent]:
        if watch.run_id is None or watch.pending:
            return []
        return [event for event in self.snapshots(watch.run_id) if event.kind is WatchKind.ENDED]

    def _begin(self, watch: Watch, after_revision: int) -> None:
        if after_revision == 0:
            watch.begin(self.snapshots(watch.run_id))
        elif self._forgotten <= after_revision <= self.revision:
            watch.begin([event for event in self._log if event.revision > after_revision])
            watch.begin(self._already_ended(watch))
        else:
            too_old = WatchEvent(WatchKind.TOO_OLD, None, self.revision)
            watch.begin([too_old, *self.snapshots(watch.run_id)])


class Watch:
    """An asynchronous iterator over the events of one watch.

    Ends with its run, with the daemon or by `aclose`.
    """

    def __init__(self, hub: WatchHub, run_id: str | None, queue_max: int) -> None:
        """Belong to `hub`, which opens it."""
        self.run_id = run_id
        self.behind = 0
        """How often it lost its queue because nobody read it."""
        self._hub = hub
        self._queue: deque[WatchEvent] = deque()
        self._queue_max = queue_max
        self._fresh = False
        self._last: WatchEvent | None = None
        self._done = False
        self._wake = asyncio.Event()

    @property
    def pending(self) -> int:
        """Events that are queued."""
        return len(self._queue)

    def begin(self, events: Sequence[WatchEvent]) -> None:
        """Take the first events, whatever their number: they exist already."""
        for event in events:
            if event.run is None or self._wants(event):
                self._queue.append(event)
        self._wake.set()

    def offer(self, event: WatchEvent) -> None:
        """Take an event if it is wanted.

        Never wait, drop the queue for fresh snapshots when it is full.
        """
        if not self._wants(event) or self._fresh:
            return
        if len(self._queue) >= self._queue_max:
            self._queue.clear()
            self._fresh = True
            self.behind += 1
        else:
            self._queue.append(event)
        self._wake.set()

    def say_last(self, revision: int) -> None:
        """End after what is queued, with the news that the daemon goes down."""
        self._last = WatchEvent(WatchKind.GOING_DOWN, None, revision)
        self._wake.set()

    async def aclose(self) -> None:
        """End it; a reader that waits is woken."""
        self._finish()

    def __aiter__(self) -> Watch:
        """Return itself."""
        return self

    async def __anext__(self) -> WatchEvent:
        """Return the next event, waiting for it."""
        while not self._done:
            event = self._take()
            if event is not None:
                if self._is_end(event):
                    self._finish()
                return event
            self._wake.clear()
            await self._wake.wait()
        raise StopAsyncIteration

    def _take(self) -> WatchEvent | None:
        if self._fresh:
            self._fresh = False
            self._queue.append(WatchEvent(WatchKind.TOO_OLD, None, self._hub.revision))
            self._queue.extend(self._hub.snapshots(self.run_id))
        if self._queue:
            return self._queue.popleft()
        return self._last

    def _wants(self, event: WatchEvent) -> bool:
        return self.run_id is None or (event.run is not None and event.run.id == self.run_id)

    def _is_end(self, event: WatchEvent) -> bool:
        if event.kind is WatchKind.GOING_DOWN:
            return True
        return event.kind is WatchKind.ENDED and self.run_id is not None

    def _finish(self) -> None:
        self._done = True
        self._queue.clear()
        self._hub.close(self)
        self._wake.set()
