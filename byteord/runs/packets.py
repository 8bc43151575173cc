"""The packets between the daemon and a run's endpoints, and the books of both directions.

One packet is a 24-byte little-endian header {u32 type, u32 epoch, u64 offset, u64 value} and at
most 65,512 bytes. An epoch names one life of the worker: what belongs to an earlier one is ignored.
"""

from __future__ import annotations

import enum
import struct
from bisect import bisect_right
from dataclasses import dataclass

from byteord._cext.stages import crc32c
from byteord.errors import DataError, UnavailableError
from byteord.runs.view import CHUNK_BYTES_MAX, InputChunk

HEADER = struct.Struct("<IIQQ")
DATA_BYTES_MAX = 65_512
PACKET_BYTES_MAX = HEADER.size + DATA_BYTES_MAX
WINDOW_BYTES_MAX = 8 << 20
_SHARED_BYTES_MAX = 32 << 10
"""Pieces of this size and more are kept as they came; smaller ones are joined."""


class PacketType(enum.IntEnum):
    """What a packet says."""

    RESUME = 1
    DATA = 2
    END = 3
    FAILED = 4
    ACK = 5


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet to be sent."""

    header: bytes
    data: memoryview


def make_packet(
    kind: PacketType, epoch: int, *, offset: int = 0, value: int = 0, data: bytes | memoryview = b""
) -> Packet:
    """Return a packet; `data` is not copied."""
    return Packet(HEADER.pack(kind, epoch, offset, value), memoryview(data))


class InputWindow:
    """What a client fed and the ingress has not committed yet: at most 8 MiB, without a gap.

    `add` takes bytes from the client, `resume` and `ack` what the worker says, `next_packet` and
    `sent` drive the socket.
    """

    def __init__(self) -> None:
        """Start empty, with no worker known."""
        self.received = 0
        self.epoch: int | None = None
        self.ended = False
        self.end_sent = False
        self._crc = 0
        self._committed = 0
        self._sent = 0
        self._blocks: list[bytearray | memoryview] = []
        self._starts: list[int] = []
        self._failed = b""
        self._failed_sent = False

    @property
    def buffered(self) -> int:
        """Bytes that are kept."""
        return self.received - (self._starts[0] if self._starts else self.received)

    @property
    def room(self) -> bool:
        """Tell whether any chunk can be added."""
        return self.buffered + CHUNK_BYTES_MAX <= WINDOW_BYTES_MAX

    def add(self, chunk: InputChunk) -> None:
        """Keep the bytes of a chunk.

        Raise DataError if it does not continue the input, or the whole does not check.
        """
        if self.ended:
            raise DataError(
                "input after its end mark: nothing may follow it", reason="INPUT_AFTER_END"
            )
        if len(chunk.data) > CHUNK_BYTES_MAX:
            raise DataError(
                f"an input chunk of {len(chunk.data)} bytes: at most {CHUNK_BYTES_MAX} are taken "
                "at once",
                reason="INPUT_CHUNK_TOO_LARGE",
            )
        if chunk.data or not chunk.end:
            self._check_offset(chunk)
            self._keep(chunk.data)
            self._crc = crc32c(chunk.data, self._crc)
        if chunk.end:
            self._check_whole(chunk)
            self.ended = True

    def fail(self, text: str) -> None:
        """Give up: the worker is told why instead of being sent more data.

        The first reason stays.
        """
        if not self._failed:
            self._failed = text.encode()[:DATA_BYTES_MAX] or b"failed"

    def resume(self, epoch: int, offset: int) -> None:
        """A worker, new or the first, continues at `offset`.

        Raise UnavailableError if that is not kept.
        """
        self.epoch = epoch
        self._failed_sent = self.end_sent = False
        if not self._committed <= offset <= self.received:
            raise UnavailableError(
                f"the ingress resumes at byte {offset} and bytes {self._committed} to "
                f"{self.received} are kept",
                reason="INPUT_NOT_RETAINED",
            )
        self._sent = offset
        self._release(offset)

    def ack(self, epoch: int, offset: int) -> None:
        """Everything below `offset` is committed."""
        if epoch == self.epoch and self._committed <= offset <= self._sent:
            self._release(offset)

    def next_packet(self) -> Packet | None:
        """Return what is to be sent next; None while there is nothing, or nobody to send it to."""
        if self.epoch is None or self._failed_sent or self.end_sent:
            return None
        if self._failed:
            return make_packet(PacketType.FAILED, self.epoch, offset=self._sent, data=self._failed)
        if self._sent < self.received:
            return make_packet(PacketType.DATA, self.epoch, offset=self._sent, data=self._unsent())
        if self.ended:
            return make_packet(PacketType.END, self.epoch, offset=self.received, value=self._crc)
        return None

    def sent(self, packet: Packet) -> None:
        """Note that a packet from `next_packet` went out."""
        kind = HEADER.unpack(packet.header)[0]
        if kind == PacketType.DATA:
            self._sent += len(packet.data)
        elif kind == PacketType.END:
            self.end_sent = True
        else:
            self._failed_sent = True

    def _check_offset(self, chunk: InputChunk) -> None:
        if chunk.offset != self.received:
            raise DataError(
                f"an input chunk at offset {chunk.offset}: the next byte wanted is "
                f"{self.received}; "
                "chunks must follow each other without a gap",
                reason="INPUT_GAP",
                details={"seen": str(chunk.offset), "wanted": str(self.received)},
            )

    def _check_whole(self, chunk: InputChunk) -> None:
        if chunk.total_bytes != self.received:
            raise DataError(
                f"the input's end mark says {chunk.total_bytes} bytes and {self.received} "
                "arrived: feed it again",
                reason="INPUT_LENGTH",
                details={"seen": str(self.received), "wanted": str(chunk.total_bytes)},
            )
        if chunk.crc32c != self._crc:
            raise DataError(
                f"the input's end mark says CRC32C {chunk.crc32c:#010x} and the bytes that "
                "arrived have "
                f"{self._crc:#010x}: feed it again",
                reason="INPUT_CRC",
                details={"seen": f"{self._crc:#010x}", "wanted": f"{chunk.crc32c:#010x}"},
            )

    def _keep(self, data: bytes) -> None:
        if len(data) < _SHARED_BYTES_MAX:
            self._join(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), DATA_BYTES_MAX):
            piece = view[start : start + DATA_BYTES_MAX]
            self._starts.append(self.received)
            self._blocks.append(piece)
            self.received += len(piece)

    def _join(self, data: bytes) -> None:
        last = self._blocks[-1] if self._blocks else None
        if isinstance(last, bytearray) and len(last) + len(data) <= DATA_BYTES_MAX:
            last += data
        elif data:
            self._starts.append(self.received)
            self._blocks.append(bytearray(data))
        self.received += len(data)

    def _unsent(self) -> bytes | memoryview:
        at = bisect_right(self._starts, self._sent) - 1
        block = self._blocks[at]
        skip = self._sent - self._starts[at]
        return bytes(block[skip:]) if isinstance(block, bytearray) else block[skip:]

    def _release(self, offset: int) -> None:
        self._committed = offset
        gone = 0
        for start, block in zip(self._starts, self._blocks, strict=True):
            if start + len(block) > offset:
                break
            gone += 1
        del self._starts[:gone], self._blocks[:gone]


class OutputOrder:
    """What of an egress has been forwarded.

    Drops what comes again after a worker's restart, refuses a gap.
    """

    def __init__(self) -> None:
        """Start at the first byte."""
        self.forwarded = 0
        self.crc = 0
        self.ended = False
        self._epoch: int | None = None
        self._expected = 0

    def resume(self, epoch: int, offset: int) -> None:
        """A worker, new or the first, continues at `offset`.

        Raise DataError if bytes before it are missing.
        """
        if offset > self.forwarded:
            raise self._gap(offset)
        self._epoch = epoch
        self._expected = offset

    def data(self, epoch: int, offset: int, length: int) -> int:
        """Take bytes; return how many of their first ones have been forwarded already.

        Raise DataError on a gap.
        """
        if epoch != self._epoch:
            return length
        if offset != self._expected or offset > self.forwarded:
            raise self._gap(offset)
        self._expected += length
        return min(length, self.forwarded - offset)

    def forward(self, data: memoryview | bytes) -> None:
        """Note that these bytes go to the client."""
        self.crc = crc32c(data, self.crc)
        self.forwarded += len(data)

    def end(self, epoch: int, total: int, crc: int) -> None:
        """Take the end mark; raise DataError if the whole is not what the egress wrote."""
        if epoch != self._epoch:
            return
        if (total, crc) != (self.forwarded, self.crc):
            raise DataError(
                f"the egress ends at {total} bytes with CRC32C {crc:#010x} and {self.forwarded} "
                "bytes with "
                f"{self.crc:#010x} were forwarded: the output must not be used; run it again",
                reason="OUTPUT_CHECK",
                details={"seen": str(self.forwarded), "wanted": str(total)},
            )
        self.ended = True

    def _gap(self, offset: int) -> DataError:
        return DataError(
            f"the egress wrote at byte {offset} and the next one wanted is {self.forwarded}: "
            "output is missing; "
            "run it again",
            reason="OUTPUT_GAP",
            details={"seen": str(offset), "wanted": str(self.forwarded)},
        )
