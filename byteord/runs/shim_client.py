"""The daemon's side of a shim with a run: hearing from it, telling it to stop, seeing it end.

Owns the status channel (one JSON object a packet, SOCK_SEQPACKET). A shim is believed about its
run, not about the shape of its packets: what does not parse is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
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
