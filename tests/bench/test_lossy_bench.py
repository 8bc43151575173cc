"""The bench of lossy consumers stops one, its siblings go on, what it missed is known exactly."""

from __future__ import annotations

import pytest

from tests.bench.candidates import two_cpus
from tests.bench.lossy_bench import KINDS, fanout, measure
from tests.bench.native import BenchError


def test_windows_with_and_without_a_stopped_consumer_alternate() -> None:
    """Each kind has a ratio; a stopped consumer misses messages, and all of them are accounted."""
    try:
        two_cpus()
    except BenchError as error:
        pytest.skip(str(error))
    with fanout("always") as run:
        found = measure(run, 1, 50.0)
        published, taken, missed = run.account()
    assert {kind: len(each) for kind, each in found.items()} == dict.fromkeys(KINDS, 1)
    assert all(ratio > 0 for each in found.values() for ratio in each)
    assert missed > 0
    assert published == taken + missed
