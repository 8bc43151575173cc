"""The native probe: bounded in time, honest about what the kernel refuses."""

from __future__ import annotations

import os
import time

import pytest

from byteord._cext import probe
from byteord.doctor.attribute import percentile

CPU = min(os.sched_getaffinity(0))
WINDOW_NS = 20_000_000


def test_interruptions_are_counted_within_the_window() -> None:
    """The window is kept, the counts add up, and the longest gap is no shorter than any bucket."""
    (found,) = probe.jitter(
        [CPU], window_ns=WINDOW_NS, threshold_ns=200, budget_ns=1_000_000, mult=0
    )
    assert found["elapsed_ns"] >= WINDOW_NS
    assert found["turns"] > 100
    assert sum(count for _, count in found["buckets"]) == found["count"]
    assert all(low <= found["longest_ns"] for low, _ in found["buckets"])
    assert percentile(found["buckets"], 1.0) <= found["longest_ns"]


def test_a_cpu_that_is_not_there_is_an_error_of_that_cpu() -> None:
    """The others are measured all the same."""
    good, bad = probe.jitter(
        [CPU, 1000], window_ns=1_000_000, threshold_ns=1000, budget_ns=10_000, mult=0
    )
    assert good["error"] == ""
    assert good["turns"] > 0
    assert "nvalid" in bad["error"]
    assert bad["turns"] == 0


def test_a_refused_pin_raises() -> None:
    """Waking up on a CPU that is not there is an OSError, not a figure; and nothing hangs."""
    begun = time.monotonic()
    with pytest.raises(OSError, match="nvalid"):
        probe.timer(1000, sleep_ns=1000, times=3, mult=0)
    with pytest.raises(OSError, match="nvalid"):
        probe.wake(
            "park",
            sleep_ns_max=1_000_000,
            poster_cpu=-1,
            waiter_cpu=1000,
            posts=3,
            pause_ns=1000,
            mult=0,
        )
    assert time.monotonic() - begun < 30


def test_rings_that_are_none_are_refused() -> None:
    """A file that is no ring region is a ValueError with what was seen."""
    file = os.memfd_create("none")
    try:
        with pytest.raises(ValueError, match="bytes"):
            probe.hand_over(file, file, 0, 0, window_ns=1000, mult=0)
    finally:
        os.close(file)


def test_every_post_is_taken_once() -> None:
    """As many wake-ups as posts, whatever the strategy."""
    for kind in probe.WAITS:
        found = probe.wake(
            kind,
            sleep_ns_max=100_000,
            poster_cpu=-1,
            waiter_cpu=-1,
            posts=5,
            pause_ns=200_000,
            mult=0,
        )
        assert found["count"] == 5
        assert found["longest_ns"] > 0
