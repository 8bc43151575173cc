"""What p99.9 is made of, on invented interruptions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteord.doctor.attribute import budget_lines, delay_at, make_budget, percentile, split

SECOND = 1_000_000_000


def _cpu(*gaps: tuple[int, int], switches: int = 0, **interrupts: int) -> dict[str, Any]:
    return {
        "cpu": 2,
        "elapsed_ns": SECOND,
        "switches": switches,
        "buckets": sorted(gaps),
        "interrupts": interrupts,
    }


def test_the_delay_at_the_tail_is_what_arithmetic_says() -> None:
    """1,000 gaps of 10 us in a second delay 1 % of arrivals; 0.1 % by more than 9 us."""
    assert delay_at([(10_000, 1000)], SECOND) == pytest.approx(9_000)
    assert delay_at([(10_000, 10)], SECOND) == 0.0
    assert delay_at([], SECOND) == 0.0


GAPS = st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 1000)), max_size=20)


@given(GAPS)
def test_the_delay_is_exceeded_by_the_tail_alone(gaps: list[tuple[int, int]]) -> None:
    """Whatever the gaps, 0.1 % of arrivals are delayed by more, unless fewer are delayed at all."""
    delay = delay_at(gaps, SECOND)
    beyond = sum(max(0.0, length - delay) * count for length, count in gaps) / SECOND
    assert beyond == pytest.approx(0.001, rel=1e-6) if delay else beyond <= 0.001


def test_causes_are_told_apart_by_the_kernel_s_counts() -> None:
    """The longest gaps are as many other tasks as switches; ticks and the rest share by number."""
    found = split(_cpu((2_000, 100), (900_000, 3), switches=2, LOC=60, **{"36": 20}), {})
    assert found["tasks"] == [(900_000.0, 2.0)]
    cpu = _cpu((2_000, 100), (900_000, 2), switches=2)
    found = split(cpu, {"LOC": 60, "36": 20})
    assert found["ticks"] == [(2_000.0, 60.0)]
    assert found["interrupts"] == [(2_000.0, 20.0)]
    ((length, count),) = found["unexplained"]
    assert length == 2_000.0
    assert count == pytest.approx(20.0)


def test_parts_add_up_and_price_checks() -> None:
    """The parts sum to the total, and each warning has the microseconds of its cause."""
    measured = {
        "jitter": [_cpu((4_000, 250), (2_000_000, 5), switches=5, LOC=250)],
        "hand_over": [{"p50_ns": 110.0}],
        "wake": {"park": {"p50_ns": 9e3, "p99_ns": 65e3, "p999_ns": 80e3}},
        "clock": {"run_ns": 850.0, "clock_ns": 900.0},
        "faults": {"first_ns": 4_000.0},
        "fsync": {"p99_us": 700.0},
    }
    budget = make_budget(measured, "park")
    assert budget is not None
    assert budget.total_ns == pytest.approx(sum(budget.parts.values()))
    assert next(iter(budget.parts)) == "tasks"
    assert budget.parts["waking up"] == 80e3
    assert budget.cost_us["C12"][0] == pytest.approx(budget.parts["tasks"] / 1000)
    assert budget.cost_us["T01"][0] == pytest.approx(0.8)
    assert budget.cost_us["P06"][0] == pytest.approx(60.0)
    assert budget.cost_us["Z06"][0] == 700.0
    assert "waking up" not in make_budget(measured, "spin").parts  # type: ignore[union-attr]
    assert "other tasks" in "\n".join(budget_lines(budget, "2"))


def test_nothing_measured_makes_no_budget() -> None:
    """Without interruptions measured there is no budget, and no figure is made up."""
    assert make_budget({"clock": {"run_ns": 9.0}}, "spin") is None
    assert make_budget({"jitter": []}, "spin") is None
    quiet = make_budget({"jitter": [_cpu()]}, "spin")
    assert quiet is not None
    assert quiet.total_ns == 0


def test_percentiles_of_buckets() -> None:
    """The smallest bucket at or below which the share lies."""
    assert percentile([(1, 50), (2, 49), (9, 1)], 0.99) == 2.0
    assert percentile([(1, 50), (2, 49), (9, 1)], 0.999) == 9.0
    assert percentile([], 0.5) == 0.0
