"""One run of a program: message bytes on its standard input, no shell, everything bounded.

Owns the process from start to end: it and its children are in a group of their own and are killed
with it; what leaves the group is adopted by this process (a subreaper) and killed too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial

from byteord.deployment.model import ActionLimits
from byteord.stages.actions.image import ProgramImage, load_image, mark_of
from byteord.stages.actions.result import Attempt

EX_TEMPFAIL = 75
"""The exit status that asks to be tried again (sysexits.h)."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_PIECE = 64 << 10
_libc = ctypes.CDLL(None)
_CHILDREN = threading.Lock()
"""Held from the look at a program until it has been executed and is in `_RUNNING`, and while
orphans are ended: a child that is just being started is no orphan, and as it still has this
process's descriptors it would keep a copy that is being made from being executed."""
_RUNNING: set[int] = set()
"""Programs of this process, of whichever stage."""


def _before_exec(closing: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if closing >= 0:
        os.set_inheritable(closing, False)


class RunProgram:
    """Runs one program with fixed arguments, once for each message."""

    def __init__(self, words: list[str], limits: ActionLimits, digest: str = "") -> None:
        """`words`: the absolute path of the program, then its arguments.

        `digest`: `sha256:HEX` of the program that may run; empty: whatever lies there, by its path.
        """
        self.words = words
        self._digest = digest
        self._image: ProgramImage | None = None
        self.target = "|".join(words)
        self._timeout_s = limits.exec_timeout_ms / 1000
        self._output_max = limits.output_bytes_max
        self._running: set[int] = set()
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def act(self, payload: bytes, key: str) -> Attempt:
        """Run once with `payload` on standard input; never raises for what the program does."""
        try:
            process = self._start(key)
        except OSError as error:
            return Attempt(False, f"it cannot be started: {error.strerror}")
        if isinstance(process, Attempt):
            return process
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

    def _start(self, key: str) -> subprocess.Popen[bytes] | Attempt:
        """Start it, or return why it may not run; OSError.

        The admitted bytes run, from memory: no write to the file comes between check and start.
        """
        with _CHILDREN:
            if why := self._changed():
                return Attempt(False, why)
            image = self._image
            process = subprocess.Popen(
                self.words, executable=image.path if image else None,
                pass_fds=(image.descriptor,) if image else (), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
                env={**_ENVIRONMENT, "BYTEOR_IDEMPOTENCY_KEY": key}, cwd="/", process_group=0,
                preexec_fn=partial(  # noqa: PLW1509 - two system calls, no lock is taken
                    _before_exec, image.closed_on_exec if image else -1
                ),
            )  # fmt: skip
            self._running.add(process.pid)
            _RUNNING.add(process.pid)
            return process

    def _changed(self) -> str:
        """Return why the program is not the one that was admitted, or nothing.

        It is copied and hashed again when its file is another or was written to since.
        """
        if not self._digest:
            return ""
        try:
            if self._image is not None and self._image.mark == mark_of(self.words[0]):
                return ""
            self._forget_image()
            image = load_image(self.words[0])
        except OSError as error:
            return f"the program cannot be read: {error.strerror}"
        if image.digest != self._digest.lower():
            image.close()
            return (
                f"the program has the digest {image.digest} now, "
                f"and was admitted with {self._digest}"
            )
        self._image = image
        return ""

    def _forget_image(self) -> None:
        if self._image is not None:
            self._image.close()
            self._image = None

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
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()
        with _CHILDREN:
            process.wait()
            self._running.discard(process.pid)
            _RUNNING.discard(process.pid)
            _end_orphans()

    def close(self) -> None:
        """End what still runs; the copy of the program goes with it."""
        with _CHILDREN:
            self._forget_image()
            for pid in self._running:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)


def _end_orphans() -> None:
    """Kill what left its group: it has been adopted by this process."""
    for _ in range(3):
        orphans = [pid for pid in _children() if pid not in _RUNNING]
        if not orphans:
            return
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


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
