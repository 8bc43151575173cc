"""How long something takes when the machine lets it."""

from __future__ import annotations

import time
from collections.abc import Callable


def best_of(tries: int, enough_s: float, action: Callable[[], object]) -> float:
    """Return the least wall time of `action` in `tries` tries, fewer once it is below `enough_s`."""
    best_s = float("inf")
    for _ in range(tries):
        started = time.perf_counter()
        action()
        best_s = min(best_s, time.perf_counter() - started)
        if best_s < enough_s:
            break
    return best_s
