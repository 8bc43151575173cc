"""System calls that checks need, behind a face that a captured tree can have too.

Owns every fact that no file of `/proc` or `/sys` holds. A captured tree keeps them in
`kernel.json`. It must not change anything.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import stat
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from byteord.tuning.root import HostRoot

CAPTURED = "/kernel.json"
TOOL_TIMEOUT_S = 1.5
_TIMEX_BYTES, _MAXERROR, _ESTERROR, _STATUS = 208, 24, 32, 40
"""`struct timex` of the 64-bit kernel: bytes, and offsets of three fields. See adjtimex(2)."""


@dataclass(frozen=True, slots=True)
class Space:
    """Room of a file system, as statvfs(3) says."""

    total_bytes: int
    free_bytes: int
    files_free: int
    files: int


@dataclass(frozen=True, slots=True)
class FileMode:
    """Owner and mode of a file, links not followed."""

    uid: int
    mode: int
    link: bool = False


@dataclass(frozen=True, slots=True)
class ClockState:
    """What adjtimex(2) says."""

    state: int
    status: int
    maxerror_us: int
    esterror_us: int


class Kernel(Protocol):
    """What a check may ask the kernel. Each answer is None where it cannot be had."""

    def uname(self) -> tuple[str, str]:
        """Return release and machine."""

    def affinity(self) -> tuple[int, ...]:
        """Return the CPUs that this process may use."""

    def limit(self, name: str) -> int | None:
        """Return a soft limit by its name after RLIMIT_; -1: unlimited."""

    def space(self, path: str) -> Space | None:
        """Return the room where a path lies."""

    def mode(self, path: str) -> FileMode | None:
        """Return owner and mode."""

    def clock(self) -> ClockState | None:
        """Return how the wall clock is disciplined."""

    def resolution_ns(self) -> int | None:
        """Return the resolution of CLOCK_MONOTONIC."""

    def scheduler(self, tid: int) -> tuple[int, int] | None:
        """Return policy and priority of a thread."""

    def environ(self) -> Mapping[str, str]:
        """Return the environment of this process."""

    def uid(self) -> int:
        """Return the effective user."""

    def tool(self, *words: str) -> str | None:
        """Return what a program prints on standard output and error; None: it is not here."""

    def now(self) -> float:
        """Return the wall clock."""


class LiveKernel:
    """The kernel that this process runs on."""

    def uname(self) -> tuple[str, str]:
        """Return release and machine."""
        said = os.uname()
        return said.release, said.machine

    def affinity(self) -> tuple[int, ...]:
        """Return the CPUs that this process may use."""
        return tuple(sorted(os.sched_getaffinity(0)))

    def limit(self, name: str) -> int | None:
        """Return a soft limit."""
        soft, _ = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        return -1 if soft == resource.RLIM_INFINITY else int(soft)

    def space(self, path: str) -> Space | None:
        """Return the room where a path lies."""
        try:
            said = os.statvfs(path)
        except OSError:
            return None
        block = said.f_frsize
        return Space(said.f_blocks * block, said.f_bavail * block, said.f_favail, said.f_files)

    def mode(self, path: str) -> FileMode | None:
        """Return owner and mode."""
        try:
            said = os.lstat(path)
        except OSError:
            return None
        return FileMode(said.st_uid, stat.S_IMODE(said.st_mode), stat.S_ISLNK(said.st_mode))

    def clock(self) -> ClockState | None:
        """Return how the wall clock is disciplined."""
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
        if state < 0:
            return None
        longs = {at: ctypes.c_long.from_buffer(buffer, at).value for at in (_MAXERROR, _ESTERROR)}
        status = ctypes.c_int.from_buffer(buffer, _STATUS).value
        return ClockState(state, status, longs[_MAXERROR], longs[_ESTERROR])

    def resolution_ns(self) -> int | None:
        """Return the resolution of CLOCK_MONOTONIC."""
        return round(time.clock_getres(time.CLOCK_MONOTONIC) * 1e9)

    def scheduler(self, tid: int) -> tuple[int, int] | None:
        """Return policy and priority of a thread."""
        try:
            return os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority
        except OSError:
            return None

    def environ(self) -> Mapping[str, str]:
        """Return the environment of this process."""
        return os.environ

    def uid(self) -> int:
        """Return the effective user."""
        return os.geteuid()

    def tool(self, *words: str) -> str | None:
        """Return what a program prints; None: it is not here, or takes too long."""
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
            return None
        return done.stdout + done.stderr

    def now(self) -> float:
        """Return the wall clock."""
        return time.time()


@dataclass(frozen=True, slots=True)
class CapturedKernel:
    """A kernel as somebody wrote it down; what was not written down is not known."""

    said: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, root: HostRoot) -> CapturedKernel:
        """Read `kernel.json` of a captured tree; one without it, or a broken one, knows nothing."""
        try:
            said = json.loads(root.text(CAPTURED) or "{}")
        except ValueError:
            said = {}
        return cls(said if isinstance(said, dict) else {})

    def uname(self) -> tuple[str, str]:
        """Return release and machine."""
        return str(self.said.get("release", "")), str(self.said.get("machine", ""))

    def affinity(self) -> tuple[int, ...]:
        """Return the CPUs that the process may use."""
        return tuple(self.said.get("affinity", ()))

    def limit(self, name: str) -> int | None:
        """Return a soft limit."""
        found = self._of("limits", name)
        return None if found is None else int(found)

    def space(self, path: str) -> Space | None:
        """Return the room where a path lies."""
        found = self._of("space", path)
        return None if found is None else Space(*found)

    def mode(self, path: str) -> FileMode | None:
        """Return owner and mode."""
        found = self._of("modes", path)
        return None if found is None else FileMode(*found)

    def clock(self) -> ClockState | None:
        """Return how the wall clock is disciplined."""
        return ClockState(*self.said["clock"]) if "clock" in self.said else None

    def resolution_ns(self) -> int | None:
        """Return the resolution of CLOCK_MONOTONIC."""
        found = self.said.get("resolution_ns")
        return None if found is None else int(found)

    def scheduler(self, tid: int) -> tuple[int, int] | None:
        """Return policy and priority of a thread."""
        found = self._of("schedulers", str(tid))
        return None if found is None else (found[0], found[1])

    def environ(self) -> Mapping[str, str]:
        """Return the environment of the process."""
        return dict(self.said.get("environ", {}))

    def uid(self) -> int:
        """Return the effective user."""
        return int(self.said.get("uid", 0))

    def tool(self, *words: str) -> str | None:
        """Return what a program printed."""
        found = self._of("tools", " ".join(words))
        return None if found is None else str(found)

    def now(self) -> float:
        """Return the wall clock."""
        return float(self.said.get("now", 0.0))

    def _of(self, table: str, key: str) -> Any:
        return self.said.get(table, {}).get(key)
