"""The measurement of starts works; what it measures is for people to judge."""

from __future__ import annotations

import pytest

from tests.bench.starts import KINDS, NUMPY_MS, Figures, as_text, measure


def test_a_start_is_measured_as_status_shows_it() -> None:
    """Each kind starts under a daemon that keeps a shim ready, and stands beside its target."""
    figures = list(measure(1, ready=True))
    print(as_text(figures))
    assert [each.target_ms for each in figures] == [kind.target_ms for kind in KINDS]
    for each in figures:
        assert 0 < each.ready_ms[0] < 60_000
        assert 0 < each.first_ms[0] < 60_000


@pytest.mark.parametrize(("count", "p90"), [(1, 1.0), (10, 9.0), (20, 18.0), (21, 19.0)])
def test_figures_sum_up(count: int, p90: float) -> None:
    """The p90 is the least time that 9 of 10 starts do not exceed; a missed target says so."""
    times = tuple(float(1 + number) for number in range(count))[::-1]
    figures = Figures("some kind", NUMPY_MS, times, times)
    assert figures.p90_ms == p90
    assert figures.median_ms == (count + 1) / 2
    assert "missed" not in as_text([figures])
    assert "missed" in as_text([Figures("slow", 1.0, times, (2.0,))])
