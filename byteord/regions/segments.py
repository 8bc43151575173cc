"""Segments of a journal or a capture, read: what is there, what is missing, what is wanted.

Owns finding and mapping the files and saying precisely what is wrong with one. It writes nothing,
and cuts nothing: a torn tail is where the recording ended.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from byteord._cext import journal
from byteord._cext.replay import UINT64_MAX, Segments
from byteord.errors import DataError, NotFoundError

SUFFIX = ".seg"
SEGMENTS_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Range:
    """Which messages are wanted; None: no bound. Times are nanoseconds since the epoch."""

    from_sequence: int | None = None
    to_sequence: int | None = None
    from_unix_ns: int | None = None
    to_unix_ns: int | None = None
    last: int = 0
    """Only so many of the last ones; 0: all."""

    @property
    def whole(self) -> bool:
        """Tell whether it leaves nothing out."""
        return self == Range()

    @property
    def begins_at_the_start(self) -> bool:
        """Tell whether nothing before it is left out."""
        return not self.last and not self.from_sequence and self.from_unix_ns is None


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in a journal, and what of it a range selects.

    `low` and `high` bound the chosen frames by the journal's own count; sequences are those of the
    stream that was recorded.
    """

    frames: int
    first: int
    last: int
    missing: int
    gaps: tuple[tuple[int, int], ...]
    """(first missing sequence, how many), the first 64."""
    low: int
    high: int
    low_sequence: int
    high_sequence: int
    chosen: int
    chosen_bytes: int
    chosen_ns: int
    """Ingress time of the first chosen message, by the clock of the run."""
    chosen_missing: int
    limited: bool
    """There was more in the range than the limit of bytes."""


class Recording:
    """One journal: its directory, mapped."""

    def __init__(self, directory: str | Path) -> None:
        """Open every segment; DataError names file and offset of what is not right."""
        self.directory = str(directory)
        there = list(_there(_segments(self.directory)))
        self.paths = tuple(path for path, _ in there)
        self.mapped = tuple(data for _, data in there)
        try:
            self.segments = Segments(self.mapped)
        except ValueError as error:
            index, _, why = str(error).partition(": ")
            raise _bad(self.paths[int(index)], 0, why) from error
        self._check()

    def _check(self) -> None:
        """See that each segment is whole and followed by the next."""
        following: int | None = None
        for path, data in zip(self.paths, self.mapped, strict=True):
            found = journal.scan(data)
            if following is not None and found["id"] != following:
                raise _bad(
                    path, 0, f"it begins at {found['id']}; the one before ends at {following}"
                )
            if found["good_behind"]:
                raise _bad(
                    path, found["end_offset"], f"a whole one follows at {found['good_behind']}"
                )
            following = found["next_sequence"]
        self._end = following or 0

    @property
    def end(self) -> int:
        """The journal's own count behind its last frame."""
        return self._end

    def survey(self, wanted: Range, *, by_rx: bool, bytes_max: int = UINT64_MAX) -> Survey:
        """Return what is there and what `wanted` selects, at most `bytes_max` of payload.

        `by_rx`: frames tell the position in the recorded stream; else their own count is it. The
        last ones are those of what the other bounds select.
        """
        behind = 0
        if wanted.last and wanted != Range(last=wanted.last):
            bounded = self.survey(replace(wanted, last=0), by_rx=by_rx)
            behind = self._end - bounded.high if bounded.chosen else 0
        found = self.segments.survey(
            by_rx=by_rx,
            from_sequence=wanted.from_sequence or 0,
            to_sequence=UINT64_MAX if wanted.to_sequence is None else wanted.to_sequence,
            from_unix_ns=wanted.from_unix_ns or 0,
            to_unix_ns=UINT64_MAX if wanted.to_unix_ns is None else wanted.to_unix_ns,
            last=wanted.last + behind if wanted.last else 0,
            bytes_max=bytes_max,
        )
        return Survey(**{**found, "gaps": tuple(found["gaps"])})


def _segments(directory: str) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIX))
    except OSError as error:
        raise NotFoundError(
            f"{directory}: {error.strerror}; wanted a directory with segments (*{SUFFIX})"
        ) from error
    if len(names) > SEGMENTS_MAX:
        raise DataError(f"{directory}: {len(names)} segments; wanted {SEGMENTS_MAX} at most")
    return [os.path.join(directory, name) for name in names]


def _there(paths: list[str]) -> Iterator[tuple[str, mmap.mmap | bytes]]:
    """Yield each segment mapped, but the first ones that retention took since they were listed."""
    begun = False
    for path in paths:
        try:
            data = _map(path)
        except FileNotFoundError as error:
            if begun:
                raise _bad(path, 0, error.strerror or str(error)) from error
            continue
        except OSError as error:
            raise _bad(path, 0, error.strerror or str(error)) from error
        begun = True
        yield path, data


def _map(path: str) -> mmap.mmap | bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        return mmap.mmap(descriptor, size, prot=mmap.PROT_READ) if size else b""
    finally:
        os.close(descriptor)


def _bad(path: str, offset: int, why: str) -> DataError:
    place = "/".join(path.split("/")[-3:])  # which stream it is of, wherever the source lies
    return DataError(
        f"segment {place}: no whole frame at offset {offset}: {why}; get it again from where it "
        "was recorded",
        reason="CAPTURE_DAMAGED",
        details={"file": path, "offset": str(offset)},
    )
