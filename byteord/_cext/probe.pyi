# The typed face of `cext/probe.pyx`.

from collections.abc import Sequence
from typing import Any

WAITS: dict[str, int]

def jitter(
    cpus: Sequence[int], *, window_ns: int, threshold_ns: int, budget_ns: int, mult: int
) -> list[dict[str, Any]]: ...
def hand_over(
    there_fd: int, back_fd: int, left_cpu: int, right_cpu: int, *, window_ns: int, mult: int
) -> dict[str, Any]: ...
def wake(
    kind: str,
    *,
    sleep_ns_max: int,
    poster_cpu: int,
    waiter_cpu: int,
    posts: int,
    pause_ns: int,
    mult: int,
) -> dict[str, Any]: ...
def timer(cpu: int, *, sleep_ns: int, times: int, mult: int) -> dict[str, Any]: ...
def clock_cost(mult: int) -> dict[str, float]: ...
def touch(fd: int, bytes_: int, mult: int) -> dict[str, Any]: ...
