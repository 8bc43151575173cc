"""Exclusive locks of one daemon: files held with flock, taken before anything else is touched.

A second gRPC server would take over a live Unix socket without a word, and two daemons on the same
regions or state would corrupt both; so whoever does not get every lock ends. The kernel frees a
lock when its holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from typing import Self

from byteord.errors import DeniedError, ResourceError


class DaemonLocks:
    """Holds several lock files, or none; a context manager that frees and removes them."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Take all of `paths` in order.

        Raises:
            ResourceError: another process holds one (`DAEMON_RUNNING`, details `pid` and `lock`);
            trying again can help
                once it has ended, hence exit 75.
            DeniedError: a lock file cannot be made.
        """
        self._held: list[tuple[str, int]] = []
        try:
            for path in paths:
                self._held.append((path, _take(path)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files, then free the locks. Harmless when called again."""
        for path, descriptor in reversed(self._held):
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(descriptor)
        self._held.clear()


def _take(path: str) -> int:
    """Return a locked descriptor of the file that is called `path` now, not of one just removed."""
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise _held_by(holder or "unknown", path) from None
        if _same_file(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o644)
    except OSError as error:
        raise DeniedError(
            f"lock {path}: {error.strerror}; wanted a file that this user (uid {os.geteuid()}) "
            "may write; "
            "give its directory to the daemon's user, or name others under [paths]",
            reason="LOCK_NOT_WRITABLE",
        ) from error


def _same_file(path: str, descriptor: int) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def _held_by(holder: str, path: str) -> ResourceError:
    return ResourceError(
        f"another byteord (pid {holder}) is running: it holds {path}; wanted: one daemon for one "
        "socket, state and set "
        f"of regions; use it with byteorctl, stop it (kill {holder}), or give this one its own "
        "[paths]",
        reason="DAEMON_RUNNING",
        details={"pid": holder, "lock": path},
    )
