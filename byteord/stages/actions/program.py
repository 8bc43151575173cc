"""One run of a program: message bytes on its standard input, no shell, everything bounded.

Owns the process from start to end: it and its children are in a group of their own and are killed
with it; what leaves the group is adopted by this process (a subreaper) and killed too.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

from byteord.deployment.model import ActionLimits
from byteord.stages.actions.result import Attempt

EX_TEMPFAIL = 75
"""The exit status that asks to be tried again (sysexits.h)."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_PIECE = 64 << 10
_libc = ctypes.CDLL(None)


def _with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class RunProgram:
    """Runs one program with fixed arguments, once for each message."""

    def __init__(self, words: list[str], limits: ActionLimits, digest: str = "") -> None:
        """`words`: the absolute path of the program, then its arguments.

        `digest`: `sha256:HEX` of the program that may run; empty: whatever lies there.
        """
        self.words = words
        self._digest = digest
        self._verified: tuple[int, ...] = ()
        self.target = "|".join(words)
        self._timeout_s = limits.exec_timeout_ms / 1000
        self._output_max = limits.output_bytes_max
        self._running: set[int] = set()
        self._lock = threading.Lock()
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def act(self, payload: bytes, key: str) -> Attempt:
        """Run once with `payload` on standard input; never raises for what the program does."""
        if why := self._changed():
            return Attempt(False, why)
        try:
            process = subprocess.Popen(
                self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, bufsize=0,
                env={**_ENVIRONMENT, "BYTEOR_IDEMPOTENCY_KEY": key}, cwd="/", process_group=0,
                preexec_fn=_with_parent,  # noqa: PLW1509 - one call of prctl, no lock is taken
            )  # fmt: skip
        except OSError as error:
            return Attempt(False, f"it cannot be started: {error.strerror}")
        with self._lock:
            self._running.add(process.pid)
        try:
            why = self._feed(process, payload)
        finally:
            self._end(process)
        if why:
            return Attempt(False, why, retryable=why.startswith("it did not end"))
        code = process.returncode
        if code == 0:
            return Attempt(True, "exit 0")
        text = f"exit {code}" if code > 0 else f"signal {-code}"
        return Attempt(False, text, retryable=code == EX_TEMPFAIL)

    def _changed(self) -> str:
        """Return why the program is not the one that was admitted, or nothing.

        It is hashed again when its file is another or was written to since it was hashed.
        """
        if not self._digest:
            return ""
        try:
            with open(self.words[0], "rb") as file:
                seen = os.fstat(file.fileno())
                mark = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
                if mark == self._verified:
                    return ""
                digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"the program cannot be read: {error.strerror}"
        if digest != self._digest.lower():
            return f"the program has the digest {digest} now, and was admitted with {self._digest}"
        self._verified = mark
        return ""

    def _feed(self, process: subprocess.Popen[bytes], payload: bytes) -> str:
        """Write the message, pass over the output; return why it has to be ended, or nothing."""
        deadline = time.monotonic() + self._timeout_s
        if process.stdin is None or process.stdout is None:
            return "it has no pipes"
        into, out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(into, False)
        rest, printed = memoryview(payload), 0
        with selectors.DefaultSelector() as selector, _opened(os.pidfd_open(process.pid)) as ended:
            selector.register(ended, selectors.EVENT_READ)
            selector.register(into, selectors.EVENT_WRITE)
            selector.register(out, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left)}
                if into in ready:
                    rest = _write(into, rest)
                    if not rest:
                        selector.unregister(into)
                        process.stdin.close()
                if out in ready:
                    piece = os.read(out, _PIECE)
                    printed += len(piece)
                    if not piece:
                        selector.unregister(out)
                if printed > self._output_max:
                    return f"it printed more than {self._output_max} bytes"
                if ended in ready:
                    return ""
        return f"it did not end within {self._timeout_s:g} s"

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill its group while its leader still holds the group's number, then collect all."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()
        with self._lock:
            self._running.discard(process.pid)
            self._end_orphans()

    def _end_orphans(self) -> None:
        """Kill what left its group: it has been adopted by this process."""
        for _ in range(3):
            orphans = [pid for pid in _children() if pid not in self._running]
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def close(self) -> None:
        """End what still runs."""
        with self._lock:
            for pid in self._running:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, rest: memoryview) -> memoryview:
    """Return what is left to write; nothing when the program does not read on."""
    try:
        return rest[os.write(descriptor, rest[:_PIECE]) :] if rest else rest
    except BrokenPipeError:
        return rest[:0]


def _children() -> list[int]:
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/children") as file:
            found += map(int, file.read().split())
    return found
