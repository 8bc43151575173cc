"""The daemon's side of a shim: starting one, hearing from it, telling it to stop, seeing it end.

Owns the status channel (one JSON object a packet, SOCK_SEQPACKET) and the way a shim process is
made. A shim is believed about its run, not about the shape of its packets: what does not parse is
dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from byteord.errors import UnavailableError
from byteord.runs.state import RunState
from byteord.runs.view import ConditionView, FailureView

STATUS_BYTES_MAX = 60 << 10
_OUTBOX_MAX = 16
_CLEARED = ("PYTHON", "LD_", "BYTEOR_", "GRPC_")


@dataclass(frozen=True, slots=True)
class ShimWorker:
    """One worker as its shim reports it."""

    index: int
    pid: int
    state: str
    restarts: int
    exit: str


@dataclass(frozen=True, slots=True)
class ShimStatus:
    """One report of a shim; the last one equals its `result.json`."""

    state: RunState
    shim_pid: int
    workers: tuple[ShimWorker, ...] = ()
    failure: FailureView | None = None
    conditions: tuple[ConditionView, ...] = ()
    code_digests: Mapping[str, str] = field(default_factory=dict)


def parse_status(raw: Any) -> ShimStatus:
    """Return a report as a value; raise ValueError when it is not one."""
    try:
        return ShimStatus(
            state=RunState(raw["state"]),
            shim_pid=int(raw["shim_pid"]),
            workers=tuple(_worker(each) for each in raw["workers"]),
            failure=_failure(raw.get("failure")),
            conditions=tuple(_condition(each) for each in raw.get("conditions", ())),
            code_digests={
                str(key): str(value) for key, value in raw.get("code_digests", {}).items()
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a shim's status: {error!r}") from error


def _worker(raw: Mapping[str, Any]) -> ShimWorker:
    return ShimWorker(
        int(raw["index"]),
        int(raw["pid"]),
        str(raw["state"]),
        int(raw["restarts"]),
        str(raw["exit"]),
    )


def _failure(raw: Mapping[str, Any] | None) -> FailureView | None:
    if raw is None:
        return None
    sequence = raw.get("sequence")
    return FailureView(
        reason=str(raw["reason"]),
        role=str(raw.get("role", "")),
        stage=str(raw.get("stage", "")),
        sequence=None if sequence is None else int(sequence),
        message_sha256=str(raw.get("message_sha256", "")),
        message=str(raw.get("message", "")),
    )


def _condition(raw: Mapping[str, Any]) -> ConditionView:
    return ConditionView(
        type=str(raw["type"]),
        status=str(raw["status"]),
        reason=str(raw.get("reason", "")),
        message=str(raw.get("message", "")),
        since_unix_ns=int(raw.get("since_unix_ns", 0)),
    )


def read_result(directory: str) -> ShimStatus | None:
    """Return what a shim left in `result.json`; None if it left nothing, or nothing whole."""
    try:
        with open(os.path.join(directory, "result.json"), "rb") as file:
            return parse_status(json.loads(file.read(1 << 20)))
    except (OSError, ValueError):
        return None


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a shim.

    Nothing that changes what Python or the loader would load.
    """
    return {key: value for key, value in environment.items() if not key.startswith(_CLEARED)}


def spawn_shim(
    directory: str,
    *,
    control: int,
    input_fd: int = -1,
    output_fd: int = -1,
    bound: bool = False,
    hash_seed: int | None = None,
) -> int:
    """Start the shim of a run directory with the ends of its sockets.

    What it prints goes to `shim.log` there. `hash_seed`: PYTHONHASHSEED of it and its workers;
    None: a random one. Return its pid, which is the caller's to reap: a shim may outlive any object
    that would do it. Raises UnavailableError when it cannot be made.
    """
    isolated = ["-I"] if hash_seed is None else ["-P", "-s"]  # -I would not look at the seed
    command = [sys.executable, *isolated, "-m", "byteord.shim", directory]
    command += ["--control-fd", str(control)]
    if input_fd >= 0:
        command += ["--input-fd", str(input_fd)]
    if output_fd >= 0:
        command += ["--output-fd", str(output_fd)]
    if bound:
        command.append("--bound")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(os.path.join(directory, "shim.log"), flags, 0o600)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[each for each in (control, input_fd, output_fd) if each >= 0],
            start_new_session=True,
            cwd=directory,
            env=_environment(hash_seed),
        )
    except OSError as error:
        raise UnavailableError(
            f"the shim of the run cannot be started: {error}; free processes or memory and try "
            "again",
            reason="SHIM_SPAWN",
        ) from error
    finally:
        os.close(log)
    child.returncode = 0
    return child.pid


def _environment(hash_seed: int | None) -> dict[str, str]:
    """Return the environment of a shim: nothing in it changes what Python loads."""
    clean = clean_environment(os.environ)
    return clean if hash_seed is None else {**clean, "PYTHONHASHSEED": str(hash_seed)}


def connect_shim(directory: str) -> tuple[socket.socket, int] | None:
    """Connect to the shim of a run that lives on.

    Return (socket, its pid), or None if no shim listens.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.setblocking(False)
    try:
        sock.connect(os.path.join(directory, "shim.sock"))
        pid = int.from_bytes(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder
        )
    except OSError:
        sock.close()
        return None
    return sock, pid


class ShimChannel:
    """One status channel.

    Calls `heard` for each report and `gone` once when the other side has closed it.
    """

    def __init__(
        self, sock: socket.socket, *, heard: Callable[[ShimStatus], None], gone: Callable[[], None]
    ) -> None:
        """Own a connected SEQPACKET socket and begin to listen."""
        self.malformed = 0
        """Packets that were not a status."""
        self._sock = sock
        self._heard = heard
        self._gone = gone
        self._outbox: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def stop(self, mode: str, timeout_s: int) -> None:
        """Ask the shim to `drain` or `abort` within this time."""
        self._send({"op": "stop", "mode": mode, "timeout_s": timeout_s})

    def ask(self) -> None:
        """Ask the shim for a report."""
        self._send({"op": "status"})

    def close(self) -> None:
        """Stop listening; the shim and its run go on. Idempotent."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()

    def _send(self, message: Mapping[str, object]) -> None:
        if self._sock.fileno() < 0:
            return
        if len(self._outbox) >= _OUTBOX_MAX:
            raise UnavailableError(
                "the shim does not read what it is told: stop it by force", reason="SHIM_STUCK"
            )
        self._outbox.append(json.dumps(message).encode())
        self._flush()

    def _flush(self) -> None:
        descriptor = self._sock.fileno()
        if descriptor < 0:
            return
        try:
            while self._outbox:
                self._sock.send(self._outbox[0])
                self._outbox.popleft()
        except BlockingIOError:
            self._loop.add_writer(descriptor, self._flush)
            return
        except OSError:
            self._outbox.clear()
        self._loop.remove_writer(descriptor)

    def _readable(self) -> None:
        """Take everything that is there; a report may close the channel meanwhile."""
        while self._sock.fileno() >= 0:
            try:
                packet = self._sock.recv(STATUS_BYTES_MAX + 1)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self.close()
                self._gone()
                return
            self._take(packet)

    def _take(self, packet: bytes) -> None:
        try:
            status = parse_status(json.loads(packet))
        except ValueError:
            self.malformed += 1
        else:
            self._heard(status)


class ProcessWatch:
    """Sees one process end, child or not, through its pidfd.

    No pid can be taken for another one.
    """

    def __init__(self, pid: int, ended: Callable[[], None]) -> None:
        """Watch; call `ended` once, in a later turn of the loop even if it has ended already.

        Raises ProcessLookupError when there is no such process.
        """
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def kill(self) -> None:
        """Send SIGKILL; a process that has ended is left in peace."""
        if self._fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        self.close()
        self._ended()
