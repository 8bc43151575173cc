"""The shim's watch over the tuning of its workers: looks every few seconds, keeps since when.

Writes the report of all workers into the run directory, where the daemon, its exporter and the
next daemon read it. Must not disturb the workers: it reads `/proc`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from byteord.deployment.plan import RunPlan
from byteord.tuning.knobs import APPLIED, REPORT_FILE, Knob, from_json, to_json
from byteord.tuning.readback import Asked, Reader
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import HERE

LOOK_S = 2.0
_SHOWN_MAX = 4
_REPORT_BYTES_MAX = 8 << 20

Report = dict[int, tuple[Knob, ...]]
"""Knobs by worker."""


class Monitor:
    """Knobs of all workers of a run."""

    def __init__(self, directory: str, plan: RunPlan, *, root: HostRoot = HERE) -> None:
        """Know no worker yet."""
        self.directory = directory
        self.plan = plan
        self.root = root
        self.report: Report = {}
        self._asked: dict[int, Asked] = {}
        self._next = 0.0

    def heard(self, worker: int, said: Mapping[str, Any]) -> None:
        """Take what a worker said of itself when it had asked for everything."""
        plan = self.plan.workers[worker]
        self._asked[worker] = Asked(
            self.plan.tuning,
            plan.cpus,
            len(plan.threads),
            refused=_texts(said.get("refused")),
            seen=_texts(said.get("seen")),
        )
        self._next = 0.0

    def look(self, pids: Mapping[int, int], *, now: bool = False) -> bool:
        """Read the knobs back if it is time; tell whether anything changed.

        `pids` are the processes of the workers that live. The report keeps what it said last of the
        others.
        """
        if not now and time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + LOOK_S
        before = dict(self.report)
        for worker, asked in self._asked.items():
            if pids.get(worker):
                knobs = Reader(pids[worker], asked, self.root).read()
                self.report[worker] = tuple(self._dated(worker, knob) for knob in knobs)
        if self.report == before:
            return False
        write_report(self.directory, self.report)
        return True

    def _dated(self, worker: int, knob: Knob) -> Knob:
        for old in self.report.get(worker, ()):
            same = (old.knob, old.state, old.applied) == (knob.knob, knob.state, knob.applied)
            if same:
                return replace(knob, since_unix_ns=old.since_unix_ns)
        return replace(knob, since_unix_ns=time.time_ns())

    @property
    def complete(self) -> bool:
        """Tell whether every worker has been read back."""
        return len(self.report) == len(self.plan.workers)

    def shortfalls(self) -> list[str]:
        """Return one sentence for each knob that is not applied."""
        names = {worker.index: worker.name for worker in self.plan.workers}
        return [
            f"{knob.knob} of {names[worker]}: {knob.applied} instead of {knob.requested or '?'} "
            f"({knob.reason})"
            for worker, knobs in sorted(self.report.items())
            for knob in knobs
            if knob.state != APPLIED
        ]

    def summary(self) -> tuple[str, str, str]:
        """Return status, reason and message of the condition `Tuned`."""
        short = self.shortfalls()
        if not short:
            asked = f"profile {self.plan.tuning.profile}: every knob reads back as requested"
            return "true", "AllApplied", asked
        more = f"; and {len(short) - _SHOWN_MAX} more" if len(short) > _SHOWN_MAX else ""
        return "false", "Degraded", "; ".join(short[:_SHOWN_MAX]) + more


def write_report(directory: str, report: Report) -> None:
    """Write the report as a whole or not at all; a full filesystem leaves the old one."""
    path = os.path.join(directory, REPORT_FILE)
    rows = {str(worker): [to_json(knob) for knob in knobs] for worker, knobs in report.items()}
    try:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump({"workers": rows}, file)
        os.replace(f"{path}.new", path)
    except OSError:
        return


def read_report(directory: str) -> Report:
    """Return the report in a run directory; nothing when there is none, or none that is whole."""
    try:
        with open(os.path.join(directory, REPORT_FILE), "rb") as file:
            rows = json.loads(file.read(_REPORT_BYTES_MAX))["workers"]
        return {
            int(worker): tuple(from_json(knob) for knob in knobs) for worker, knobs in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _texts(raw: object) -> dict[str, str]:
    if not isinstance(raw, dict):
        return {}
    return {str(key): str(value) for key, value in raw.items()}
