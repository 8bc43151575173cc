"""What a measured latency is made of: interruptions by cause, waking up, the hand-over itself.

Pure. The model is an open-loop one: a message arrives at any moment alike. An interruption of
length L delays it by more than q if it arrives in its first L - q, so in a window of length T the
share of messages that are delayed by more than q is sum(max(0, L - q)) / T. The q at which that is
0.1 % is what interruptions add at the 99.9th percentile; each cause's part of the sum is its share.

Causes are told apart by counts that the kernel keeps over the same window: as many of the longest
gaps as the thread was switched out were other tasks; the rest is shared among timer ticks, other
interrupts and what nobody counted (hypervisor or firmware) by their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TAIL = 0.001
TICKS = ("LOC",)
CAUSES: Mapping[str, str] = {
    "tasks": "other tasks",
    "ticks": "timer ticks",
    "interrupts": "other interrupts",
    "unexplained": "what the kernel does not count (hypervisor, firmware)",
}
CHECKS: Mapping[str, tuple[str, ...]] = {
    "tasks": ("C05", "C12", "C14", "Z02"),
    "ticks": ("C06", "K03"),
    "interrupts": ("I02", "I03", "I04", "I06"),
    "unexplained": ("V02", "V04", "I10"),
}
"""Checks that a cause prices."""
CLOCK_NS_GOOD = 50.0
WAKE_NS_GOOD = 5_000.0

Gaps = list[tuple[float, float]]
"""Length in ns, and how many."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What the 99.9th percentile of a hand-over is made of, in ns."""

    parts: Mapping[str, float]
    """Largest first."""
    stolen_share: float
    """Of the time, lost to interruptions."""
    rate_hz: float
    """Interruptions a second on each CPU."""
    cost_us: Mapping[str, tuple[float, str]]
    """By code: microseconds, and how they were attributed."""

    @property
    def total_ns(self) -> float:
        """Return the sum."""
        return sum(self.parts.values())


def percentile(buckets: Sequence[Sequence[float]], share: float) -> float:
    """Return the smallest bucket at or below which `share` of all values lie; 0 without values."""
    wanted = share * sum(count for _, count in buckets)
    seen = 0.0
    for low, count in buckets:
        seen += count
        if seen >= wanted:
            return float(low)
    return 0.0


def delay_at(gaps: Iterable[tuple[float, float]], window_ns: float, tail: float = TAIL) -> float:
    """Return the delay that a share `tail` of arrivals exceeds."""
    ordered = sorted(gaps, reverse=True)
    count = mass = 0.0
    for index, (length, times) in enumerate(ordered):
        count += times
        mass += length * times
        below = ordered[index + 1][0] if index + 1 < len(ordered) else 0.0
        if mass - count * below >= tail * window_ns:
            return max(0.0, (mass - tail * window_ns) / count)
    return 0.0


def split(cpu: Mapping[str, Any], counted: Mapping[str, int]) -> dict[str, Gaps]:
    """Return the gaps of one CPU by cause."""
    left = float(cpu["switches"])
    causes: dict[str, Gaps] = {name: [] for name in CAUSES}
    rest: Gaps = []
    for low, count in reversed(cpu["buckets"]):
        taken = min(left, float(count))
        left -= taken
        if taken:
            causes["tasks"].append((float(low), taken))
        if count > taken:
            rest.append((float(low), count - taken))
    ticks = sum(counted.get(name, 0) for name in TICKS)
    others = sum(counted.values()) - ticks
    gaps = sum(count for _, count in rest)
    whole = max(gaps, float(ticks + others), 1.0)
    shares = {"ticks": ticks / whole, "interrupts": others / whole}
    shares["unexplained"] = max(0.0, 1.0 - sum(shares.values()))
    for name, share in shares.items():
        causes[name] = [(low, count * share) for low, count in rest if share]
    return causes


def make_budget(measured: Mapping[str, Any], wait: str) -> Budget | None:
    """Return the budget; None without a measurement of interruptions."""
    cpus = [each for each in measured.get("jitter") or () if each["elapsed_ns"]]
    if not cpus:
        return None
    window = float(sum(each["elapsed_ns"] for each in cpus))
    causes: dict[str, Gaps] = {name: [] for name in CAUSES}
    for each in cpus:
        for name, gaps in split(each, each.get("interrupts", {})).items():
            causes[name] += gaps
    every = [gap for gaps in causes.values() for gap in gaps]
    delay = delay_at(every, window)
    tails = {
        name: sum(max(0.0, length - delay) * count for length, count in gaps)
        for name, gaps in causes.items()
    }
    whole = sum(tails.values())
    parts = {name: delay * tail / whole for name, tail in tails.items()} if whole else {}
    parts |= _other_parts(measured, wait)
    shown = {name: ns for name, ns in sorted(parts.items(), key=lambda item: -item[1]) if ns > 0}
    stolen = sum(length * count for length, count in every) / window
    rate = sum(count for _, count in every) / window * 1e9
    return Budget(shown, stolen, rate, _costs(parts, measured))


def _other_parts(measured: Mapping[str, Any], wait: str) -> dict[str, float]:
    parts = {}
    hand_over = measured.get("hand_over")
    if hand_over:
        parts["hand-over"] = max(each["p50_ns"] for each in hand_over)
    wake = (measured.get("wake") or {}).get(wait)
    if wake:
        parts["waking up"] = wake["p999_ns"]
    return parts


def _costs(parts: Mapping[str, float], measured: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    found = {
        code: (parts[cause] / 1000, f"{CAUSES[cause]}, part of p99.9")
        for cause, codes in CHECKS.items()
        if parts.get(cause)
        for code in codes
    }
    clock = measured.get("clock")
    if clock and clock["run_ns"] > CLOCK_NS_GOOD:
        for code in ("T01", "Z01"):
            found[code] = ((clock["run_ns"] - CLOCK_NS_GOOD) / 1000, "each clock read")
    park = (measured.get("wake") or {}).get("park")
    if park and park["p99_ns"] > WAKE_NS_GOOD:
        for code in ("P05", "P06", "Z03"):
            found[code] = ((park["p99_ns"] - WAKE_NS_GOOD) / 1000, "p99 of each wake-up from park")
    touch = measured.get("faults")
    if touch:
        for code in ("M01", "M02", "M19"):
            found[code] = (touch["first_ns"] / 1000, "each first touch of a page")
    sync = measured.get("fsync")
    if sync:
        for code in ("D07", "D09", "D10", "Z06"):
            found[code] = (sync["p99_us"], "p99 of each fsync")
    return found


def budget_lines(budget: Budget, cpus: str) -> list[str]:
    """Return the budget for people."""
    rate = f"{budget.rate_hz:,.0f} interruptions a second on each"
    lines = [f"CPUs {cpus}: {rate} take {budget.stolen_share:.3%} of the time"]
    total = budget.total_ns
    if total:
        shares = ", ".join(
            f"{CAUSES.get(name, name)} {ns / 1000:.2f} us ({ns / total:.0%})"
            for name, ns in budget.parts.items()
        )
        lines.append(f"p99.9 of one hand-over, worked out: {total / 1000:.2f} us = {shares}")
    return lines
