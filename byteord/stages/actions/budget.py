"""How many actions a replay may attempt, over all of its workers.

Owns one small file in the run directory, counted under a lock, and the mark that says it was spent.
"""

from __future__ import annotations

import fcntl
import os
import struct

COUNT, SPENT = "actions.count", "actions.spent"
_FLOCK = struct.Struct("hhqqi4x")
_WORD = struct.Struct("<Q")


class ActionBudget:
    """Attempts left; one object for each stage, one count for all of a run."""

    def __init__(self, directory: str, most: int) -> None:
        """Open or make the count in the run's directory."""
        self.most = most
        self._directory = directory
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(os.path.join(directory, COUNT), flags, 0o600)

    def take(self) -> bool:
        """Take one attempt; False when none is left, which is then marked. OSError."""
        self._lock(fcntl.F_WRLCK)
        try:
            data = os.pread(self._fd, _WORD.size, 0)
            used = _WORD.unpack(data)[0] if len(data) == _WORD.size else 0
            if used >= self.most:
                mark = os.path.join(self._directory, SPENT)
                os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                return False
            os.pwrite(self._fd, _WORD.pack(used + 1), 0)
            return True
        finally:
            self._lock(fcntl.F_UNLCK)

    def _lock(self, kind: int) -> None:
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLKW, _FLOCK.pack(kind, os.SEEK_SET, 0, 1, 0))
