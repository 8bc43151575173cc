"""Recorded runs of tests: plans with a capture, its recorder's process, its choices applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from byteord.capture.files import RunDocuments
from byteord.deployment.capture import Capture
from byteord.deployment.plan import RunPlan
from byteord.regions.captures import Choices, read_choices, read_stream
from byteord.runs.captures import begin_capture, with_capture
from tests.support.run import LiveRun


def recorded(plan: RunPlan, directory: Path, **keys: Any) -> tuple[RunPlan, Path]:
    """Return a plan whose run is recorded beneath `directory`, and where."""
    keys = {"outputs": "messages", "directory": str(directory), **keys}
    plan = with_capture(plan, Capture(**keys))
    begin_capture(plan, RunDocuments(b"spec", b"deployment"), {})
    return plan, directory / plan.run_id


def recorder_pid(run: LiveRun) -> int:
    """Return the process that records a run; 0: it does not live."""
    children = Path(f"/proc/{run.shim.pid}/task/{run.shim.pid}/children").read_text().split()
    for pid in children:
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == "byteor-record":
                return int(pid)
        except OSError:
            continue
    return 0


def payloads(kept: Path, stream: str, name: str) -> list[bytes]:
    """Return what was kept of a stream, whole and without a gap."""
    found = list(read_stream(kept / stream / name))
    assert [entry[0] for entry in found] == list(range(len(found)))
    assert [entry[1] for entry in found] == list(range(len(found)))
    return [entry[4] for entry in found]


def choices(kept: Path, name: str) -> list[Choices]:
    """Return the choices of a role, without a gap."""
    found = list(read_choices(kept / "choices" / name))
    expected = 0
    for each in found:
        assert each.first == expected, (each, expected)
        expected += each.messages
    return found


def made(kept: Path, name: str, *kinds: str) -> Iterator[tuple[str, int]]:
    """Yield (kind, source) once for each message that a role chose for, of some kinds only."""
    for each in choices(kept, name):
        for kind, source, count in each.made:
            if kind in kinds:
                for _ in range(count):
                    yield kind, source
