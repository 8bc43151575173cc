"""Digests of the action journals of live runs, for the checkpoints of the audit log.

Each worker appends to its own journal in the run's directory, `actions-WORKER.journal`; a
checkpoint carries the length and the SHA-256 of each that has grown. Reads files, blocks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX, SUFFIX = "actions-", ".journal"
_READ_BYTES = 1 << 20


@dataclass(slots=True)
class _Seen:
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    told: int = 0


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
