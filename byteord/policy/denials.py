"""Denied attempts on their way to the audit log, bounded for each principal.

Each principal has a few denials a minute written down one by one; further ones are counted and
written as one record, so that nobody fills the disk by being refused. Pure but for its counters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WRITTEN_MAX = 20
WINDOW_S = 60.0
PRINCIPALS_MAX = 1024
OTHERS = "(others)"


@dataclass(slots=True)
class _Window:
    since: float
    written: int = 0
    counted: dict[str, int] = field(default_factory=dict)


class Denials:
    """Decides which denials are written singly, and keeps count of the others."""

    def __init__(self) -> None:
        """Begin with none."""
        self._windows: dict[str, _Window] = {}

    def admit(self, principal: str, reason: str, now: float) -> bool:
        """Tell whether this denial is written by itself; otherwise it is counted."""
        known = principal in self._windows or len(self._windows) < PRINCIPALS_MAX
        name = principal if known else OTHERS
        window = self._windows.setdefault(name, _Window(now))
        if now - window.since >= WINDOW_S and not window.counted:
            window.since, window.written = now, 0
        if window.written < WRITTEN_MAX:
            window.written += 1
            return True
        window.counted[reason] = window.counted.get(reason, 0) + 1
        return False

    def take(self, now: float) -> list[Mapping[str, Any]]:
        """Return one record's data for each principal whose minute is over, and forget it."""
        over = [name for name, window in self._windows.items() if now - window.since >= WINDOW_S]
        taken: list[Mapping[str, Any]] = []
        for name in over:
            window = self._windows.pop(name)
            if window.counted:
                taken.append(
                    {
                        "principal": name,
                        "reasons": window.counted,
                        "repeated": sum(window.counted.values()),
                    }
                )
        return taken
