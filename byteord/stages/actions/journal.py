"""The journal of what a worker did outside: a line before each action, a line after it.

Owns `actions-WORKER.journal` in the run's directory: JSON lines, only appended, written before the
action. What a worker that was killed had finished is read back, so that it is not done again.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

NAME = "actions-{}.journal"
BEGIN, DONE, WOULD, GAVE_UP, DEAD_LETTER = "begin", "done", "would", "gave_up", "dead_letter"
_FINAL = frozenset({DONE, WOULD, DEAD_LETTER})
_READ_BYTES_MAX = 1 << 30


class ActionJournal:
    """The journal of one worker."""

    def __init__(self, directory: str, worker: int) -> None:
        """Open or continue the journal in the run's directory; a torn last line is ended."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(os.path.join(directory, NAME.format(worker)), flags, 0o600)
        self._finished: dict[str, set[int]] = {}
        self._read()

    def _read(self) -> None:
        content = os.pread(self._fd, _READ_BYTES_MAX, 0)
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                if entry["event"] in _FINAL:
                    self._finished.setdefault(entry["role"], set()).add(entry["sequence"])
            except (ValueError, KeyError, TypeError):
                continue
        if content and not content.endswith(b"\n"):
            os.write(self._fd, b"\n")

    def finished(self, role: str, sequence: int) -> bool:
        """Tell whether an earlier process of this worker was done with the message."""
        return sequence in self._finished.get(role, ())

    def forget(self, role: str, before: int) -> None:
        """Let go of what is known of messages before a sequence: they are committed."""
        known = self._finished.get(role)
        if known:
            self._finished[role] = {each for each in known if each >= before}

    def write(self, event: str, *, role: str, sequence: int, key: str, **more: Any) -> None:
        """Append one line; OSError when it cannot be written, and then nothing may be done."""
        entry = {
            "event": event,
            "unix_ns": time.time_ns(),
            "role": role,
            "sequence": sequence,
            "key": key,
            **more,
        }
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        if os.write(self._fd, line) != len(line):
            raise OSError("the action journal took a part of a line")
        if event in _FINAL:
            self._finished.setdefault(role, set()).add(sequence)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
