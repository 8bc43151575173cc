"""The tuning profiles side by side: `python -m tests.bench.tuning_bench`.

Each round runs every profile in random order for a moment, as users run it: a generator hands
messages to a stage in another process. Read from the run's own regions: the hand-over (from the
message's ingress time until the stage was done with it) and the gaps of the stage's loop. The
table has the median of the rounds, with the 10th and 90th percentile of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from byteord.deployment.profiles import PROFILES
from byteord.regions.reader import RunReader
from byteord.tuning.monitor import read_report
from tests.bench.priority import step_forward
from tests.support.poll import until
from tests.support.run import make_test_plan, running, spec_text

SPEC = spec_text('[[stages]]\nname = "s"\nstage = "identity"\n', ring="slot_bytes = 64")
STAGE_ROLE = 1
WARM_UP_MESSAGES = 2000
RATE = 20_000
BOUNDS_NS = sorted({int(10 * 1.02**step) for step in range(1000)})
"""Finer than the histogram's own buckets, from 10 ns to 4 s."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One profile for one moment. Times in nanoseconds."""

    p50: int
    p99: int
    p999: int
    gaps_per_s: float
    stolen: float
    """Share of the time."""
    gap_max: int
    """Upper bound of the longest gap's bucket."""
    short: tuple[str, ...] = ()
    """Knobs that the host did not honour."""


def measure(profile: str, seconds: float) -> Sample:
    """Run a profile on fresh regions and read it for so long."""
    deployment = (
        f'[adapters.in]\nkind = "generator"\nsize = 48\nrate = {RATE}\n'
        f'[adapters.out]\nkind = "discard"\n[tuning]\nprofile = "{profile}"\nfuse = "never"\n'
    )
    with running(make_test_plan(SPEC, deployment)) as run:
        run.until_state("running")
        until(lambda: run.role("s")["received"] > WARM_UP_MESSAGES, 20.0, "messages")
        until(lambda: len(read_report(run.directory)) == len(run.reader.plan.workers), 10.0)
        worker = run.role("s")["worker"]
        before = _read(run.reader, worker)
        threading.Event().wait(seconds)  # the stretch that is measured
        after = _read(run.reader, worker)
        report = read_report(run.directory)
        short = {k.knob for knobs in report.values() for k in knobs if k.state != "applied"}
        return _sample(before, after, seconds, tuple(sorted(short)))


Counts = tuple[list[int], int]


def _read(reader: RunReader, worker: int) -> tuple[Counts, Counts]:
    latency, total, _ = reader.histogram(STAGE_ROLE, "latency", BOUNDS_NS)
    gaps, stolen, _ = reader.gap_histogram(worker, BOUNDS_NS)
    return (latency, total), (gaps, stolen)


def _sample(
    before: tuple[Counts, Counts],
    after: tuple[Counts, Counts],
    seconds: float,
    short: tuple[str, ...],
) -> Sample:
    latency = _since(before[0][0], after[0][0])
    gaps = _since(before[1][0], after[1][0])
    return Sample(
        _quantile(latency, 0.5),
        _quantile(latency, 0.99),
        _quantile(latency, 0.999),
        gaps[-1] / seconds,
        (after[1][1] - before[1][1]) / 1e9 / seconds,
        _quantile(gaps, 1.0),
        short,
    )


def _since(before: Sequence[int], after: Sequence[int]) -> list[int]:
    return [new - old for old, new in zip(before, after, strict=True)]


def _quantile(cumulative: Sequence[int], share: float) -> int:
    wanted = cumulative[-1] * share
    pairs = zip(BOUNDS_NS, cumulative, strict=True)
    return next((bound for bound, count in pairs if count >= wanted and count), 0)


def table(samples: dict[str, list[Sample]]) -> str:
    """Return the Markdown table of all rounds."""
    lines = [
        "| profile | hand-over p50 | p99 | p99.9 | gaps a second | time stolen | longest gap |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for profile, taken in samples.items():
        cells = [_spread([getattr(one, key) for one in taken]) for key in ("p50", "p99", "p999")]
        rate = statistics.median(one.gaps_per_s for one in taken)
        stolen = statistics.median(one.stolen for one in taken)
        longest = max(one.gap_max for one in taken)
        cells += [f"{rate:,.0f}", f"{stolen:.2%}", _time(longest)]
        lines.append(f"| `{profile}` | {' | '.join(cells)} |")
    short = {profile: sorted({k for one in taken for k in one.short})
             for profile, taken in samples.items()}  # fmt: skip
    lines += ["", "Not honoured: " + "; ".join(
        f"`{profile}`: {', '.join(knobs) or 'nothing'}" for profile, knobs in short.items()
    )]  # fmt: skip
    return "\n".join(lines)


def _spread(values: list[int]) -> str:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
    return f"{_time(statistics.median(ordered))} ({_time(low)} to {_time(high)})"


def _time(ns: float) -> str:
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def main(argv: list[str]) -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tuning_bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each profile in each round")
    parser.add_argument("--seed", type=int, default=1, help="of the order inside the rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    options = parser.parse_args(argv)
    print(f"{step_forward()}; load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    order = Random(options.seed)
    samples: dict[str, list[Sample]] = {profile: [] for profile in PROFILES}
    for number in range(options.rounds):
        for profile in order.sample(list(PROFILES), len(PROFILES)):
            samples[profile].append(measure(profile, options.seconds))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print(table(samples))
    if options.json:
        rows = {profile: [_row(one) for one in taken] for profile, taken in samples.items()}
        options.json.write_text(json.dumps(rows, indent=1))
    return 0


def _row(sample: Sample) -> dict[str, object]:
    return {key: getattr(sample, key) for key in Sample.__slots__}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
