"""Journals on disk: where they lie, what is found there, and what may be written on.

Owns recovery: a torn tail is cut, a bad frame with a good one behind it is corruption and refused
with its offset. What a frame is stands in `journal.h`.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from byteord._cext import journal
from byteord.deployment.plan import JournalPlan, LanePlan
from byteord.errors import RegionError, ResourceError, UnavailableError

_FLOCK = struct.Struct("hhqqi4x")
_SUFFIX = ".seg"


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a journal's directory."""

    segments: tuple[tuple[int, int], ...]
    """(id, time of the last frame) of each, oldest first."""
    next_sequence: int


def journal_directory(run_directory: str, lane: LanePlan) -> Path:
    """Return where a lane's segments lie: the deployment's directory, or one in the run's own."""
    plan = _plan(lane)
    return Path(plan.directory) if plan.durable else Path(run_directory, f"journal-{lane.index}")


def lock(directory: Path) -> int:
    """Take a journal for writing; the descriptor holds the lock. UnavailableError when taken."""
    path = directory / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(directory, error) from error
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        message = f"journal {directory} is written by another run; give this one its own directory"
        raise UnavailableError(message, reason="JOURNAL_IN_USE") from None
    return descriptor


def check_room(directory: Path, plan: JournalPlan) -> None:
    """Raise ResourceError JOURNAL_FULL unless the next segment fits."""
    info = os.statvfs(directory)
    free = info.f_bavail * info.f_frsize
    if free < plan.segment_bytes:
        message = (
            f"journal {directory}: the next segment wants {plan.segment_bytes} bytes, {free} are "
            "free; make segment_bytes smaller, or make room"
        )
        raise ResourceError(message, reason="JOURNAL_FULL")


def names(directory: Path) -> list[int]:
    """Return the ids of the segments that are there, oldest first."""
    try:
        found = os.listdir(directory)
    except OSError as error:
        raise unusable(directory, error) from error
    stems = [name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def recover(directory: Path) -> Found:
    """Look through all segments and cut a torn tail.

    RegionError JOURNAL_CORRUPT, with file and offset, for a bad frame with a good one behind it, a
    gap between segments, a foreign file or another version.
    """
    ids = names(directory)
    if ids and _never_begun(segment_path(directory, ids[-1])):
        segment_path(directory, ids.pop()).unlink()
    segments: list[tuple[int, int]] = []
    following = 0
    for position, number in enumerate(ids):
        path = segment_path(directory, number)
        if segments and number != following:
            raise _corrupt(path, 0, f"it begins at {number}, the one before ends at {following}")
        try:
            found = journal.scan(path.read_bytes())
        except ValueError as error:
            raise _corrupt(path, 0, str(error)) from error
        last = position == len(ids) - 1
        if found["good_behind"]:
            raise _corrupt(
                path, found["end_offset"], f"a whole one follows at {found['good_behind']}"
            )
        if last:
            _cut(path, found["end_offset"])
        segments.append((number, found["last_unix_ns"]))
        following = found["next_sequence"]
    return Found(tuple(segments), following)


def segment_path(directory: Path, number: int) -> Path:
    """Return the file of a segment."""
    return directory / f"{number:020d}{_SUFFIX}"


def read(directory: Path) -> list[tuple[int, int, int, bytes]]:
    """Return all frames as (sequence, type, time_ns, payload), for who looks at one afterwards."""
    found: list[tuple[int, int, int, bytes]] = []
    for number in names(directory):
        found += journal.frames(segment_path(directory, number).read_bytes())
    return found


def _never_begun(path: Path) -> bool:
    """Nothing of a newest segment reached the disk before the host stopped: nothing asked it to."""
    data = path.read_bytes()
    return data.count(0) == len(data)


def _cut(path: Path, offset: int) -> None:
    """Zero what lies behind the last whole frame: the file keeps its size."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(offset)
        file.truncate(size)


def _plan(lane: LanePlan) -> JournalPlan:
    if lane.journal is None:
        message = f"lane {lane.name} is no journal"
        raise ValueError(message)
    return lane.journal


def _corrupt(path: Path, offset: int, why: str) -> RegionError:
    message = (
        f"journal segment {path}: no whole frame at offset {offset}: {why}; it is not written on: "
        "move it away, or restore it"
    )
    return RegionError(message, reason="JOURNAL_CORRUPT")


def unusable(directory: Path, error: OSError) -> RegionError:
    """Return what to tell of a directory that the system does not let a journal use."""
    reason = {
        "FileNotFoundError": "JOURNAL_DIRECTORY_MISSING",
        "PermissionError": "JOURNAL_READ_ONLY",
    }.get(type(error).__name__, "JOURNAL_UNUSABLE")
    if error.errno == 30:  # noqa: PLR2004 - EROFS has no class of its own
        reason = "JOURNAL_READ_ONLY"
    message = f"journal {directory}: {error.strerror}; make it a directory that can be written"
    return RegionError(message, reason=reason)
