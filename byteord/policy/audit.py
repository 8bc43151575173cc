"""The audit log of a daemon: appends, checkpoints, rotation, and what happens when it cannot.

Every record is on the disk when `append` returns. Room for a whole segment is taken from the file
system before the segment is used, so that decisions can still be written down when the disk is
full: then `problem` is set, which stops side effects, while there is room to say so. Owns one
directory, alone. Blocks; calls from several threads take turns.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from byteor.trust import audit_log, keys
from byteor.trust.audit_log import GENESIS, HEAD, Segment
from byteor.trust.strict import TrustError, dumps, encode_base64
from byteord.errors import ByteorError, ResourceError
from byteord.policy.files import append_synced, replace_synced, sync_directory
from byteord.policy.host_key import HostKey, load_host_key

SEGMENT_BYTES = 4 << 20
CHECKPOINT_RECORDS = 256
CHECKPOINT_S = 60.0
_FALLOC_KEEP_SIZE = 1
_MARGIN_BYTES = 2 * audit_log.RECORD_BYTES_MAX
"""Room at the end of a segment for its last records."""


class AuditLog:
    """One log, open between `open` and `close`."""

    def __init__(self, directory: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Remember where; nothing is touched yet."""
        self.directory = directory
        self.problem = ""
        """Why side effects must not happen now; empty while all is well."""
        self.records = 0
        """Records written since it was opened."""
        self.checkpoint_unix = 0.0
        """Time of the last checkpoint; 0: none yet."""
        self._segment_bytes = segment_bytes
        self._lock = threading.RLock()
        self._descriptor = -1
        self._key: HostKey | None = None
        self._used = 0
        self._sequence = 0
        self._prev = GENESIS
        self._uncovered = 0
        self._checkpoint: dict[str, Any] | None = None
        self._damaged = False
        self._since = time.time()

    @property
    def key(self) -> HostKey:
        """The key of this host; the log must be open."""
        if self._key is None:
            raise RuntimeError("the audit log is not open")
        return self._key

    @property
    def sequence(self) -> int:
        """Sequence that the next record gets."""
        return self._sequence

    def open(self) -> None:
        """Continue the log or begin one. What is wrong with it stands in `problem` afterwards."""
        with self._lock:
            try:
                os.makedirs(self.directory, mode=0o700, exist_ok=True)
                self._key = load_host_key(self.directory)
                self._continue()
            except (OSError, ByteorError, TrustError) as error:
                self._fail(f"audit log {self.directory}: {error}")

    def append(self, kind: str, data: Mapping[str, Any]) -> int:
        """Write a record and return its sequence once it is on the disk.

        Raises ResourceError (AUDIT_NOT_WRITABLE): then the thing that was to be recorded must not
        happen.
        """
        with self._lock:
            self._check_usable()
            try:
                self._make_room()
                sequence = self._write(kind, dict(data))
            except OSError as error:
                self._fail(f"audit log {self.directory}: {error.strerror}")
                raise self._not_writable() from error
            if self._uncovered >= CHECKPOINT_RECORDS:
                self._try_checkpoint({})
            return sequence

    def tick(self, actions: Mapping[str, Any]) -> dict[str, Any] | None:
        """Write a checkpoint if one is due and return it. `actions`: digests of action journals."""
        with self._lock:
            if self._damaged or self._descriptor < 0:
                return None
            self._try_recover()
            age = time.time() - max(self.checkpoint_unix, self._since)
            due = self._uncovered > 0 or bool(actions)
            if not due or age < CHECKPOINT_S:
                return None
            return self._try_checkpoint(actions)

    def checkpoint(self, actions: Mapping[str, Any]) -> dict[str, Any] | None:
        """Write a checkpoint now; None when it cannot be, and then `problem` says why."""
        with self._lock:
            return None if self._damaged or self._descriptor < 0 else self._try_checkpoint(actions)

    def cover(self) -> None:
        """Have a checkpoint cover everything until now, if none does."""
        with self._lock:
            if self._uncovered:
                self.checkpoint({})

    def last_checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint, for bundles and heads."""
        return self._checkpoint

    def close(self) -> None:
        """Cover what was written and let go. Idempotent."""
        with self._lock:
            if self._descriptor < 0:
                return
            if self._uncovered and not self._damaged:
                self._try_checkpoint({})
            os.close(self._descriptor)
            self._descriptor = -1

    # --- beginning and continuing

    def _continue(self) -> None:
        files = audit_log.segment_files(self.directory)
        kept = self._read_head()
        if not files:
            if kept is not None:
                raise TrustError("AUDIT_REWOUND", "its segments are gone and head.json is there")
            self._start_segment("log.begun", {"host": os.uname().nodename, "key": self.key.kid})
            return
        segment = audit_log.read_segment(files[-1])
        verdict = audit_log.verify_log(
            [Segment(segment.name, segment.lines)], self.key.public, [kept] if kept else []
        )
        if not verdict.ok or not segment.lines:
            first = verdict.problems[0] if verdict.problems else None
            self._damaged = True
            text = f"{first.file}:{first.line}: {first.message}" if first else "an empty segment"
            raise TrustError("AUDIT_DAMAGED", f"{text}; `byteorctl audit verify` tells all")
        self._reopen(files[-1], segment, verdict)

    def _reopen(self, path: str, segment: Segment, verdict: audit_log.Verdict) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._used = sum(len(line) + 1 for line in segment.lines)
        size = os.fstat(self._descriptor).st_size
        os.ftruncate(self._descriptor, self._used)
        _reserve(self._descriptor, self._segment_bytes)
        last = audit_log.parse_record(segment.lines[-1])
        self._sequence, self._prev = last.sequence + 1, last.hash
        self._uncovered = verdict.tail
        self._checkpoint = self._read_head()
        self.checkpoint_unix = time.time()
        if segment.torn:
            self._write("log.recovered", {"bytes": size - self._used})

    def _read_head(self) -> dict[str, Any] | None:
        try:
            with open(os.path.join(self.directory, HEAD), "rb") as file:
                return audit_log.read_checkpoint(file.read(audit_log.RECORD_BYTES_MAX))
        except FileNotFoundError:
            return None

    def _start_segment(self, kind: str, data: dict[str, Any]) -> None:
        path = os.path.join(self.directory, audit_log.segment_name(self._sequence))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o640)
        try:
            _reserve(descriptor, self._segment_bytes)
        except OSError:
            os.close(descriptor)
            os.unlink(path)
            raise
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._used = descriptor, 0
        self._write(kind, data)
        sync_directory(self.directory)

    # --- writing

    def _make_room(self) -> None:
        """Go on in a new segment when this one is nearly full; without room, in what is left."""
        if self._used + _MARGIN_BYTES < self._segment_bytes:
            return
        try:
            self._try_checkpoint({})
            self._start_segment("segment", {"checkpoint": self._checkpoint})
        except OSError as error:
            self.problem = (
                f"audit log {self.directory}: no room for another segment of "
                f"{self._segment_bytes} bytes ({error.strerror})"
            )
            if self._used + audit_log.RECORD_BYTES_MAX >= self._segment_bytes:
                raise

    def _write(self, kind: str, data: dict[str, Any], at: str = "") -> int:
        line = audit_log.render_record(self._sequence, at or _now(), kind, self._prev, data)
        if len(line) >= audit_log.RECORD_BYTES_MAX:
            data = {"too_long": len(line), "kind": kind}
            line = audit_log.render_record(self._sequence, at or _now(), kind, self._prev, data)
        append_synced(self._descriptor, line + b"\n")
        record = audit_log.parse_record(line)
        self._used += len(line) + 1
        self._sequence, self._prev = record.sequence + 1, record.hash
        self._uncovered += 1
        self.records += 1
        return record.sequence

    def _try_checkpoint(self, actions: Mapping[str, Any]) -> dict[str, Any] | None:
        at = _now()
        data: dict[str, Any] = {
            "covers": self._sequence - 1,
            "head": self._prev,
            "at": at,
            "key": self.key.kid,
            "host": os.uname().nodename,
            "actions": dict(actions),
        }
        data["sig"] = encode_base64(
            keys.sign(self.key.private_pem, audit_log.checkpoint_message(data))
        )
        try:
            self._write("checkpoint", data, at)
            replace_synced(os.path.join(self.directory, HEAD), dumps(data) + b"\n", 0o640)
        except OSError as error:
            self._fail(f"audit log {self.directory}: {error.strerror}")
            return None
        self._checkpoint, self._uncovered = data, 0
        self.checkpoint_unix = time.time()
        return data

    def _try_recover(self) -> None:
        """After a failure: see whether the log can be written again."""
        if not self.problem:
            return
        try:
            if self._used + _MARGIN_BYTES >= self._segment_bytes:
                self._start_segment("segment", {"checkpoint": self._checkpoint})
            self._write("log.writable", {"after": self.problem})
        except OSError:
            return
        self.problem = ""

    def _check_usable(self) -> None:
        if self._descriptor < 0 or self._damaged:
            raise self._not_writable()

    def _fail(self, problem: str) -> None:
        self.problem = problem

    def _not_writable(self) -> ResourceError:
        return ResourceError(
            f"{self.problem or 'the audit log is not open'}; nothing that must be recorded can "
            "happen: make room, or repair what it names",
            reason="AUDIT_NOT_WRITABLE",
        )


def _reserve(descriptor: int, size: int) -> None:
    """Take room for a file of that size without changing its length; OSError without room."""
    libc = ctypes.CDLL(None, use_errno=True)
    call = libc.fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(descriptor, _FALLOC_KEEP_SIZE, 0, size):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
