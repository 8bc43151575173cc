"""The ledger of approvals: how often each was used, on this host, written before the use counts.

A journal of JSON lines, each with its CRC32 in front, as the store of request ids has. A torn last
line is the trace of a crash and is dropped; any other damage refuses every counted approval, since
a use may be missing. One use belongs to one run: the same run is not counted twice.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from typing import Any

from byteord.errors import DataError, ResourceError
from byteord.policy.files import append_synced, replace_synced


class Ledger:
    """One ledger file, read once, then appended."""

    def __init__(self, path: str) -> None:
        """Remember where; `open` reads it."""
        self._path = path
        self._lock = threading.Lock()
        self._uses: dict[str, dict[str, int]] = {}
        self._damage = ""

    def open(self, now: float) -> None:
        """Read the ledger, and drop what expired long ago. Damage is told by the next use."""
        try:
            self._uses = _read(self._path)
        except DataError as error:
            self._damage = error.message
            return
        except FileNotFoundError:
            return
        horizon = now - 86_400
        for name in [name for name, runs in self._uses.items() if max(runs.values()) < horizon]:
            del self._uses[name]
        lines = [_line(name, run, until) for name, runs in self._uses.items()
                 for run, until in runs.items()]  # fmt: skip
        replace_synced(self._path, b"".join(lines))

    def uses(self, approval_id: str, run_id: str = "") -> int:
        """Return how often an approval was used by other runs; raise DataError (LEDGER_DAMAGED)."""
        if self._damage:
            raise DataError(self._damage, reason="LEDGER_DAMAGED")
        with self._lock:
            runs = self._uses.get(approval_id, {})
            return len(runs) - (run_id in runs)

    def use(self, approval_id: str, run_id: str, expires_at: int, uses_max: int) -> bool:
        """Count a use durably; False when there is none left (0: they are not limited).

        Raises DataError (LEDGER_DAMAGED), ResourceError (LEDGER_NOT_WRITABLE); then it is not used.
        """
        if self._damage:
            raise DataError(self._damage, reason="LEDGER_DAMAGED")
        with self._lock:
            runs = self._uses.setdefault(approval_id, {})
            if run_id in runs:
                return True
            if uses_max and len(runs) >= uses_max:
                return False
            self._append(_line(approval_id, run_id, expires_at))
            runs[run_id] = expires_at
            return True

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags, 0o600)
            try:
                append_synced(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ResourceError(
                f"ledger of approvals {self._path}: {error.strerror}; a use that is not written "
                "down does not happen: make room there",
                reason="LEDGER_NOT_WRITABLE",
            ) from error


def _line(approval_id: str, run_id: str, expires_at: int) -> bytes:
    text = json.dumps({"approval": approval_id, "run": run_id, "until": expires_at}).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(path: str) -> dict[str, dict[str, int]]:
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    lines.pop()  # what follows the last newline: nothing, or what a crash left of a line
    uses: dict[str, dict[str, int]] = {}
    for number, line in enumerate(lines, 1):
        crc, _, text = line.partition(b" ")
        if crc != b"%08x" % zlib.crc32(text):
            raise DataError(
                f"ledger of approvals {path}: line {number} does not match its checksum, so a use "
                "may be missing; restore the file, or revoke the approvals in force and remove it"
            )
        raw: dict[str, Any] = json.loads(text)
        uses.setdefault(raw["approval"], {})[raw["run"]] = raw["until"]
    return uses
