"""What an earlier daemon left.

Run directories, whether a shim still lives in each, and which cannot be trusted. Only finds and
tells; the manager decides. Blocks; not for the event loop.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from byteord.deployment.plan import RunPlan
from byteord.regions.create import run_directories
from byteord.runs.leftovers import runs_shim_of
from byteord.runs.live import RunFacts

_SHIM_LISTENS_S = 5.0
"""How long a shim that was just started may take to listen."""
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class FoundRun:
    """One run directory; `problem` says why it is left alone."""

    directory: str
    plan: RunPlan | None = None
    problem: str = ""


def find_runs(regions_root: str) -> list[FoundRun]:
    """Return every run directory under the root.

    Waits, within reason, for shims that are just starting.
    """
    found = [found_run(directory) for directory in run_directories(regions_root)]
    deadline = time.monotonic() + _SHIM_LISTENS_S
    for run in found:
        while run.plan is not None and _starting(run.directory) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
    return found


def found_run(directory: str) -> FoundRun:
    """Return the run of a directory, or why it cannot be told."""
    try:
        with open(os.path.join(directory, "plan.json"), encoding="utf-8") as file:
            plan = RunPlan.from_json(file.read())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return FoundRun(
            directory,
            problem=f"plan.json cannot be read: {error!r}; remove the directory once nobody uses "
            "it",
        )
    if plan.run_id != os.path.basename(directory.rstrip("/")):
        return FoundRun(directory, problem=f"plan.json is of the run {plan.run_id!r}")
    return FoundRun(directory, plan)


def _starting(directory: str) -> bool:
    """Tell whether a shim runs there that does not listen yet."""
    pid = RunFacts.load(directory).shim_pid
    if pid <= 0 or os.path.exists(os.path.join(directory, "shim.sock")):
        return False
    return runs_shim_of(pid, directory)
