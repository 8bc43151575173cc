"""Counts of the API's calls, fed by whoever serves them and read by the exporter's thread."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

CALL_BOUNDS_S = tuple(
    round(digit * 10.0**power, 6) for power in range(-4, 2) for digit in (1, 2, 5)
)
"""Upper bounds of the time of a call: 1-2-5 from 100 us to 50 s."""
METHODS_MAX = 64
OTHER = "other"


@dataclass(slots=True)
class CallStats:
    """The calls of one method so far."""

    started: int = 0
    handled: Counter[str] = field(default_factory=Counter)
    """By the name of the status."""
    buckets: list[int] = field(default_factory=lambda: [0] * len(CALL_BOUNDS_S))
    """Calls in each bucket, not cumulative; slower ones are in none."""
    sum_s: float = 0.0


class GrpcCalls:
    """Counts calls by method. Any thread; beyond 64 methods all others are `other`."""

    def __init__(self) -> None:
        """Count from zero."""
        self._lock = threading.Lock()
        self._methods: dict[str, CallStats] = {}

    def started(self, method: str) -> None:
        """Count a call that begins."""
        with self._lock:
            self._of(method).started += 1

    def finished(self, method: str, code: str, seconds: float) -> None:
        """Count a call that ended with a status after that many seconds."""
        with self._lock:
            stats = self._of(method)
            stats.handled[code] += 1
            stats.sum_s += seconds
            bucket = bisect_left(CALL_BOUNDS_S, seconds)
            if bucket < len(CALL_BOUNDS_S):
                stats.buckets[bucket] += 1

    def snapshot(self) -> dict[str, CallStats]:
        """Return a copy of all counts."""
        with self._lock:
            return {
                method: CallStats(each.started, each.handled.copy(), list(each.buckets), each.sum_s)
                for method, each in self._methods.items()
            }

    def _of(self, method: str) -> CallStats:
        known = self._methods.get(method)
        if known is None:
            name = method if len(self._methods) < METHODS_MAX else OTHER
            known = self._methods.setdefault(name, CallStats())
        return known
