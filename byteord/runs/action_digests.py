"""Digests of the action journals of live runs, for the checkpoints of the audit log.

Each worker appends to its own journal in the run's directory, `actions-WORKER.journal`; a
checkpoint carries the length and the SHA-256 of each that has grown. Reads files, blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX, SUFFIX = "actions-", ".journal"
KEPT_RUNS_MAX = 512
_READ_BYTES = 1 << 20


@dataclass(slots=True)
class _Seen:
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    told: int = 0


def keep_journals(directory: str, kept: str) -> dict[str, Any]:
    """Copy the journals of a run that has ended into a directory of its own, durably.

    Returns their digests, none when the run had no journal; raises OSError.
    """
    names = _journals(directory)
    if not names:
        return {}
    os.makedirs(kept, mode=0o700, exist_ok=True)
    digests = {}
    for name in names:
        target = os.path.join(kept, name)
        shutil.copyfile(os.path.join(directory, name), target, follow_symlinks=False)
        seen = _Seen()
        _read_on(target, seen)
        digests[name] = {"bytes": seen.size, "sha256": seen.digest.hexdigest()}
        with open(target, "rb") as file:
            os.fsync(file.fileno())
    _forget_oldest(os.path.dirname(kept))
    return digests


def _forget_oldest(directory: str) -> None:
    """Keep the journals of the last runs; ids sort by time."""
    for name in sorted(os.listdir(directory))[:-KEPT_RUNS_MAX]:
        with contextlib.suppress(OSError):
            shutil.rmtree(os.path.join(directory, name))


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
            for name in _journals(directory):
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


def _journals(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted(name for name in names if name.startswith(PREFIX) and name.endswith(SUFFIX))


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
