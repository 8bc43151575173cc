"""The bench of the profiles works: every profile is measured and has its row."""

from __future__ import annotations

import os

import pytest

from byteord.deployment.profiles import PROFILES
from tests.bench.tuning_bench import Sample, measure, table


def test_a_profile_is_measured_from_its_own_regions() -> None:
    """Quantiles come in order, gaps and shares are possible ones."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two spinning workers need two CPUs")
    sample = measure("low-latency", 0.2)
    assert 0 < sample.p50 <= sample.p99 <= sample.p999
    assert 0 <= sample.stolen <= 1.5
    assert sample.gaps_per_s >= 0


def test_the_table_has_a_row_for_each_profile() -> None:
    """Medians with their spread, the longest gap of all rounds, and what was not honoured."""
    rounds = [Sample(100 * n, 200 * n, 300 * n, 5.0, 0.01, n * 1000, ("isolation",))
              for n in range(1, 6)]  # fmt: skip
    text = table(dict.fromkeys(PROFILES, rounds))
    assert "| `low-latency` | 300 ns (100 ns to 500 ns) | 600 ns" in text
    assert "1.00% | 5 us |" in text
    assert "`default`: isolation" in text
