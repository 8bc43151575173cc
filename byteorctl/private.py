"""A byteord of one's own for the length of a call, so that a newcomer's first command works.

Owns the child process and its 0700 directory. The child runs in its own session (a Ctrl-C of the
terminal reaches only the client, which then drains), lives as long as the client's end of a
socketpair, and is waited for before the directory goes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from byteorctl.address import SOCKET_PATH_BYTES_MAX, Address, Answer, probe
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit

READY_TIMEOUT_S = 20.0
END_TIMEOUT_S = 15.0
LOG_LINES_SHOWN = 20


class PrivateDaemon:
    """One private byteord: `start`, `wait_ready`, calls, `close`."""

    def __init__(
        self,
        directories: Sequence[str],
        *,
        allow_effects: bool = False,
        look: str | None = None,
        runs: int = 0,
        python: bool = False,
    ) -> None:
        """Prepare; it may take code from, and open paths of deployments in, `directories`.

        Its side effects are dry unless `allow_effects`. `look`: it shows what the daemon of that
        configuration (empty: the default) left on this host. It gets ready for so many `runs`
        while it starts, for stages in `python`.
        """
        self._look = look
        self._expected = ["--expect-runs", str(runs)] if runs else []
        self._expected += ["--expect-python"] if runs and python else []
        self._allow_effects = allow_effects
        self._directories = list(dict.fromkeys(directories))
        self._directory = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: socket.socket | None = None

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address(os.path.join(self._directory, "byteord.sock"), explicit=True)

    def start(self) -> None:
        """Start the process without waiting for it."""
        self._directory = _make_directory()
        ours, theirs = socket.socketpair()
        with theirs, open(self._log_path(), "wb") as log:
            self._lifeline = ours
            self._process = subprocess.Popen(
                self._command(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={key: value for key, value in os.environ.items() if key != "BYTEOR_SOCKET"},
            )

    def wait_ready(self) -> None:
        """Return when it listens; raises `CliError` (69) with its last words if it does not."""
        process = self._process
        if process is None:
            raise RuntimeError("wait_ready before start")
        deadline = time.monotonic() + READY_TIMEOUT_S
        while probe(self.address.path) is not Answer.LISTENS:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=0.01)
                raise CliError(
                    f"private byteord: ended with {_exit_text(code)} before it was ready",
                    Exit.UNAVAILABLE,
                    notes=self.last_words(),
                )
            if time.monotonic() > deadline:
                raise CliError(
                    f"private byteord: not ready within {READY_TIMEOUT_S:.0f} s; host overloaded?",
                    Exit.UNAVAILABLE,
                    notes=self.last_words(),
                )

    def last_words(self) -> list[str]:
        """Return the last lines that it wrote, and how it ended if it did."""
        lines: list[str] = []
        process = self._process
        if process is not None and process.poll() is not None:
            lines.append(f"private byteord ended with {_exit_text(process.returncode)}")
        with contextlib.suppress(OSError):
            text = Path(self._log_path()).read_text(encoding="utf-8", errors="replace")
            lines += [f"byteord: {line}" for line in text.splitlines()[-LOG_LINES_SHOWN:]]
        return lines

    def close(self) -> None:
        """Let it end, wait for it, remove its directory; may be called more than once."""
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        if self._process is not None:
            _wait_for_end(self._process)
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = ""

    def _command(self, parent_fd: int) -> list[str]:
        command = [sys.executable, "-P", "-m", "byteord"]
        command += ["--private", self._directory, "--parent-fd", str(parent_fd)]
        for directory in self._directories:
            for option in ("--code-dir", "--read-dir", "--write-dir"):
                command += [option, directory]
        if self._allow_effects:
            command.append("--allow-effects")
        if self._look is not None:
            command.append("--look")
            command += ["--config", os.path.abspath(self._look)] if self._look else []
        return [*command, *self._expected]

    def _log_path(self) -> str:
        return os.path.join(self._directory, "byteord.log")


def _make_directory() -> str:
    """Make the 0700 directory where a socket path in it is short enough."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108  mkdtemp below
        fits = parent and len(os.fsencode(parent)) + 40 <= SOCKET_PATH_BYTES_MAX
        if fits and os.access(str(parent), os.W_OK | os.X_OK):
            return tempfile.mkdtemp(prefix="byteor-", dir=parent)
    raise CliError(
        "private byteord: found no directory for its socket; "
        "set TMPDIR to a writable directory with a short path",
        Exit.UNAVAILABLE,
    )


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    for end in (process.terminate, process.kill):
        try:
            process.wait(timeout=END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            end()
        else:
            return
    process.wait()


def _exit_text(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"
