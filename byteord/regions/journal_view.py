"""A journal lane as those see it who only look: what its writer has committed, and its frames.

Owns reading them by place. Files are read, never mapped: one that is cut meanwhile is a short read.
It writes nothing and waits for nothing.
"""

from __future__ import annotations

import os
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

SLOT_HEADER_BYTES, FRAME_HEADER_BYTES = 16, 48
BEGIN = 64
"""Bytes of a segment's header: its first frame follows."""
READ_BYTES_MAX = 1 << 20
Frame = tuple[int, int, int, int, bytes]
"""(sequence in the journal, sequence that the writer read it at, type, time, payload)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two frames: how many messages lie before it, and in which segment where."""

    position: int
    segment: int
    offset: int
    """0: nothing was written yet; the first segment is to be that of the run's first frame."""


class JournalView:
    """One journal of a run. Positions are the run's own count, as those of its other lanes."""

    def __init__(self, directory: str, plan: RunPlan, lane: LanePlan) -> None:
        """Attach; RegionError when the index or the control region is not sound."""
        [ring] = lane_rings(plan, lane)
        self.unit, word, self._words = _writer(plan, ring)
        self._three = slice(word, word + 3)
        self.control = attach(Path(directory, CONTROL), control.Control)
        self._index = attach_tap(Path(directory, ring_files(plan)[ring]))
        self.directory = journal_directory(directory, lane)
        self.slot_bytes = lane.slot_bytes - SLOT_HEADER_BYTES + FRAME_HEADER_BYTES

    @property
    def base(self) -> int | None:
        """The journal's own count of the run's first message; None: not known yet."""
        base: int | None = self._index.journal_base
        return base

    @property
    def end_sequence(self) -> int:
        """Sequence of the end; 2**64 - 1 until there is one."""
        return self._index.end_sequence

    @property
    def lost(self) -> bool:
        """A page of a region turned out to be gone: nothing of it is to be believed."""
        return self._index.lost

    def committed(self) -> Mark:
        """Return the place behind what the writer has committed, an end with it."""
        return Mark(*self.control.words(self.unit, self._words)[self._three])

    def segments(self) -> list[int]:
        """Return the ids of the segments that are there, oldest first: each its first sequence."""
        if not self.directory.exists():
            return []  # it went with its run
        return names(self.directory)

    def frames(self, at: Mark, most: int) -> list[Frame] | None:
        """Return up to `most` frames from a place on, fewer at the end of a segment or of a read.

        None: its segment is gone, or yet to come. RegionError when it cannot be read.
        """
        size = max(min(READ_BYTES_MAX, most * self.slot_bytes), self.slot_bytes)
        path = segment_path(self.directory, at.segment)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            text = f"journal segment {path}: {error.strerror}; it is read as the caller's user"
            raise RegionError(text, reason="JOURNAL_NOT_READABLE") from error
        try:
            data = os.pread(descriptor, BEGIN, 0) + os.pread(descriptor, size, at.offset)
            return journal.entries(data)[:most]
        except ValueError:
            return None  # its header is yet to come
        finally:
            os.close(descriptor)


def behind(at: Mark, frame: Frame, base: int) -> Mark:
    """Return the place behind a frame that lies at `at`."""
    sequence, payload = frame[0], frame[-1]
    frame_bytes = (FRAME_HEADER_BYTES + len(payload) + 7) & ~7
    return Mark(sequence - base + 1, at.segment, at.offset + frame_bytes)


def _writer(plan: RunPlan, ring: int) -> tuple[int, int, int]:
    """Return the unit that writes a journal, the first of its words, and how many the unit has."""
    for index, unit in enumerate(plan.units):
        ports = unit_ports(plan, unit)
        for port in ports.tx:
            if port.ring == ring:
                return index, port.word, ports.words
    raise AssertionError(ring)


def attach_tap(path: Path) -> Tap:
    """Open, map and validate a ring's region to look at; RegionError."""
    descriptor = open_region(path)
    try:
        return Tap(descriptor)
    except ValueError as error:
        raise RegionError(f"region {path}: {error}; it is not used") from error
    finally:
        os.close(descriptor)
