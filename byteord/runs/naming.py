"""Which run is meant: an id, the name of the only live one, the newest ended one of a name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from byteord.errors import NotFoundError, WrongStateError
from byteord.runs.live import LiveRun
from byteord.runs.view import RunView


class Ended(Protocol):
    """The ended runs, or what stands in for them."""

    def get(self, run_id: str) -> RunView | None:
        """Return a run, or None."""

    def views(self) -> Sequence[RunView]:
        """Return all, oldest first."""


def only_named(live: Collection[LiveRun], name: str) -> LiveRun | None:
    """Return the live run of a name, None without one; WrongStateError when there are several."""
    named = [run for run in live if run.name == name]
    if len(named) > 1:
        ids = ", ".join(run.id for run in named)
        raise WrongStateError(
            f"{len(named)} live runs are called {name!r}: name one by its id ({ids})",
            reason="AMBIGUOUS_NAME",
        )
    return named[0] if named else None


def ended_view(ended: Ended, live: Collection[LiveRun], run_id: str) -> RunView:
    """Return an ended run by its id, else the newest of that name; raises NotFoundError."""
    view = ended.get(run_id)
    if view is not None:
        return view
    for view in reversed(ended.views()):
        if view.name == run_id:
            return view
    known = ", ".join(f"{run.id} ({run.name})" for run in live) or "none"
    raise NotFoundError(
        f"no run {run_id!r}; live runs: {known}",
        reason="RUN_NOT_FOUND",
        details={"seen": run_id},
    )
