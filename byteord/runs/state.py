"""The life of a run as a table.

Owns the states and what may follow what. The shim is the one who knows; the daemon only refuses to
be told nonsense.
"""

from __future__ import annotations

import enum


class RunState(enum.StrEnum):
    """Where a run is in its life; values as a shim reports them."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Tell whether nothing follows."""
        return not FOLLOWERS[self]


_ENDS = frozenset({RunState.COMPLETED, RunState.STOPPED, RunState.FAILED})

FOLLOWERS: dict[RunState, frozenset[RunState]] = {
    RunState.STARTING: _ENDS | {RunState.RUNNING, RunState.DRAINING, RunState.STOPPING},
    RunState.RUNNING: _ENDS | {RunState.DRAINING, RunState.STOPPING},
    RunState.DRAINING: _ENDS | {RunState.STOPPING},
    RunState.STOPPING: _ENDS,
    RunState.COMPLETED: frozenset(),
    RunState.STOPPED: frozenset(),
    RunState.FAILED: frozenset(),
}
"""What may follow each state.

A run can end at any time; nothing goes back, nothing follows an end.
"""


def may_follow(now: RunState, then: RunState) -> bool:
    """Tell whether a run in `now` may be in `then` next; staying is always allowed."""
    return now is then or then in FOLLOWERS[now]
