"""Where a bundle's further files come from: doctor, metrics, the audit log, the process.

Owns what of a doctor's report may leave, and the last metrics of runs that failed. It must not know
messages of the API.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from byteor.trust.audit_log import HEAD, RECORD_BYTES_MAX
from byteor.trust.strict import dumps
from byteord.capture.files import ProcessFacts, to_json
from byteord.deployment.config import Paths
from byteord.doctor.model import Report, Result
from byteord.doctor.record import may_leave, shown_text
from byteord.doctor.registry import CHECKS
from byteord.policy.governor import Governor
from byteord.rpc.bundles import Extra, Subject, read_process
from byteord.rpc.doctor import Doctor
from byteord.runs.events import Kept
from byteord.runs.live import LiveRun
from byteord.runs.state import RunState
from byteord.runs.view import RunView

KEPT_RUNS_MAX = 32
_PLAIN = re.compile(r"[0-9A-Za-z .,%:+-]{1,60}\Z")
"""What a check saw that named no file: figures and words, no path."""
WANTED = {check.code: check.wanted for check in CHECKS}
"""As the catalogue words it; a check's own answer may name what it saw."""
_FREE_GROUPS = frozenset("KCPTMISV")
"""Groups of checks whose words come from the kernel's figures, when they name no file."""


class BundleSources:
    """The sources of one daemon's bundles."""

    def __init__(
        self,
        governor: Governor,
        *,
        metrics: Callable[[], str],
        ended: Callable[[LiveRun, RunState], str],
        doctor: Callable[[], Doctor],
        kept: Kept | None,
        look: Paths | None,
    ) -> None:
        """Read nothing yet. `look`: the places of another daemon, whose runs are shown.

        `metrics`, `ended`: the metrics of all runs now, and of one that has ended. `kept`: where
        last metrics of runs outlive the daemon, and those of `look` are found.
        """
        self._governor = governor
        self._metrics = metrics
        self._ended = ended
        self._doctor = doctor
        self._look = look
        self._kept = kept
        self._lock = threading.Lock()
        self._last: OrderedDict[str, bytes] = OrderedDict()

    def extras(self) -> dict[str, Extra]:
        """Return what makes each further file."""
        return {
            "metrics.prom": lambda subject: {"metrics.prom": self._metrics_of(subject.view.id)},
            "audit_checkpoint.json": lambda _: {"audit_checkpoint.json": self._checkpoint()},
            "doctor.json": self._look_at_host,
        }

    def ending(self, run: LiveRun, state: RunState) -> None:
        """Keep the metrics of a run that ended like that; its regions are about to go."""
        lines = _lines(self._ended(run, state), run.id)
        with self._lock:
            self._last[run.id] = lines
            while len(self._last) > KEPT_RUNS_MAX:
                self._last.popitem(last=False)
        if self._kept is not None and lines:
            self._kept.write_metrics(run.id, lines)

    def process(self, view: RunView) -> ProcessFacts | None:
        """Return the daemon's process; of another's run its shim, None when that is gone."""
        if self._look is None:
            return read_process()
        with contextlib.suppress(OSError):
            return read_process(view.shim_pid) if view.shim_pid else None
        return None

    def _metrics_of(self, run_id: str) -> bytes:
        before = self._kept.metrics(run_id) if self._kept is not None else b""
        return self._lines_of(run_id) or self._last.get(run_id) or before

    def _lines_of(self, run_id: str) -> bytes:
        """Return the metrics that name a run, as a scrape would show them now."""
        return _lines(self._metrics(), run_id)

    def _checkpoint(self) -> bytes:
        """Return a checkpoint of the audit log that covers everything until now, as JSON."""
        if self._look is not None:
            path = os.path.join(self._look.state, "audit", HEAD)
            with contextlib.suppress(OSError), open(path, "rb") as file:
                return file.read(RECORD_BYTES_MAX)
            return b""
        made = self._governor.audit.checkpoint({}) or self._governor.audit.last_checkpoint()
        return dumps(made) + b"\n" if made else b""

    def _look_at_host(self, subject: Subject) -> Mapping[str, bytes]:
        profile = str(subject.deployment.get("tuning.profile", "default"))
        report, facts = self._doctor().captured(profile)
        return {"doctor.json": doctor_json(report), "host_facts.json": facts}


def _lines(metrics: str, run_id: str) -> bytes:
    mark = f'run="{run_id}"'
    return "".join(f"{row}\n" for row in metrics.splitlines() if mark in row).encode()


def doctor_json(report: Report) -> bytes:
    """Return a report as it may leave: what a check saw only where that is a figure or a switch."""
    return to_json(
        {
            "profile": report.profile,
            "cpus": list(report.cpus),
            "counts": report.counts(),
            "host": {key: report.host.get(key, "") for key in ("kernel", "machine", "cpu")},
            "checks": [_check(each) for each in report.checks],
        }
    )


def _check(result: Result) -> dict[str, Any]:
    named = bool(result.evidence) and all(may_leave(each.path) for each in result.evidence)
    plain = not result.evidence and bool(_PLAIN.match(result.observed))
    open_words = named or (plain and result.group in _FREE_GROUPS)
    said: dict[str, Any] = {
        "code": result.code,
        "title": result.title,
        "group": result.group,
        "state": str(result.state),
        "wanted": result.wanted if named else WANTED.get(result.code, ""),
        "fix": result.fix,
    }
    if open_words:
        boot = any(each.path == "/proc/cmdline" for each in result.evidence)
        said["observed"] = shown_text("/proc/cmdline", result.observed) if boot else result.observed
        said["reason"] = result.reason if named and not boot else ""
        said["evidence"] = [
            {"path": each.path, "value": shown_text(each.path, each.value)}
            for each in result.evidence
        ]
    return said
