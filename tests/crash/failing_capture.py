"""Runs a recorded run whose syncs fail after some good ones.

Prints, as JSON, what the run and its capture say, and what was synced.
`failing_capture DIR SYNC ON_FULL GOOD`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from byteord.regions.captures import read_about, read_stream
from tests.support.captured import recorded
from tests.support.failing_syncs import fail_syncs
from tests.support.run import make_test_plan, run_to_end, spec_text

DEPLOYMENT = """
[adapters.in]
kind = "generator"
size = 48
count = 30_000
[adapters.out]
kind = "discard"
"""


def main(directory: str, sync: str, on_full: str, good: int) -> None:
    """Run until it ends."""
    answered = fail_syncs(good=good)
    spec = spec_text('[[stages]]\nname = "s"\nstage = "identity"')
    plan = make_test_plan(spec, DEPLOYMENT, directories=[directory])
    keys = {"sync": sync, "on_full": on_full, "sync_interval_ms": 1, "outputs": "digest"}
    plan, kept = recorded(plan, Path(directory, "captures"), **keys)
    status, _ = run_to_end(plan)
    about = read_about(kept)
    said = {
        "state": status["state"],
        "failure": status["failure"],
        "capture": next(row for row in status["conditions"] if row["type"] == "Capture"),
        "problem": about["problem"],
        "row": about["ingresses"][0],
        "kept": [entry[1] for entry in read_stream(kept / "in" / "in")],
        "syncs": answered,
    }
    sys.stdout.write(json.dumps(said))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
