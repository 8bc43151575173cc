"""The journal of what a worker did outside, and the messages that it could not deliver.

Owns two sorts of files in the run's directory of actions, both JSON lines that are only appended:
`actions-WORKER[.N].journal`, a line before and a line after each action, of which the last 16 of
8 MiB are kept; and `dead-letters-WORKER.jsonl`, whole messages for which nothing was done. A line
before an action, and a dead letter, is on the disk before anything follows from it; the line after
an action reaches the disk with the next of those. Any thread.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from byteord.stages.actions.files import (
    JOURNAL_PREFIX,
    JOURNAL_SUFFIX,
    LETTERS_NAME,
    journal_numbers,
)

BEGIN, DONE, WOULD, GAVE_UP, DEAD_LETTER = "begin", "done", "would", "gave_up", "dead_letter"
_FINAL = frozenset({DONE, WOULD, DEAD_LETTER})
SEGMENT_BYTES, SEGMENTS_MAX = 8 << 20, 16
LETTERS_BYTES_MAX = 64 << 20
_READ_SEGMENTS = 2
"""What may not be committed yet lies in the last of them: a batch is far smaller."""


@dataclass(slots=True)
class _Known:
    """One message of which something is written down."""

    key: str
    sequence: int
    done: bool = False
    claimed: int = -1
    """Sequence of the message that took it, in this process; -1: none has yet."""


class _File:
    """A file that is appended to, and synced once for all that wait for it."""

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.descriptor = os.open(path, flags, 0o600)
        self.size = os.fstat(self.descriptor).st_size
        self._synced = self.size
        self._lock = threading.Lock()
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        if self.size and os.pread(self.descriptor, 1, self.size - 1) != b"\n":
            self.append(b"\n")

    def append(self, line: bytes) -> None:
        """Write one line; OSError when it was not taken whole."""
        if os.write(self.descriptor, line) != len(line):
            raise OSError(
                "the file of actions took a part of a line: its disk or its quota is full"
            )
        self.size += len(line)

    def sync(self) -> None:
        """Return once all that was appended before is on the disk; neighbours share one call."""
        wanted = self.size
        with self._lock:
            if self._synced >= wanted:
                return
            reached = self.size
            os.fdatasync(self.descriptor)
            self._synced = reached


class ActionJournal:
    """The journal and the dead letters of one worker, continued where an earlier process left."""

    def __init__(
        self,
        directory: str,
        worker: int,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        letters_bytes_max: int = LETTERS_BYTES_MAX,
    ) -> None:
        """Open or begin it; a torn last line is ended."""
        self._directory, self._worker = directory, worker
        self._segment_bytes, self._letters_max = segment_bytes, letters_bytes_max
        self._lock = threading.RLock()
        self._known: dict[str, dict[str, list[_Known]]] = {}
        self._by_key: dict[str, _Known] = {}
        self._free: dict[str, int] = {}
        """By role: messages of before that none has been found to be yet."""
        numbers = journal_numbers(directory, worker)
        for number in numbers[-_READ_SEGMENTS:]:
            self._read(self._path(number))
        self._number = numbers[-1] if numbers else 0
        self._file = _File(self._path(self._number))
        self._letters: _File | None = None

    def _path(self, number: int) -> str:
        middle = f"{self._worker}.{number}" if number else str(self._worker)
        return os.path.join(self._directory, f"{JOURNAL_PREFIX}{middle}{JOURNAL_SUFFIX}")

    def _read(self, path: str) -> None:
        with open(path, "rb") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self._remember(json.loads(line), claimed=-1)

    def _remember(self, entry: dict[str, Any], claimed: int) -> None:
        event, key, content = entry["event"], entry["key"], entry.get("sha256", "")
        if event == GAVE_UP or not content:
            return
        known = self._by_key.get(key)
        if known is None:
            known = self._by_key[key] = _Known(key, entry["sequence"], claimed=claimed)
            of_role = self._known.setdefault(entry["role"], {})
            of_role.setdefault(content, []).append(known)
        known.done = known.done or event in _FINAL

    # --- what is known of a message

    def begin_batch(self, role: str, first: int) -> None:
        """Everything before the sequence `first` is committed; what lies behind may come again."""
        with self._lock:
            fresh = role not in self._free
            contents = self._known.get(role, {})
            free = 0
            for content, entries in list(contents.items()):
                kept: list[_Known] = []
                for each in entries:
                    if _over(each, first, fresh=fresh):
                        del self._by_key[each.key]
                    else:
                        each.claimed = -1
                        kept.append(each)
                free += len(kept)
                contents[content] = kept
                if not kept:
                    del contents[content]
            self._free[role] = free

    def claim(self, role: str, sequence: int, content: str) -> tuple[str, bool] | None:
        """Return under which key a message was begun before, and whether it is done; or None.

        A message is known again by its role and what it says: where a role has several inputs the
        order between them, and so a sequence, can be another after a crash.
        """
        with self._lock:
            if not self._free.get(role):
                return None
            entries = self._known.get(role, {}).get(content, ())
            free = [each for each in entries if each.claimed < 0]
            found = next((each for each in free if each.sequence == sequence), None)
            found = found or (free[0] if free else None)
            if found is None:
                return None
            found.claimed = sequence
            self._free[role] -= 1
            return found.key, found.done

    # --- writing

    def write(self, event: str, *, sync: bool = False, **entry: Any) -> None:
        """Append a line (role, sequence, key, ...), with `sync` to the disk.

        OSError when it cannot be written: then nothing may be done.
        """
        entry = {"event": event, "unix_ns": time.time_ns(), **entry}
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._make_room()
            file = self._file
            file.append(line)
            self._remember(entry, claimed=entry["sequence"])
        if sync:
            file.sync()

    def dead_letter(self, payload: bytes, *, why: str, **entry: Any) -> bool:
        """Keep a whole message for whoever asks for it later; False when there is no more room.

        It is on the disk when this returns True. OSError when it cannot be written.
        """
        letter = {
            "unix_ns": time.time_ns(),
            "why": why,
            **entry,
            "payload": base64.b64encode(payload).decode(),
        }
        line = json.dumps(letter, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._letters is None:
                path = os.path.join(self._directory, LETTERS_NAME.format(self._worker))
                self._letters = _File(path)
            file = self._letters
            if file.size + len(line) > self._letters_max:
                return False
            file.append(line)
        file.sync()
        return True

    def _make_room(self) -> None:
        """Go on in a new file when this one is full; the oldest goes once there are too many."""
        if self._file.size < self._segment_bytes:
            return
        self._file.sync()
        os.close(self._file.descriptor)
        self._number += 1
        self._file = _File(self._path(self._number))
        for number in journal_numbers(self._directory, self._worker)[:-SEGMENTS_MAX]:
            os.unlink(self._path(number))

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._file, self._letters):
            if file is not None:
                os.close(file.descriptor)


def _over(known: _Known, first: int, *, fresh: bool) -> bool:
    """Tell whether a message is committed: taken before `first`, or known to have been."""
    if fresh:
        return known.sequence < first
    return 0 <= known.claimed < first
