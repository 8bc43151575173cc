"""Run inside a mount namespace of its own: a recorded run whose disk fills, and has room again.

Prints what became of it as JSON. The directory given is a small tmpfs of nobody else's.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

from byteord.regions.captures import Tapes, read_about, read_stream
from tests.support.captured import recorded
from tests.support.poll import until
from tests.support.run import LiveRun, make_test_plan, running, spec_text

SEGMENT = 1 << 17
DEPLOYMENT = """
[adapters.in]
kind = "generator"
size = 1000
rate = 3000
content = "checksummed"
[adapters.out]
kind = "discard"
"""


def main(directory: str, on_full: str) -> None:
    """Let the disk fill, see what the run says and does, make room, drain, count."""
    filler = Path(directory, "filler")
    filler.write_bytes(bytes(62 << 20))
    spec = spec_text('[[stages]]\nname = "s"\nstage = "identity"', ring="slot_bytes = 1024")
    plan = make_test_plan(spec, DEPLOYMENT, directories=[directory])
    keys = {"on_full": on_full, "segment_bytes": SEGMENT, "outputs": "digest"}
    small, large = 1 << 20, 16 << 20  # soon full; never full, so that the disk alone makes gaps
    buffer_bytes = small if on_full == "wait" else large
    plan, kept = recorded(plan, Path(directory, "captures"), buffer_bytes=buffer_bytes, **keys)
    with running(plan) as run:
        until(lambda: _capture(run)["reason"] == "DiskFull", 30, run.log())
        said = _capture(run)["message"]
        if on_full == "wait":
            until(lambda: run.role("in")["state"] == "blocked", 30, run.log())
            held = run.role("in")["received"]
            until(lambda: run.role("in")["heartbeat_age_ns"] < 10**9, 30, run.log())
            assert run.role("in")["received"] == held, "it waits"
        else:
            until(lambda: _stats(run)["lost_disk"] > 0, 30, run.log())
        before = _stats(run)["kept"]
        filler.unlink()
        until(lambda: _stats(run)["kept"] > before, 30, run.log())
        until(lambda: _capture(run)["reason"] != "DiskFull", 30, run.log())
        run.command(op="stop", mode="drain")
        status = run.until_state("stopped", "failed", timeout_s=30)
        run.shim.wait(10)
        entered = run.role("in")["received"]
        last = _capture(run)["reason"]
    positions = [entry[1] for entry in read_stream(kept / "in" / "in")]
    gaps = [b - a - 1 for a, b in itertools.pairwise(positions) if b != a + 1]
    (row,) = read_about(kept)["ingresses"]
    found = {
        "state": status["state"],
        "said": said,
        "last": last,
        "entered": entered,
        "kept": len(positions),
        "first": positions[0],
        "missing": sum(gaps) + entered - 1 - positions[-1],
        "lost": row["lost"],
        "digested": json.loads((kept / "out" / "out.json").read_text())["count"],
    }
    sys.stdout.write(json.dumps(found))


def _capture(run: LiveRun) -> dict[str, Any]:
    rows = [each for each in run.status().get("conditions", ()) if each["type"] == "Capture"]
    return rows[0] if rows else {"reason": "", "message": ""}


def _stats(run: LiveRun) -> dict[str, Any]:
    return Tapes(run.directory, run.reader.plan).stats()[0]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
