"""The runs that a daemon knows, live and ended, and how one is found by its id or its name.

Owns the table of live runs and the history of ended ones; what is done to a run is the manager's.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from byteord.capture.files import RunDocuments
from byteord.deployment.plan import RunPlan
from byteord.errors import AlreadyExistsError, NotFoundError, WrongStateError
from byteord.runs.history import History
from byteord.runs.live import LiveRun
from byteord.runs.observed import Observed
from byteord.runs.view import RunView


class RunTable:
    """All runs of one daemon. On its event loop, but for reading `live`."""

    def __init__(self, history: History | Observed) -> None:
        """Know the ended runs of `history` and no live one."""
        self.history = history
        self.live: dict[str, LiveRun] = {}

    def check_new(self, plan: RunPlan) -> None:
        """Raise AlreadyExistsError for an id that a run has, or had."""
        if plan.run_id in self.live or self.history.get(plan.run_id) is not None:
            raise AlreadyExistsError(f"the run {plan.run_id} exists already: take another id")

    def views(self, *, include_ended: bool) -> list[RunView]:
        """Return the runs, newest first, without workers and roles."""
        views = [run.view(light=True) for run in self.live.values()]
        if include_ended:
            ended = (view for view in self.history.views() if view.id not in self.live)
            views += [replace(view, workers=(), roles=(), lanes=()) for view in ended]
        return sorted(views, key=lambda view: (view.created_unix_ns, view.id), reverse=True)

    def view(self, run_id: str) -> RunView:
        """Return a run by its id, or by its name.

        The only live one, else the newest ended one, that has it. Raises NotFoundError, or
        WrongStateError (AMBIGUOUS_NAME) when several live runs have the name.
        """
        run = self.find_live(run_id)
        return run.view() if run is not None else self.ended(run_id)

    def find_live(self, run_id: str) -> LiveRun | None:
        """Return the live run of that id or name, None if there is none; raises as `view`."""
        if run_id in self.live:
            return self.live[run_id]
        if self.history.get(run_id) is not None:
            return None
        named = [run for run in self.live.values() if run.name == run_id]
        if len(named) > 1:
            ids = ", ".join(run.id for run in named)
            raise WrongStateError(
                f"{len(named)} live runs are called {run_id!r}: name one by its id ({ids})",
                reason="AMBIGUOUS_NAME",
            )
        return named[0] if named else None

    def live_run(self, run_id: str) -> LiveRun:
        """Return a live run; raises as `view`, and WrongStateError (RUN_ENDED)."""
        run = self.find_live(run_id)
        if run is None:
            view = self.ended(run_id)
            raise WrongStateError(
                f"the run {view.id} ({view.name}) has ended: {view.state}", reason="RUN_ENDED"
            )
        return run

    def ended(self, run_id: str) -> RunView:
        """Return the ended run of that id, else the newest of that name; raises NotFoundError."""
        view = self.history.get(run_id)
        if view is not None:
            return view
        for view in reversed(self.history.views()):
            if view.name == run_id:
                return view
        live = ", ".join(f"{run.id} ({run.name})" for run in self.live.values()) or "none"
        raise NotFoundError(
            f"no run {run_id!r}; live runs: {live}",
            reason="RUN_NOT_FOUND",
            details={"seen": run_id},
        )

    async def snapshot(self, run_id: str) -> bytes:
        """Return the state of a run's regions as JSON, now or, for one that has ended, the last."""
        run = self.find_live(run_id)
        if run is not None:
            return run.snapshot()
        view = self.ended(run_id)
        kept = await asyncio.to_thread(self.history.snapshot, view.id)
        if kept is None:
            raise NotFoundError(
                f"the last snapshot of the run {view.id} is gone: its file was removed or damaged"
            )
        return kept

    def documents(self, run_id: str) -> RunDocuments:
        """Return the frozen documents of a run, live or ended; raises as `view`."""
        run = self.find_live(run_id)
        return run.documents if run is not None else self.history.documents(self.view(run_id).id)
