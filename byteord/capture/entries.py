"""What a bundle's archive is made of: contents in memory, files on disk, segments cut at a frame.

Owns how each gives its bytes, exactly as many as it says, in pieces of at most 1 MiB. It must not
decide what goes into a bundle.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from byteord._cext.guard import Guard
from byteord._cext.stages import crc32c
from byteord.capture.guarding import Guarding

PIECE_BYTES = 1 << 20
HEADER = struct.Struct("<8sIIQQQ24x")
"""A segment's header, as `journal.h` has it: mark, version, checksum, id, size, time."""
FRAME = struct.Struct("<IB3xQQQQII")
"""A frame's: length + 1, type, sequence, rx_sequence, time, unix time, reserved, checksum."""
_CRC_OFFSET = FRAME.size - 4


class Entry(Protocol):
    """One file of a bundle: how it is called, how large it is, how much it may tell of a host."""

    @property
    def name(self) -> str:
        """Its name in the bundle, parts divided by `/`."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def sensitivity(self) -> str:
        """`public`, `operational` or `payload`."""

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes; raises OSError where they cannot be had (any more)."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file whose content is at hand."""

    name: str
    content: bytes
    sensitivity: str = "operational"

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.content)

    @property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes."""
        for at in range(0, len(self.content), PIECE_BYTES):
            yield self.content[at : at + PIECE_BYTES]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The first `size` bytes of a file on disk, which nobody changes."""

    name: str
    path: str
    size: int
    sensitivity: str = "payload"

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes; an OSError says that it is gone or too short."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        left = self.size
        with open(descriptor, "rb", buffering=0) as file:
            while left:
                piece = file.read(min(left, PIECE_BYTES))
                if not piece:
                    raise OSError(0, f"ended {left:,} bytes early", self.path)
                left -= len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class CutSegment:
    """A journal's segment that begins with a later frame.

    Every checksum covers the segment's id, the sequence of its first frame, and is made anew.
    """

    name: str
    path: str
    offset: int
    """Of the first frame that is kept."""
    end: int
    """Behind the last one."""
    sequence: int
    """Of the first frame that is kept."""
    sensitivity: str = field(default="payload")

    @property
    def size(self) -> int:
        """Its bytes."""
        return HEADER.size + self.end - self.offset

    def pieces(self) -> Iterator[bytes]:
        """Yield header and frames."""
        with open(self.path, "rb") as file, mapped(file.fileno()) as data:
            mark, version, _, _, segment_bytes, created = HEADER.unpack_from(data)
            yield header_of(mark, version, self.sequence, segment_bytes, created)
            piece, at = bytearray(), self.offset
            while at < self.end:
                following = at + frame_bytes(data, at)
                piece += _resealed(data[at:following], self.sequence)
                if len(piece) >= PIECE_BYTES:
                    yield bytes(piece)
                    piece.clear()
                at = following
            yield bytes(piece)


@dataclass(frozen=True, slots=True)
class GuardedSegment:
    """A journal's segment from a frame on, of which data protection takes out what must not leave.

    A message that may not be seen keeps its frame, empty. `measured` tells the size: the rules are
    applied once to learn it and once more to give the bytes, so that neither memory nor disk holds
    a segment.
    """

    name: str
    path: str
    offset: int
    """Of the first frame that is kept."""
    end: int
    """Behind the last one."""
    sequence: int
    """Of the first frame that is kept."""
    guarding: Guarding
    size: int = 0
    sensitivity: str = field(default="payload")

    def measured(self, guard: Guard) -> GuardedSegment:
        """Return it with its size; the guard counts its messages."""
        with open(self.path, "rb") as file, mapped(file.fileno()) as data:
            return replace(self, size=HEADER.size + sum(map(len, self._frames(data, guard))))

    def pieces(self) -> Iterator[bytes]:
        """Yield header and frames."""
        guard = self.guarding.open()
        if guard is None:
            raise OSError(0, self.guarding.problem, self.path)
        with open(self.path, "rb") as file, mapped(file.fileno()) as data:
            mark, version, _, _, segment_bytes, created = HEADER.unpack_from(data)
            yield header_of(mark, version, self.sequence, max(segment_bytes, self.size), created)
            for piece in self._frames(data, guard):
                yield bytes(piece)

    def _frames(self, data: mmap.mmap, guard: Guard) -> Iterator[memoryview]:
        """Yield the frames in pieces, each valid until the next."""
        room, at, behind = bytearray(PIECE_BYTES), self.offset, 0
        while at < self.end:
            written, reached = guard.frames(data, at, self.end, self.sequence, room)
            if reached == at:
                raise OSError(0, f"changed at offset {at:,} while it was read", self.path)
            yield memoryview(room)[:written]
            at = reached
            whole = at // mmap.PAGESIZE * mmap.PAGESIZE
            data.madvise(mmap.MADV_DONTNEED, behind, whole - behind)
            behind = whole


def mapped(descriptor: int) -> mmap.mmap:
    """Return a file mapped for reading."""
    return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)


def frame_bytes(data: mmap.mmap, at: int) -> int:
    """Return how far it is from a frame to the next one."""
    length = int.from_bytes(data[at : at + 4], "little") - 1
    return (FRAME.size + length + 7) & ~7


def header_of(mark: bytes, version: int, segment: int, segment_bytes: int, created: int) -> bytes:
    """Return a segment's header with its checksum."""
    bare = HEADER.pack(mark, version, 0, segment, segment_bytes, created)
    return HEADER.pack(mark, version, crc32c(bare, 0), segment, segment_bytes, created)


def _resealed(frame: bytes, segment: int) -> bytes:
    """Return a frame with the checksum that it has in the segment of that id."""
    length = int.from_bytes(frame[:4], "little") - 1
    crc = crc32c(frame[:_CRC_OFFSET], 0)
    crc = crc32c(frame[FRAME.size : FRAME.size + length], crc)
    crc = crc32c(segment.to_bytes(8, "little"), crc)
    return frame[:_CRC_OFFSET] + crc.to_bytes(4, "little") + frame[FRAME.size :]
