"""The rules of measuring, on made-up samples."""

from __future__ import annotations

import pytest

from tests.bench.method import (
    HEADLINE,
    PairClass,
    Probe,
    Sample,
    alternated,
    kept,
    median_interval,
    over_anchor,
    over_peer,
    pair_class,
    quantile,
    summarise,
)
from tests.bench.report import as_json, as_text, joined, judge
from tests.bench.targets import TARGETS, Target


def sample(name: str, before_ns: float, after_ns: float, **values: float) -> Sample:
    """Return a sample with these round trips, p99 twice the median, and a line per 10 ns."""
    probes = [Probe(ns, 2 * ns, 1e8) for ns in (before_ns, after_ns)]
    return Sample(name, probes[0], probes[1], values)


@pytest.mark.parametrize(
    ("round_trip_ns", "expected"),
    [
        (79.9, PairClass.NEAR),
        (80.0, PairClass.MIDDLE),
        (200.0, PairClass.MIDDLE),
        (200.1, PairClass.FAR),
    ],
)
def test_classes_split_at_80_and_200_ns(round_trip_ns: float, expected: PairClass) -> None:
    """A round trip falls in exactly one of the three classes."""
    assert pair_class(round_trip_ns) is expected


def test_a_sample_between_two_classes_is_thrown_away() -> None:
    """A sample whose probes disagree is in no class and in no figure."""
    rounds = [{"x": sample("x", 120, 300, rate=1.0)}, {"x": sample("x", 120, 130, rate=2.0)}]
    assert [each.values["rate"] for each in kept(rounds, "x", HEADLINE)] == [2.0]
    assert kept(rounds, "x", PairClass.FAR) == []


def test_each_figure_is_over_the_anchor_of_its_kind() -> None:
    """Rates go over A_str, medians over half the round trip, tails over the bare line's tail."""
    rounds = [{"x": sample("x", 100, 100, rate=5e7, p50_ns=75.0, p99_ns=150.0)}]
    found = {key: over_anchor(rounds, "x", key, HEADLINE) for key in ("rate", "p50_ns", "p99_ns")}
    assert {key: value.p50 for key, value in found.items() if value} == {
        "rate": 0.5,
        "p50_ns": 1.5,
        "p99_ns": 1.5,
    }


def test_ratios_are_formed_inside_a_round() -> None:
    """Two candidates are divided round by round; a round without one of them does not count."""
    rounds = [
        {"a": sample("a", 100, 100, rate=2.0), "b": sample("b", 100, 100, rate=1.0)},
        {"a": sample("a", 100, 100, rate=90.0), "b": sample("b", 100, 100, rate=30.0)},
        {"a": sample("a", 100, 100, rate=7.0), "b": sample("b", 100, 300, rate=1.0)},
    ]
    ratio = over_peer(rounds, "a", "b", "rate", HEADLINE)
    assert ratio is not None
    assert (ratio.count, ratio.p50) == (2, 2.5)


def test_the_interval_of_a_median_leaves_out_what_chance_would() -> None:
    """Of 30 values the 10th to the 21st hold the median 19 times of 20; of 5 only all of them."""
    assert median_interval(list(range(1, 31))) == (10, 21)
    assert median_interval([3.0, 1.0, 2.0, 5.0, 4.0]) == (1.0, 5.0)
    assert median_interval([7.0]) == (7.0, 7.0)


def test_windows_alternate_and_each_is_held_against_its_neighbours() -> None:
    """A drift of the machine is taken out; a window without anything serves two."""
    asked: list[str] = []

    def window(kind: str) -> float:
        asked.append(kind)
        return len(asked) * (0.5 if kind == "half" else 1.0)

    found = alternated(window, ("half", "same"), 2)
    assert asked == ["nothing", "half", "nothing", "same"] * 2 + ["nothing"]
    assert found == {"half": [0.5, 0.5], "same": [1.0, 1.0]}


def test_quantiles_are_interpolated() -> None:
    """The median of an even number of values lies between two of them; nothing gives nothing."""
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert summarise([]) is None


@pytest.mark.parametrize(("value", "verdict"), [(1.5, "reached"), (1.6, "missed")])
def test_a_missed_target_is_said_to_be_missed(value: float, verdict: str) -> None:
    """The verdict follows the first of ours that was measured, in the direction of the target."""
    target = Target("s", ("none", "x"), "p50_ns", "A_lat", 1.55, 1.45, smaller_is_better=True)
    rounds = [{"x": sample("x", 100, 100, p50_ns=50 * value, p99_ns=1.0)}]
    assert judge(rounds, target, HEADLINE)["verdict"] == verdict


def test_the_report_shows_every_target_with_both_sides() -> None:
    """Each target is a row of the table, with what was reached beside what was wanted."""
    rounds = [
        {name: sample(name, 100, 100, rate=3e7, p50_ns=90.0, p99_ns=300.0)}
        for name in ("byteor.single.256k",)
    ]
    facts = {
        "cpus": [0, 1],
        "flags": "-O3",
        "fifo": True,
        "rounds_run": 1,
        "missing": {"disruptor": "no javac"},
    }
    text = as_text(as_json(rounds, facts))
    assert all(target.shape in text for target in TARGETS)
    assert "want >= 0.6 A_str (dream 0.72): MISSED by byteor.single.256k" in text
    assert "not measured: disruptor: no javac" in text


def test_pieces_join_to_one_table_without_new_ratios() -> None:
    """What two runs wrote gives the same figures in one table; what was thrown away stays away."""
    pieces = [
        [
            {
                "a": sample("a", 100, 120, rate=2.0, p50_ns=110.0),
                "b": sample("b", 100, 100, rate=1.0),
            }
        ],
        [{"a": sample("a", 100, 300, rate=9.0)}, {"c": sample("c", 100, 100, rate=3.0)}],
    ]
    facts = {"cpus": [0, 1], "flags": "-O3", "fifo": True, "rounds_run": 1}
    whole = joined([as_json(piece, facts) for piece in pieces])
    rows = whole["classes"][HEADLINE.value]
    assert {name: row["kept"] for name, row in rows.items()} == {
        "a": 1,
        "b": 1,
        "c": 1,
        "anchor": 3,
    }
    assert rows["a"]["over_anchor"]["p50_ns"]["p50"] == 2.0
    assert rows["c"]["values"]["rate"]["p50"] == 3.0
