"""The shim's side of recording: keeps the recorder alive, lets it end last, writes how it went.

Owns the recorder's process. A run goes on without its recorder; where the deployment says `wait` it
waits for the next one.
"""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from byteord._cext.control import Control
from byteord.deployment.plan import RunPlan, WorkerPlan
from byteord.errors import RegionError
from byteord.regions.captures import ABOUT, Tapes, read_about, run_directory, write_json
from byteord.shim import processes
from byteord.shim.processes import Process
from byteord.worker.recorder import EXIT_OK, run_recorder

_RESTARTS_MAX, _WINDOW_S, _BACKOFF_MS = 20, 60, 50
_LOOK_S = 0.25
_KEPT = ("seen", "kept", "lost", "lost_disk", "gaps", "bytes")

Condition = Callable[[str, str, str, str], None]
"""Sets a condition of the run: type, status, reason, message."""


class Recording:
    """The recorder of one run, or none."""

    def __init__(
        self,
        directory: str,
        plan: RunPlan,
        selector: selectors.BaseSelector,
        *,
        control_fd: int,
        ring_fds: list[int],
        condition: Condition,
        control: Control,
    ) -> None:
        """Start nothing yet."""
        self.plan, self._directory, self._selector = plan, directory, selector
        self._control_fd, self._ring_fds, self._condition = control_fd, ring_fds, condition
        self._control = control
        self._tapes: Tapes | None = None
        self._deadline = 0.0
        self._process = Process(WorkerPlan(len(plan.workers), "recorder", ()))
        self._pipe: tuple[int, int] | None = os.pipe() if plan.capture else None
        self._said: tuple[str, str] = ("", "")
        self._looked = 0.0
        self._given_up = ""

    @property
    def over(self) -> bool:
        """Tell whether nothing is recorded, or all of it is."""
        ended = not self._process.alive and not self._process.restart_at
        return self.plan.capture is None or (ended and (bool(self._given_up) or self._pipe is None))

    def start(self) -> None:
        """Fork the recorder."""
        if self._pipe is None:
            return
        body = partial(
            run_recorder,
            self.plan,
            control_fd=self._control_fd,
            ring_fds=self._ring_fds,
            finish_fd=self._pipe[0],
        )
        keep = frozenset({self._control_fd, self._pipe[0], *self._ring_fds})
        processes.start(self._process, body, keep)
        self._selector.register(self._process.pidfd, selectors.EVENT_READ, self._ended)

    def _ended(self) -> None:
        self._selector.unregister(self._process.pidfd)
        processes.reap(self._process)
        if self._process.exit_code == EXIT_OK:
            self._say()  # its last sync may have failed
            self._end_unsynced()
            return
        again = processes.note_restart(
            self._process, most=_RESTARTS_MAX, window_s=_WINDOW_S, backoff_ms=_BACKOFF_MS
        )
        if not again:
            self._given_up = f"the recorder ended with {self._process.exit_text} again and again"

    def tick(self) -> None:
        """Start again what died; say now and then how it goes."""
        now = time.monotonic()
        if self._process.restart_at and self._process.restart_at <= now:
            self._restart()
        if self._deadline and now > self._deadline and not self.over:
            self._abandon()
        if self.plan.capture is not None and now - self._looked >= _LOOK_S:
            self._looked = now
            self._say()
            self._end_unsynced()

    def _restart(self) -> None:
        if self._pipe is None:  # it died while it finished: the next one finds the end at once
            read, write = os.pipe()
            os.close(write)
            self._pipe = (read, -1)
            self.start()
            self._pipe = None
            os.close(read)
            return
        self.start()

    def finish(self, timeout_s: float) -> None:
        """No worker lives any more: let the recorder deal with what is left, and end."""
        if self._pipe is not None:
            self._deadline = time.monotonic() + timeout_s
            read, write = self._pipe
            self._pipe = None
            if write >= 0:
                os.close(write)
            os.close(read)

    def _abandon(self) -> None:
        self._deadline = self._process.restart_at = 0.0
        self._given_up = self._given_up or "the recorder did not get done in time and was ended"
        processes.kill(self._process)

    def _stats(self) -> list[dict[str, Any]]:
        try:
            if self._tapes is None:  # once: they are large, and mapping one fills in its pages
                self._tapes = Tapes(self._directory, self.plan)
            return self._tapes.stats()
        except RegionError:
            return []

    def _unsynced(self) -> dict[str, Any] | None:
        """Return the first stream of which a write or a sync failed."""
        return next((each for each in self._stats() if each["state"] == "unsynced"), None)

    def _end_unsynced(self) -> None:
        """Where the run waits rather than be recorded with gaps, it ends with its recording."""
        capture, failed = self.plan.capture, self._unsynced()
        if failed is None or capture is None or capture.on_full != "wait":
            return
        if self._control.run()["failed_role"] is None:
            self._control.fail(failed["role"], "CAPTURE_FAILED", None, b"", _unsynced_text(failed))

    def _say(self) -> None:
        said = self._judge()
        if said[:2] != self._said:
            self._said = said[:2]
            self._condition("Capture", *said)

    def _judge(self) -> tuple[str, str, str]:
        stats = self._stats()
        capture = self.plan.capture
        where = capture.directory if capture else ""
        if self._given_up:
            return "false", "RecorderFailed", f"{self._given_up}; see shim.log"
        if self._process.restart_at or self._process.exit_code not in (None, EXIT_OK):
            return "false", "RecorderRestarting", f"it ended with {self._process.exit_text}"
        if failed := self._unsynced():
            return "false", "SyncFailed", _unsynced_text(failed)
        if any(each["state"] == "disk_full" for each in stats):
            waits = capture is not None and capture.on_full == "wait"
            rest = "the run waits" if waits else "what comes is lost to the capture, and counted"
            return "false", "DiskFull", f"{where} has no room for the next segment: {rest}"
        lost = sum(each["lost"] for each in stats)
        if lost:
            gaps = sum(each["gaps"] for each in stats)
            return "true", "WithGaps", f"{lost} messages in {gaps} gaps are not in the capture"
        return "true", "Recording", f"into {where}/{self.plan.run_id}"

    def _row(self, stats: dict[str, Any]) -> dict[str, Any]:
        """Return the figures of one stream, with what never got to the recorder."""
        row = {key: stats[key] for key in _KEPT}
        never = int(self._control.role(stats["role"])["received"]) - stats["seen"]
        if never > 0 and stats["counted"]:
            row |= {"lost": row["lost"] + never, "gaps": row["gaps"] + 1}
        return row

    def conclude(self, state: str) -> None:
        """Write the end of the run into its capture."""
        if self.plan.capture is None:
            return
        self._say()
        directory = run_directory(self.plan.capture, self.plan.run_id)
        try:
            about = read_about(directory)
            rows = {(each["stream"], each["name"]): self._row(each) for each in self._stats()}
            for stream, key in (("in", "ingresses"), ("out", "egresses"), ("choices", "choosers")):
                for entry in about[key]:
                    entry.update(rows.get((stream, entry["name"]), {}))
            about |= {"ended_unix_ns": time.time_ns(), "state": state}
            failed = self._unsynced()
            about["problem"] = self._given_up or (_unsynced_text(failed) if failed else "")
            write_json(directory / ABOUT, about)
        except (OSError, RegionError) as error:
            sys.stderr.write(f"capture {directory}: {error}\n")


def _unsynced_text(stats: dict[str, Any]) -> str:
    name = f"{stats['stream']}/{stats['name']}"
    why = os.strerror(stats["error_number"])
    return (
        f"capture of {name}: writing to the disk failed: {why}; what was recorded since the last "
        "good sync may be lost, so it is not tried again and nothing more of it is kept: look "
        "after the disk, then start the run again"
    )
