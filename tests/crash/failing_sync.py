"""Runs a journal whose syncs fail from the third on, as after a lost disk.

Prints, as JSON, what the run says and what was synced. `failing_sync DIR POLICY`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from byteord.regions.journals import read
from tests.crash.test_journal_lanes import journal_of, journal_plan
from tests.support.failing_syncs import fail_syncs
from tests.support.run import run_to_end

GOOD_SYNCS = 3


def main(directory: str, policy: str) -> None:
    """Run until it fails."""
    answered = fail_syncs(good=GOOD_SYNCS)
    where = Path(directory, "j")
    where.mkdir()
    plan = journal_plan(None, journal_of(where, sync="every_batch"), count=30_000, policy=policy)
    status, seen = run_to_end(plan)
    taken = next(role["received"] for role in seen["roles"] if role["name"] == "write")
    kept = [number for number, *_ in read(where)]
    said = {**status, "taken": taken, "kept": kept, "syncs": answered}
    sys.stdout.write(json.dumps(said))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
