"""Live messages of a journal lane, for somebody who looks: read from its segments as they grow.

Owns where the next look begins: behind what was committed at the last one, so that nothing has to
be searched. Files are read, never mapped: one that is cut meanwhile is a short read. It writes
nothing and waits for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from byteord._cext import control, journal
from byteord._cext.tap import Tap
from byteord.deployment.plan import LanePlan, RunPlan
from byteord.deployment.ports import lane_rings, ring_files, unit_ports
from byteord.errors import RegionError
from byteord.regions.create import CONTROL
from byteord.regions.journals import journal_directory, names, segment_path
from byteord.regions.reader import attach, open_region

_SLOT_HEADER_BYTES, _FRAME_HEADER_BYTES = 16, 48
_BEGIN = 64
"""Bytes of a segment's header: its first frame follows."""
_READ_BYTES_MAX = 1 << 20
_Message = tuple[int, int, int, int, bytes]


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place between two frames: how many messages lie before it, and in which segment where."""

    position: int
    segment: int
    offset: int
    """0: nothing was written yet; the first segment is to be that of the run's first frame."""


class JournalTap:
    """One journal, read from its last committed frame on; looked at as a `Tap` of a ring is."""

    def __init__(self, directory: str, plan: RunPlan, lane: LanePlan) -> None:
        """Attach; RegionError when the index or the control region is not sound."""
        [ring] = lane_rings(plan, lane)
        self._unit, word, self._words = _writer(plan, ring)
        self._three = slice(word, word + 3)
        self._control = attach(Path(directory, CONTROL), control.Control)
        self._index = attach_tap(Path(directory, ring_files(plan)[ring]))
        self._directory = journal_directory(directory, lane)
        self.slot_bytes = lane.slot_bytes - _SLOT_HEADER_BYTES + _FRAME_HEADER_BYTES
        self.missed = 0
        self._at = self._committed()

    @property
    def position(self) -> int:
        """Sequence of the next message to look at."""
        return self._at.position

    @property
    def waiting(self) -> int:
        """Messages committed after the last one taken, an end with them."""
        return self._committed().position - self._at.position

    @property
    def end_sequence(self) -> int:
        """Sequence of the end; 2**64 - 1 until there is one."""
        return self._index.end_sequence

    @property
    def lost(self) -> bool:
        """A page of a region turned out to be gone: nothing of it is to be believed."""
        return self._index.lost

    def skip(self, sequences: int) -> None:
        """Pass over messages on purpose; they count as missed."""
        here = self._committed()
        self.missed += sequences
        self._at = _Mark(self._at.position + sequences, here.segment, here.offset)

    def take(self, _cells: Iterable[int], limit: int) -> list[_Message]:
        """Return up to `limit` messages after the last one: (sequence, time_ns, type, 0, payload).

        What was committed meanwhile and is more than that is passed over, and counts as missed: so
        does what retention took first. RegionError when a segment cannot be read.
        """
        here, at, base = self._committed(), self._at, self._index.journal_base
        if here.position == at.position or base is None:
            return []
        if not at.offset:
            at = _Mark(at.position, base, _BEGIN)
        found: list[_Message] = []
        while len(found) < limit and at.position < here.position:
            frames = self._frames(at, min(limit - len(found), here.position - at.position))
            for sequence, _, kind, time_ns, payload in frames:
                found.append((sequence - base, time_ns, kind, 0, payload))
                behind = at.offset + _frame_bytes(payload)
                at = _Mark(sequence - base + 1, at.segment, behind)
            if not frames:
                following = [each for each in self._segments() if each > at.segment]
                if not following or following[0] > here.segment:
                    break
                at = _Mark(following[0] - base, following[0], _BEGIN)
        begin, end = self._at.position, self.end_sequence
        self.missed += here.position - begin - len(found) - (begin <= end < here.position)
        self._at = here
        return found

    def _committed(self) -> _Mark:
        return _Mark(*self._control.words(self._unit, self._words)[self._three])

    def _segments(self) -> list[int]:
        if not self._directory.exists():
            return []  # it went with its run
        return names(self._directory)

    def _frames(self, at: _Mark, most: int) -> list[tuple[int, int, int, int, bytes]]:
        size = min(_READ_BYTES_MAX, most * self.slot_bytes)
        path = segment_path(self._directory, at.segment)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return []  # retention took it, or it is yet to come
        except OSError as error:
            text = f"journal segment {path}: {error.strerror}; a tap reads it as the daemon's user"
            raise RegionError(text, reason="JOURNAL_NOT_READABLE") from error
        try:
            data = os.pread(descriptor, _BEGIN, 0) + os.pread(descriptor, size, at.offset)
            return journal.entries(data)[:most]
        except ValueError:
            return []  # its header is yet to come
        finally:
            os.close(descriptor)


def _writer(plan: RunPlan, ring: int) -> tuple[int, int, int]:
    """Return the unit that writes a journal, the first of its words, and how many the unit has."""
    for index, unit in enumerate(plan.units):
        ports = unit_ports(plan, unit)
        for port in ports.tx:
            if port.ring == ring:
                return index, port.word, ports.words
    raise AssertionError(ring)


def _frame_bytes(payload: bytes) -> int:
    return (_FRAME_HEADER_BYTES + len(payload) + 7) & ~7


def attach_tap(path: Path) -> Tap:
    """Open, map and validate a ring's region to look at; RegionError."""
    descriptor = open_region(path)
    try:
        return Tap(descriptor)
    except ValueError as error:
        raise RegionError(f"region {path}: {error}; it is not used") from error
    finally:
        os.close(descriptor)
