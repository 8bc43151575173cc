"""What something costs, told apart from what else the machine does."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil


def cpu_cost_s(action: Callable[[], object], *, also: int = 0) -> float:
    """Return the CPU seconds of the processes that `action` starts and waits for.

    With `also`, those that this process spends in the meantime as well. Where one waits for the
    other this is the wall time of an idle machine.
    """
    before = _spent_s(also)
    action()
    return _spent_s(also) - before


def best_of(tries: int, enough_s: float, measure: Callable[[], float]) -> float:
    """Return the least of at most `tries` measures; stops at one below `enough_s`."""
    best_s = float("inf")
    for _ in range(tries):
        best_s = min(best_s, measure())
        if best_s < enough_s:
            break
    return best_s


def _spent_s(also: int) -> float:
    spent = os.times()
    other = psutil.Process(also).cpu_times() if also else None
    mine = spent.children_user + spent.children_system
    return mine + (other.user + other.system if other else 0.0)
