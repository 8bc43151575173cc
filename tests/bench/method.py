"""The rules of measuring: classes, kept samples, ratios inside a round, medians with p10 and p90.

Pure: no process is started here. Two CPUs of a shared machine may be neighbours in one second and
strangers in the next, and everything lock-free moves with that by 4 to 20 times. So each sample is
taken between two probes of a bare cache line, is kept only if both probes fall in one class, and is
divided by the anchors of its own probes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import comb

NEAR_NS_MAX = 80.0
MIDDLE_NS_MAX = 200.0
OUTSIDE_EACH_SIDE = 0.025


class PairClass(Enum):
    """How far apart the two CPUs were, by the round trip of a bare cache line."""

    NEAR = "near (<80 ns)"
    MIDDLE = "middle (80-200 ns)"
    FAR = "far (>200 ns)"


HEADLINE = PairClass.MIDDLE


def pair_class(round_trip_ns: float) -> PairClass:
    """Return the class of a round trip in nanoseconds."""
    if round_trip_ns < NEAR_NS_MAX:
        return PairClass.NEAR
    return PairClass.MIDDLE if round_trip_ns <= MIDDLE_NS_MAX else PairClass.FAR


@dataclass(frozen=True, slots=True)
class Probe:
    """Both anchors at one moment."""

    round_trip_p50_ns: float
    round_trip_p99_ns: float
    lines_per_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one candidate, between two probes.

    `values` holds `rate` (messages per second) or `p50_ns` and `p99_ns` (one way), and what else
    the candidate counts.
    """

    candidate: str
    before: Probe
    after: Probe
    values: dict[str, float] = field(default_factory=dict)

    @property
    def pair_class(self) -> PairClass | None:
        """Return the class both probes agree on, or None: then the sample is thrown away."""
        before = pair_class(self.before.round_trip_p50_ns)
        return before if before is pair_class(self.after.round_trip_p50_ns) else None

    @property
    def a_lat_ns(self) -> float:
        """Half the bare line's median round trip."""
        return (self.before.round_trip_p50_ns + self.after.round_trip_p50_ns) / 4

    @property
    def a_lat_p99_ns(self) -> float:
        """Half the bare line's p99 round trip."""
        return (self.before.round_trip_p99_ns + self.after.round_trip_p99_ns) / 4

    @property
    def a_str(self) -> float:
        """Lines per second of the bare stream."""
        return (self.before.lines_per_s + self.after.lines_per_s) / 2

    def over_anchor(self, key: str) -> float:
        """Return `values[key]` over its anchor: A_str, A_lat for `p50_ns`, its p99 for `p99_ns`."""
        anchors = {
            "p50_ns": self.a_lat_ns,
            "p99_ns": self.a_lat_p99_ns,
            "p99_over_median": self.a_lat_ns,
        }
        value = self.values["p99_ns" if key == "p99_over_median" else key]
        return value / anchors.get(key, self.a_str)


Round = dict[str, Sample]
"""The samples of one round, by candidate; every round holds each candidate at most once."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A median with its spread, and how many samples it stands on."""

    count: int
    p10: float
    p50: float
    p90: float


def quantile(values: Sequence[float], share: float) -> float:
    """Return the interpolated quantile of non-empty `values`."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summarise(values: Iterable[float]) -> Summary | None:
    """Return median, p10 and p90, or None when there is nothing."""
    found = list(values)
    if not found:
        return None
    return Summary(len(found), quantile(found, 0.1), quantile(found, 0.5), quantile(found, 0.9))


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median of non-empty `values`.

    By order statistics, so that no shape of the spread is assumed: how many of n values lie below
    the median is binomial with p = 1/2. With fewer than six values it is their whole range.
    """
    ordered = sorted(values)
    below = 0.0
    for left_out in range(len(ordered) // 2):
        below += comb(len(ordered), left_out) / 2 ** len(ordered)
        if below > OUTSIDE_EACH_SIDE:
            return ordered[max(0, left_out - 1)], ordered[-max(1, left_out)]
    return ordered[0], ordered[-1]


def alternated(
    window: Callable[[str], float], kinds: Sequence[str], rounds: int
) -> dict[str, list[float]]:
    """Return by kind the ratios of its windows to the mean of their two neighbours.

    The neighbours are windows of kind `nothing`, in which nothing is done; each serves two.
    """
    ratios: dict[str, list[float]] = {kind: [] for kind in kinds}
    before = window("nothing")
    for number in range(rounds * len(kinds)):
        kind = kinds[number % len(kinds)]
        found = window(kind)
        after = window("nothing")
        ratios[kind].append(2 * found / (before + after))
        before = after
    return ratios


def kept(rounds: Iterable[Round], candidate: str, wanted: PairClass) -> list[Sample]:
    """Return the samples of a candidate whose two probes both fell in the class."""
    found = (each.get(candidate) for each in rounds)
    return [sample for sample in found if sample is not None and sample.pair_class is wanted]


def absolute(
    rounds: Iterable[Round], candidate: str, key: str, wanted: PairClass
) -> Summary | None:
    """Summarise a candidate's own figures in one class."""
    return summarise(s.values[key] for s in kept(rounds, candidate, wanted) if key in s.values)


def over_anchor(
    rounds: Iterable[Round], candidate: str, key: str, wanted: PairClass
) -> Summary | None:
    """Summarise a candidate's figures over the anchors of their own samples."""
    found = (s for s in kept(rounds, candidate, wanted))
    return summarise(
        s.over_anchor(key)
        for s in found
        if key in s.values or (key == "p99_over_median" and "p99_ns" in s.values)
    )


def over_peer(
    rounds: Iterable[Round], candidate: str, peer: str, key: str, wanted: PairClass
) -> Summary | None:
    """Summarise the ratio of two candidates, formed inside the rounds where both were kept."""
    ratios = []
    for each in rounds:
        ours, theirs = each.get(candidate), each.get(peer)
        if ours is None or theirs is None or key not in ours.values or key not in theirs.values:
            continue
        if ours.pair_class is wanted and theirs.pair_class is wanted:
            ratios.append(ours.values[key] / theirs.values[key])
    return summarise(ratios)
