"""The table with both sides, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.method import (
    HEADLINE,
    PairClass,
    Probe,
    Round,
    Sample,
    Summary,
    absolute,
    kept,
    over_anchor,
    over_peer,
    pair_class,
    summarise,
)
from tests.bench.targets import TARGETS, Target

CLASS_ORDER = (HEADLINE, PairClass.FAR, PairClass.NEAR)
ANCHORED = {"A_lat": "p50_ns", "A_lat p99": "p99_ns", "A_str": "rate"}


def headline_class(rounds: Sequence[Round]) -> PairClass:
    """Return the middle class, or, when no sample was kept in it, the one with the most."""
    counts = {
        each: sum(len(kept(rounds, name, each)) for name in _names(rounds)) for each in PairClass
    }
    return HEADLINE if counts[HEADLINE] else max(counts, key=lambda each: counts[each])


def in_unit(
    rounds: Sequence[Round], target: Target, candidate: str, wanted: PairClass
) -> Summary | None:
    """Return a candidate's figure in the unit of a target."""
    if target.base in ANCHORED:
        return over_anchor(rounds, candidate, target.key, wanted)
    if target.base == "ns":
        return absolute(rounds, candidate, target.key, wanted)
    return over_peer(rounds, candidate, target.base, target.key, wanted)


def judge(rounds: Sequence[Round], target: Target, wanted: PairClass) -> dict[str, Any]:
    """Return one row: what was wanted, what ours and the peers did, the verdict on ours."""
    ours = {name: _plain(in_unit(rounds, target, name, wanted)) for name in target.ours}
    peers = {name: _plain(in_unit(rounds, target, name, wanted)) for name in target.peers}
    found = [(name, value) for name, value in ours.items() if value is not None]
    row: dict[str, Any] = {
        "shape": target.shape,
        "unit": target.base,
        "reach": target.reach,
        "dream": target.dream,
        "smaller_is_better": target.smaller_is_better,
        "ours": ours,
        "peers": peers,
        "verdict": "not measured",
        "verdict_of": None,
        "best_peer": None,
        "over_best_peer": None,
        "wanted_over_peer": target.wanted_over_peer,
    }
    if found:
        row["verdict_of"] = found[0][0]
        row["verdict"] = "reached" if target.met(found[0][1]["p50"]) else "missed"
    best = _best(peers, smaller=target.smaller_is_better)
    row["best_peer"] = best
    if best and found:
        row["over_best_peer"] = _plain(over_peer(rounds, found[0][0], best, target.key, wanted))
    return row


def as_json(rounds: Sequence[Round], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that was measured, sample by sample, with the summaries."""
    wanted = headline_class(rounds)
    return {
        **facts,
        "headline_class": wanted.value,
        "targets": [judge(rounds, target, wanted) for target in TARGETS],
        "classes": {each.value: _class_summary(rounds, each) for each in PairClass},
        "rounds": [
            {name: _sample_json(sample) for name, sample in each.items()} for each in rounds
        ],
    }


def joined(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one report of several pieces; ratios are still formed inside the rounds of each."""
    first = reports[0]
    facts = {key: first[key] for key in ("cpus", "flags", "fifo")}
    facts["rounds_run"] = " + ".join(str(each["rounds_run"]) for each in reports)
    for key in ("missing", "processes"):
        facts[key] = {name: why for each in reports for name, why in each.get(key, {}).items()}
    rounds = [
        {name: _sample_of(name, row) for name, row in each.items()}
        for report in reports
        for each in report["rounds"]
    ]
    return as_json(rounds, facts)


def _sample_of(name: str, row: Mapping[str, Any]) -> Sample:
    """Return a sample as good as the one that was written: kept ones keep class and anchors."""
    values = dict(row)
    kept_in = values.pop("class")
    median, p99, lines = (values.pop(key) for key in ("a_lat_ns", "a_lat_p99_ns", "a_str"))
    probe = Probe(2 * median, 2 * p99, lines)
    apart = Probe(0.0 if pair_class(2 * median) is not PairClass.NEAR else 1e6, 2 * p99, lines)
    return Sample(name, probe, probe if kept_in else apart, values)


def as_text(report: Mapping[str, Any]) -> str:
    """Return the report for people: conditions, targets, then every candidate in each class."""
    lines = [
        f"{key}: {report[key]}" for key in ("cpus", "flags", "fifo", "rounds_run", "headline_class")
    ]
    lines += [f"not measured: {name}: {why}" for name, why in report.get("missing", {}).items()]
    lines += ["", "Targets (medians [p10 p90] of ratios formed inside each sample or round)"]
    for row in report["targets"]:
        lines += _target_lines(row)
    for each in CLASS_ORDER:
        rows = report["classes"][each.value]
        if rows:
            lines += ["", f"Class {each.value}: candidate, kept, own figure, over its anchor"]
            notes = report.get("processes", {})
            lines += [
                _candidate_line(name, row) + (f"  ({notes[name]})" if name in notes else "")
                for name, row in sorted(rows.items())
            ]
    return "\n".join(lines)


def _names(rounds: Sequence[Round]) -> list[str]:
    return list(dict.fromkeys(name for each in rounds for name in each))


def _best(peers: Mapping[str, Any], *, smaller: bool) -> str | None:
    found = {name: value["p50"] for name, value in peers.items() if value is not None}
    if not found:
        return None
    return (
        min(found, key=lambda name: found[name])
        if smaller
        else max(found, key=lambda name: found[name])
    )


def _plain(summary: Summary | None) -> dict[str, float] | None:
    if summary is None:
        return None
    return {"count": summary.count, "p10": summary.p10, "p50": summary.p50, "p90": summary.p90}


def _sample_json(sample: Sample) -> dict[str, Any]:
    wanted = sample.pair_class
    return {
        "class": wanted.value if wanted else None,
        "a_lat_ns": sample.a_lat_ns,
        "a_lat_p99_ns": sample.a_lat_p99_ns,
        "a_str": sample.a_str,
        **sample.values,
    }


def _class_summary(rounds: Sequence[Round], wanted: PairClass) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in _names(rounds):
        samples = kept(rounds, name, wanted)
        if not samples:
            continue
        keys = sorted(set().union(*(sample.values for sample in samples)))
        rows[name] = {
            "kept": len(samples),
            "values": {key: _plain(absolute(rounds, name, key, wanted)) for key in keys},
            "over_anchor": {
                key: _plain(over_anchor(rounds, name, key, wanted))
                for key in keys
                if key in ("rate", "p50_ns", "p99_ns")
            },
        }
    every = [sample for each in rounds for sample in each.values() if sample.pair_class is wanted]
    if every:
        figures = {
            "a_lat_ns": [s.a_lat_ns for s in every],
            "a_lat_p99_ns": [s.a_lat_p99_ns for s in every],
            "a_str": [s.a_str for s in every],
        }
        rows["anchor"] = {
            "kept": len(every),
            "values": {key: _plain(summarise(found)) for key, found in figures.items()},
            "over_anchor": {},
        }
    return rows


def _figure(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    return f"{value / 1e3:.1f}k" if value >= 1e4 else f"{value:.3g}"


def _spread(summary: Mapping[str, float] | None) -> str:
    if summary is None:
        return "-"
    return f"{_figure(summary['p50'])} [{_figure(summary['p10'])} {_figure(summary['p90'])}]"


def _target_lines(row: Mapping[str, Any]) -> list[str]:
    sign = "<=" if row["smaller_is_better"] else ">="
    want = f"want {sign} {row['reach']:g} {row['unit']} (dream {row['dream']:g})"
    of = f" by {row['verdict_of']}" if row["verdict_of"] else ""
    lines = [f"  {row['shape']}: {want}: {row['verdict'].upper()}{of}"]
    lines += [
        f"      ours  {name:28} {_spread(value)}" for name, value in row["ours"].items() if value
    ]
    lines += [
        f"      peer  {name:28} {_spread(value)}" for name, value in row["peers"].items() if value
    ]
    if row["over_best_peer"]:
        wanted = f", wanted {row['wanted_over_peer']:.2f}" if row["wanted_over_peer"] else ""
        lines.append(
            f"      over {row['best_peer']} in the same rounds: "
            f"{_spread(row['over_best_peer'])}{wanted}"
        )
    return lines


def _candidate_line(name: str, row: Mapping[str, Any]) -> str:
    own = "  ".join(f"{key} {_spread(value)}" for key, value in row["values"].items())
    over = "  ".join(f"{key} x {_spread(value)}" for key, value in row["over_anchor"].items())
    return f"  {name:28} {row['kept']:4}  {own}  |  {over}"
