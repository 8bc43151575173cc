"""`python -m tests.bench`: run the bench and print the table with both sides."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.bench.candidates import Bench, two_cpus
from tests.bench.native import FLAGS, BenchError
from tests.bench.priority import step_forward
from tests.bench.report import as_json, as_text, joined

ROUNDS = 15
SAMPLE_MS = 30.0
QUICK_ROUNDS = 2
QUICK_MS = 5.0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--rounds",
        type=int,
        default=0,
        help=f"rounds to run (default {ROUNDS}; with --quick {QUICK_ROUNDS})",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few short samples: shows that all works, decides nothing",
    )
    parser.add_argument(
        "--only", default="", metavar="NAME[,NAME]", help="candidates whose name contains a NAME"
    )
    parser.add_argument(
        "--ms", type=float, default=0.0, help="length of a sample in milliseconds (10 to 50)"
    )
    parser.add_argument(
        "--sides",
        choices=("process", "thread"),
        default="process",
        help="what the native sides are",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="shapes with more sides than CPUs have one of the two, for all sides, not both",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order inside the rounds")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write everything measured to FILE"
    )
    parser.add_argument(
        "--join",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing: one table of what several runs wrote with --json",
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the bench; return 0, or 1 when it could not run at all."""
    options = _arguments(argv)
    if options.join:
        print(as_text(joined([json.loads(path.read_text()) for path in options.join])))
        return 0
    count = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    ms = options.ms or (QUICK_MS if options.quick else SAMPLE_MS)
    order = Random(options.seed)
    rounds = []
    try:
        cpus = two_cpus()
        with (
            tempfile.TemporaryDirectory(prefix="byteor-bench-") as directory,
            Bench(
                Path(directory),
                cpus,
                wanted=options.only,
                sides=options.sides,
                together=options.together,
            ) as bench,
        ):
            begin = time.monotonic()
            for number in range(count):
                rounds.append(bench.round(ms, order))
                print(
                    f"round {number + 1} of {count}: {time.monotonic() - begin:.1f} s",
                    file=sys.stderr,
                )
            facts = {
                "cpus": list(cpus),
                "flags": " ".join(FLAGS),
                "fifo": bench.fifo,
                "sides": options.sides,
                "rounds_run": count,
                "sample_ms": ms,
                "missing": bench.missing,
                "processes": bench.processes,
            }
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report = as_json(rounds, facts)
    print(as_text(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    print(f"bench: {step_forward()}", file=sys.stderr)
    sys.exit(main(sys.argv[1:]))
