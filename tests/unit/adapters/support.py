"""What the adapter tests share: contexts, opened adapters, the daemon's end of a stream."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byteord._cext import adapters as native
from byteord.adapters.open import OpenContext, Resume, open_sink, open_source

RESUME, DATA, END, FAILED, ACK = 1, 2, 3, 4, 5
HEADER = struct.Struct("<IIQQ")


def context(
    directory: Path, *, payload_max: int = 240, resume: Resume | None = None, stream_fd: int = -1
) -> OpenContext:
    """Return a context that allows one directory for everything."""
    allowed = (str(directory),)
    return OpenContext(
        payload_max=payload_max,
        stream_fd=stream_fd,
        read_dirs=allowed,
        write_dirs=allowed,
        resume=resume,
        name="end",
    )


@contextmanager
def source(kind: str, given: OpenContext, **options: Any) -> Iterator[native.SourceHandle]:
    """Open an ingress, close it afterwards."""
    handle = open_source(kind, options, given)
    try:
        yield handle
    finally:
        handle.close()


@contextmanager
def sink(kind: str, given: OpenContext, **options: Any) -> Iterator[native.SinkHandle]:
    """Open an egress, close it afterwards."""
    handle = open_sink(kind, options, given)
    try:
        yield handle
    finally:
        handle.close()


def resume_from(report: dict[str, Any]) -> Resume:
    """Return what a commit record would keep of an adapter's state."""
    return Resume(report["position"], report["bytes_total"], tuple(report["rejected"].values()))


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of the client stream."""

    type: int
    epoch: int
    offset: int
    value: int
    data: bytes


class DaemonEnd:
    """The daemon's end of a client stream."""

    def __init__(self) -> None:
        """Make the pair; `worker_fd` is the worker's end."""
        self._worker, self._daemon = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._daemon.setblocking(False)
        self.worker_fd = self._worker.fileno()

    def send(self, kind: int, epoch: int, offset: int, value: int = 0, data: bytes = b"") -> None:
        """Send one packet."""
        self._daemon.send(HEADER.pack(kind, epoch, offset, value) + data)

    def receive(self) -> list[Packet]:
        """Return all packets that are there."""
        packets: list[Packet] = []
        while True:
            try:
                raw = self._daemon.recv(1 << 17)
            except BlockingIOError:
                return packets
            if not raw:
                return packets
            kind, epoch, offset, value = HEADER.unpack(raw[: HEADER.size])
            packets.append(Packet(kind, epoch, offset, value, raw[HEADER.size :]))

    def leave(self) -> None:
        """Close the daemon's end."""
        self._daemon.close()

    def close(self) -> None:
        """Close both ends."""
        self._daemon.close()
        self._worker.close()
