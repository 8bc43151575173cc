"""What happened to runs, by run: the last events of each, bounded, in memory."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

EVENTS_MAX = 256
RUNS_MAX = 200


class EventLog:
    """The last events of the last runs. Used from the event loop alone."""

    def __init__(self, *, runs_max: int = RUNS_MAX, events_max: int = EVENTS_MAX) -> None:
        """Begin empty."""
        self._runs_max, self._events_max = runs_max, events_max
        self._events: OrderedDict[str, deque[dict[str, Any]]] = OrderedDict()

    def add(self, event: str, data: Mapping[str, object]) -> None:
        """Keep an event that names its run; others are somebody else's."""
        run = str(data.get("run") or "")
        if not run:
            return
        kept = self._events.setdefault(run, deque(maxlen=self._events_max))
        kept.append({"event": event, "unix_ns": time.time_ns(), **data})
        while len(self._events) > self._runs_max:
            self._events.popitem(last=False)

    def of(self, run: str) -> Sequence[Mapping[str, Any]]:
        """Return a run's events, oldest first."""
        return tuple(self._events.get(run, ()))
