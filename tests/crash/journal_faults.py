"""Run inside a mount namespace of its own: a run whose journal lies on a small or read-only tmpfs.

Prints what the run says as JSON. `full DIR`, `makes-room DIR` or `read-only DIR`; DIR is a tmpfs of
nobody else's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from byteord.deployment.plan import RunPlan
from byteord.regions.journals import read
from tests.crash.test_journal_lanes import journal_of, journal_plan
from tests.support.poll import until
from tests.support.run import LiveRun, run_to_end, running

COUNT = 3000


def main(way: str, directory: str) -> None:
    """Run, and print what came of it."""
    where = Path(directory, "j")
    where.mkdir()
    plan = journal_plan(None, journal_of(where), count=COUNT, policy=_POLICY[way])
    sys.stdout.write(json.dumps(_WAYS[way](plan, where)))


def _read_only(plan: RunPlan, where: Path) -> dict[str, Any]:
    subprocess.run(["mount", "-o", "remount,ro", str(where.parent)], check=True, timeout=10)
    return dict(run_to_end(plan)[0])


def _full(plan: RunPlan, where: Path) -> dict[str, Any]:
    """Full while it runs; then room is made and another run goes on behind it."""
    status, seen = run_to_end(plan)
    taken = next(role["received"] for role in seen["roles"] if role["name"] == "write")
    first = len(read(where))
    again = run_to_end(plan)[0]
    _fill(where.parent, leave=0).unlink()
    for path in sorted(where.glob("*.seg"))[:-1]:
        path.unlink()
    kept = read(where)
    third = run_to_end(plan)[0]
    return {
        **status,
        "taken": taken,
        "kept": first,
        "again": again["failure"]["message"],
        "third": third["failure"]["message"],
        "went_on": [number for number, *_ in read(where)][len(kept) :][:1] == [first],
    }


def _makes_room(plan: RunPlan, where: Path) -> dict[str, Any]:
    """Full from the begin of the second segment on, until it is seen to be restarted."""
    filler = _fill(where.parent, leave=80_000)
    with running(plan) as run:
        until(lambda: _restarts(run) > 0, 30, run.log())
        filler.unlink()
        status = run.until_state("completed", "failed", timeout_s=30)
        run.shim.wait(10)
        return {**status, "restarts": _restarts(run), "kept": [n for n, *_ in read(where)]}


def _restarts(run: LiveRun) -> int:
    return max((int(worker["restarts"]) for worker in run.status()["workers"]), default=0)


def _fill(directory: Path, leave: int) -> Path:
    filler = directory / "filler"
    info = os.statvfs(directory)
    filler.write_bytes(bytes(max(info.f_bavail * info.f_frsize - leave, 0)))
    return filler


_POLICY = {"full": "stop_pipeline", "makes-room": "restart", "read-only": "stop_pipeline"}
_WAYS = {"full": _full, "makes-room": _makes_room, "read-only": _read_only}

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
