"""Runs of another daemon, as far as it left them on this host: looked at, never touched.

Owns reading what an absent, dead or wedged daemon keeps: the history in its state directory, and
the regions of runs that it had not put away, live or dead. It starts, stops, follows and removes
nothing, and stands where a manager's own history would.
"""

from __future__ import annotations

import contextlib
import glob
import os

from byteord.capture.files import RunDocuments
from byteord.runs.adoption import found_run
from byteord.runs.history import History
from byteord.runs.leftovers import runs_shim_of
from byteord.runs.live import LiveRun, RunFacts
from byteord.runs.shim_client import read_result
from byteord.runs.view import RunView

_NONE = RunDocuments()


class Observed:
    """What is left of the runs of a daemon."""

    def __init__(self, regions_root: str, state_dir: str) -> None:
        """Look at once; what cannot be read stands in `unreadable`."""
        self._theirs = History(state_dir if os.path.isdir(state_dir) else None, look=True)
        self._ours = History(None)
        self.unreadable = list(self._theirs.unreadable)
        self._runs: dict[str, LiveRun] = {}
        for directory in _directories(regions_root):
            self._observe(directory)

    def _observe(self, directory: str) -> None:
        found = found_run(directory)
        if found.plan is None:
            self.unreadable.append(f"{directory}: {found.problem}")
            return
        facts = RunFacts.load(directory)
        run = LiveRun(found.plan, facts, changed=lambda _: None, exited=lambda _: None)
        lives = facts.shim_pid > 0 and runs_shim_of(facts.shim_pid, directory)
        run.observe(directory, read_result(directory), lives=lives)
        self._runs[run.id] = run

    def views(self) -> list[RunView]:
        """Return all runs, oldest first."""
        left = [run.view() for run in self._runs.values()]
        return [*self._theirs.views(), *left, *self._ours.views()]

    def left(self) -> list[LiveRun]:
        """Return the runs whose regions are still there."""
        return list(self._runs.values())

    def get(self, run_id: str) -> RunView | None:
        """Return a run, or None."""
        run = self._runs.get(run_id)
        if run is not None:
            return run.view()
        return self._theirs.get(run_id) or self._ours.get(run_id)

    def snapshot(self, run_id: str) -> bytes | None:
        """Return the state of a run's regions, or the last that its daemon kept."""
        run = self._runs.get(run_id)
        if run is not None:
            return run.snapshot()
        return self._theirs.snapshot(run_id) or self._ours.snapshot(run_id)

    def documents(self, run_id: str) -> RunDocuments:
        """Return the frozen documents of a run."""
        run = self._runs.get(run_id)
        if run is not None:
            return run.documents
        known = self._theirs if self._theirs.get(run_id) is not None else self._ours
        return known.documents(run_id)

    def add(self, view: RunView, snapshot: bytes, documents: RunDocuments = _NONE) -> None:
        """Keep a run of the daemon that looks."""
        self._ours.add(view, snapshot, documents)


def _directories(regions_root: str) -> list[str]:
    """Return the directories of runs of every user that this one may look into."""
    found: list[str] = []
    for place in sorted(glob.glob(os.path.join(regions_root, "byteor-[0-9]*"))):
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(found)
