"""What happened to runs, by run: the last events of each, in memory and beside their history.

Owns the files in which they and the last metrics of runs outlive the daemon: bounded, of mode 0600,
never waited for. They are for people who look at a run later; nothing is decided by them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any

EVENTS_MAX = 256
RUNS_MAX = 200
_EVENTS, _METRICS = ".events.jsonl", ".metrics.prom"
_RUN = re.compile(r"[0-9a-f-]{1,64}\Z")
_BYTES_MAX = 16 << 20


class EventLog:
    """The last events of the last runs. Used from the event loop alone."""

    def __init__(
        self, kept: Kept | None = None, *, runs_max: int = RUNS_MAX, events_max: int = EVENTS_MAX
    ) -> None:
        """Begin empty; `kept` has what came before and takes what comes, None: memory alone."""
        self._kept = kept
        self._runs_max, self._events_max = runs_max, events_max
        self._events: OrderedDict[str, deque[dict[str, Any]]] = OrderedDict()
        self._since: dict[str, int] = {}
        """By run: lines since its file was written anew."""

    def add(self, event: str, data: Mapping[str, object]) -> None:
        """Keep an event that names its run; others are somebody else's."""
        run = str(data.get("run") or "")
        if not run:
            return
        events = self._of(run)
        entry = {"event": event, "unix_ns": time_ns(), **data}
        events.append(entry)
        self._write(run, entry)
        while len(self._events) > self._runs_max:
            gone, _ = self._events.popitem(last=False)
            self._since.pop(gone, None)

    def of(self, run: str) -> Sequence[Mapping[str, Any]]:
        """Return a run's events, oldest first."""
        known = self._events.get(run)
        if known is None and self._kept is not None:
            return tuple(self._kept.events(run)[-self._events_max :])
        return tuple(known or ())

    def _of(self, run: str) -> deque[dict[str, Any]]:
        if run not in self._events:
            before = self._kept.events(run) if self._kept is not None else ()
            self._events[run] = deque(before, maxlen=self._events_max)
            self._since[run] = len(before)
        return self._events[run]

    def _write(self, run: str, entry: Mapping[str, Any]) -> None:
        if self._kept is None:
            return
        self._since[run] += 1
        if self._since[run] <= 2 * self._events_max:
            self._kept.add_event(run, entry)
            return
        self._kept.write_events(run, self._events[run])
        self._since[run] = len(self._events[run])


class Kept:
    """Events and last metrics of runs as files, two a run, the oldest runs given up.

    What cannot be written is not kept, and what cannot be read is not there: no error says so.
    """

    def __init__(self, directory: str, *, runs_max: int = RUNS_MAX, look: bool = False) -> None:
        """Nothing is made before the first event. `look`: it is another daemon's, and stays so."""
        self._look = look
        self._directory = directory
        self._runs_max = runs_max

    def events(self, run: str) -> list[dict[str, Any]]:
        """Return the events of a run, oldest first; lines that are torn are left out."""
        found = []
        for line in self._read(run, _EVENTS).splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    found.append(entry)
        return found

    def metrics(self, run: str) -> bytes:
        """Return the last metrics of a run; empty: none are there."""
        return self._read(run, _METRICS)

    def add_event(self, run: str, entry: Mapping[str, Any]) -> None:
        """Append an event; the first of a run may end the files of the oldest one."""
        path = self._path(run, _EVENTS)
        if path and not self._look:
            with contextlib.suppress(OSError):
                is_new = not os.path.exists(path)
                if is_new:
                    self._make_room()
                _write(path, _line(entry), os.O_APPEND)

    def write_events(self, run: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write the events of a run anew."""
        self._put(run, _EVENTS, b"".join(map(_line, entries)))

    def write_metrics(self, run: str, text: bytes) -> None:
        """Write the last metrics of a run. From any thread."""
        self._put(run, _METRICS, text)

    def _put(self, run: str, suffix: str, data: bytes) -> None:
        path = self._path(run, suffix)
        if path and not self._look:
            with contextlib.suppress(OSError):
                os.makedirs(self._directory, mode=0o700, exist_ok=True)
                _write(f"{path}.new", data, os.O_TRUNC)
                os.replace(f"{path}.new", path)

    def _read(self, run: str, suffix: str) -> bytes:
        path = self._path(run, suffix)
        if path:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with open(descriptor, "rb") as file:
                    return file.read(_BYTES_MAX)
        return b""

    def _path(self, run: str, suffix: str) -> str:
        """Return where a file of a run is; empty for what is no run's id."""
        return os.path.join(self._directory, f"{run}{suffix}") if _RUN.match(run) else ""

    def _make_room(self) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        runs = sorted(
            name.removesuffix(_EVENTS)
            for name in os.listdir(self._directory)
            if name.endswith(_EVENTS)
        )
        for run in runs[: max(0, len(runs) - self._runs_max + 1)]:  # ids begin with their time
            for suffix in (_EVENTS, _METRICS):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._directory, f"{run}{suffix}"))


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, default=str).encode() + b"\n"


def _write(path: str, data: bytes, how: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
