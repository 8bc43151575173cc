"""The input of an attached run: reads a descriptor in chunks and gives what FeedInput wants.

Knows nothing of gRPC: chunks are plain values that `byteorctl.client` turns into messages.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from byteorctl.checksum import Running

CHUNK_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class InputChunk:
    """A piece of the input; the last one has `end` set and no data."""

    data: bytes
    offset: int
    end: bool = False
    crc32c: int = 0


class Feeder:
    """Chunks of a descriptor, which it owns, in order and gapless.

    `bytes_read` and `error` may be read from other threads. `cancel` makes the iteration end
    without its end mark, even while it waits for a terminal or a pipe.
    """

    def __init__(self, fd: int) -> None:
        """Take over `fd`."""
        self._fd = fd
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC)
        self.bytes_read = 0
        self.error: OSError | None = None
        self.ended = False

    def cancel(self) -> None:
        """End the iteration as soon as possible; may be called from any thread, more than once."""
        if self._wake_write >= 0:
            os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Close all descriptors; the iteration must be over."""
        for fd in (self._fd, self._wake_read, self._wake_write):
            if fd >= 0:
                os.close(fd)
        self._fd = self._wake_read = self._wake_write = -1

    def __iter__(self) -> Iterator[InputChunk]:
        """Yield chunks of at most 1 MiB as the input gives them, then the end mark.

        A read error is kept in `error` and ends the iteration without its end mark.
        """
        running = Running()
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        pollable = _pollable(poller, self._fd)
        while True:
            ready = {fd for fd, _ in poller.poll(None if pollable else 0)}
            if self._wake_read in ready:
                return
            try:
                data = os.read(self._fd, CHUNK_BYTES_MAX)
            except OSError as error:
                self.error = error
                return
            if not data:
                break
            offset = running.total_bytes
            running.add(data)
            self.bytes_read = running.total_bytes
            yield InputChunk(data, offset)
        self.ended = True
        yield InputChunk(b"", running.total_bytes, end=True, crc32c=running.crc32c)


def _pollable(poller: select.poll, fd: int) -> bool:
    """Register `fd`; regular files always read at once and need no waiting."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return False
    poller.register(fd, select.POLLIN)
    return True
