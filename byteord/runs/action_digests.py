"""Digests of what actions leave behind, for the audit log, and how long it stays.

Each worker appends to files of its own in the run's directory of actions: journals and dead
letters. A checkpoint carries the length and the SHA-256 of each that has grown. Blocks on files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from byteord.stages.actions.files import is_journal, is_letters

KEPT_RUNS_MAX, KEPT_BYTES_MAX = 512, 1 << 30
_READ_BYTES = 1 << 20


@dataclass(slots=True)
class _Seen:
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    told: int = 0


def keep_files(directory: str) -> dict[str, Any]:
    """Make the files of a run that has ended durable and return their digests.

    A run that left none leaves no directory. Raises OSError.
    """
    digests = {}
    for name in _files(directory):
        path, seen = os.path.join(directory, name), _Seen()
        _read_on(path, seen)
        digests[name] = {"bytes": seen.size, "sha256": seen.digest.hexdigest()}
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    if not digests:
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return digests


def forget_oldest(
    top: str, live: Collection[str], *, runs_max: int = KEPT_RUNS_MAX,
    bytes_max: int = KEPT_BYTES_MAX,
) -> list[str]:  # fmt: skip
    """Remove the files of ended runs beyond a number or size, oldest first, and return their ids.

    Runs without dead letters go first. Ids sort by time.
    """
    names = [name for name in sorted(os.listdir(top)) if name not in live]
    sizes = {name: _size(os.path.join(top, name)) for name in names}
    total, count, gone = sum(sizes.values()), len(names), []
    for name in sorted(names, key=lambda each: (_has_letters(os.path.join(top, each)), each)):
        if count <= runs_max and total <= bytes_max:
            break
        shutil.rmtree(os.path.join(top, name), ignore_errors=True)
        count, total = count - 1, total - sizes[name]
        gone.append(name)
    return gone


def _size(directory: str) -> int:
    return sum(os.lstat(os.path.join(directory, name)).st_size for name in _files(directory))


def _has_letters(directory: str) -> bool:
    return any(is_letters(name) for name in _files(directory))


class ActionDigests:
    """Reads what was appended since the last time, and only that."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._seen: dict[str, _Seen] = {}

    def take(self, runs: Mapping[str, str]) -> dict[str, Any]:
        """Return `{run/journal: {bytes, sha256}}` of journals that have grown since last told.

        `runs`: directory by run id. Journals of other runs are forgotten.
        """
        grown: dict[str, Any] = {}
        present: set[str] = set()
        for run_id, directory in runs.items():
            for name in _files(directory):
                key = f"{run_id}/{name}"
                present.add(key)
                seen = self._seen.setdefault(key, _Seen())
                _read_on(os.path.join(directory, name), seen)
                if seen.size > seen.told:
                    seen.told = seen.size
                    grown[key] = {"bytes": seen.size, "sha256": seen.digest.hexdigest()}
        for key in [key for key in self._seen if key not in present]:
            del self._seen[key]
        return grown


def _files(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted(name for name in names if is_journal(name) or is_letters(name))


def _read_on(path: str, seen: _Seen) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return
    with open(descriptor, "rb", buffering=0) as file:
        file.seek(seen.size)
        while block := file.read(_READ_BYTES):
            seen.digest.update(block)
            seen.size += len(block)
