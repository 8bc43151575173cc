"""Bundles that runs make by themselves: when they fail, stall, lose a worker, or meet a condition.

Owns what has been made for which run and why, so that one cause makes one bundle. Looking reads
shared memory once a second; making happens one at a time, on a thread. It must not disturb a run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from byteord.capture.files import flat_of
from byteord.capture.slice import SliceWanted
from byteord.deployment.bundling import Bundling, Condition, bundling_from_flat, parse_condition
from byteord.errors import ByteorError
from byteord.rpc.bundles import Bundles, BundleWanted
from byteord.runs.admission import new_run_id
from byteord.runs.live import LiveRun
from byteord.runs.manager import RunManager
from byteord.runs.view import RunView

LOOK_S = 1.0
WAITING_MAX = 16
"""Bundles that wait to be made; further ones are given up, and said so."""
_KNOWN_MAX = 1000
_WATCHDOG = frozenset(["WORKER_DIED", "STAGE_HUNG"])
"""Reasons of a run's failure that are a worker's death."""

Report = Callable[[str, Mapping[str, object]], None]


@dataclass(slots=True)
class _Known:
    """What is remembered of one run."""

    bundling: Bundling
    conditions: list[Condition]
    made: int = 0
    said: set[str] = field(default_factory=set)
    """Causes that made one."""
    restarts: int = 0
    moved: tuple[int, ...] = ()
    still_s: float = 0.0


class AutoBundles:
    """Makes bundles without being asked. Used from the event loop alone."""

    def __init__(self, bundles: Bundles, manager: RunManager, report: Report) -> None:
        """Make nothing yet."""
        self._bundles = bundles
        self._manager = manager
        self._report = report
        self._known: dict[str, _Known] = {}
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue(WAITING_MAX)

    def heard(self, event: str, data: Mapping[str, object]) -> None:
        """Take an event of the daemon: the end of a run may be a cause."""
        if event != "run.ended" or data.get("state") != "failed" or not data.get("ran"):
            return
        run_id = str(data["run"])
        known = self._known_of(run_id)
        on = known.bundling.on if known is not None else ()
        if "failure" in on:
            self._cause(run_id, "failure")
        elif "watchdog" in on and data.get("reason") in _WATCHDOG:
            self._cause(run_id, "watchdog")

    async def run(self) -> None:
        """Look and make until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_on())
            tasks.create_task(self._make_on())

    async def finish(self, timeout_s: float) -> None:
        """Let what waits be made, within reason."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._waiting.join()

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for run in self._manager.live_runs():
                known = self._known_of(run.id)
                if known is not None and _looks(known):
                    self._look(run, known, run.view())

    def _look(self, run: LiveRun, known: _Known, view: RunView) -> None:
        restarts = sum(worker.restarts for worker in view.workers)
        if restarts > known.restarts:
            known.restarts = restarts
            if "watchdog" in known.bundling.on:
                self._cause(run.id, "watchdog")
        if "stall" in known.bundling.on and _stalled(known, view):
            self._cause(run.id, "stall")
        for condition in known.conditions:
            if any(condition.holds(value) for value in figures(view, condition)):
                self._cause(run.id, condition.text)

    def _cause(self, run_id: str, why: str) -> None:
        """Have a bundle made, once for each cause and run."""
        known = self._known_of(run_id)
        if known is None or why in known.said or known.made >= known.bundling.run_max:
            return
        known.said.add(why)
        known.made += 1
        try:
            self._waiting.put_nowait((run_id, why))
        except asyncio.QueueFull:
            self._failed(run_id, why, f"{WAITING_MAX} others wait to be made")

    async def _make_on(self) -> None:
        while True:
            run_id, why = await self._waiting.get()
            try:
                await self._make(run_id, why)
            except Exception as error:  # noqa: BLE001 - boundary: the next one may well be made
                self._failed(run_id, why, getattr(error, "message", "") or str(error))
            finally:
                self._waiting.task_done()

    async def _make(self, run_id: str, why: str) -> None:
        known = self._known_of(run_id)
        last = known.bundling.last_messages if known else 0
        wanted = BundleWanted(SliceWanted(last_messages=last), why)
        made = await self._bundles.create(run_id, new_run_id(), wanted)
        path = self._bundles.store.path(made.id)
        self._report(
            "bundle.written",
            {"run": run_id, "bundle": made.id, "reason": why, "path": path, "bytes": made.size},
        )

    def _failed(self, run_id: str, why: str, error: str) -> None:
        self._report("bundle.failed", {"run": run_id, "reason": why, "error": error})

    def _known_of(self, run_id: str) -> _Known | None:
        known = self._known.get(run_id)
        if known is None:
            try:
                kv = self._manager.documents(run_id).deployment_kv
                bundling = bundling_from_flat(flat_of(kv)) if kv else Bundling()
            except ByteorError:
                return None
            known = _Known(bundling, [parse_condition(text) for text in bundling.when])
            self._known[run_id] = known
            while len(self._known) > _KNOWN_MAX:
                del self._known[next(iter(self._known))]
        return known


def _looks(known: _Known) -> bool:
    return bool(known.conditions or {"stall", "watchdog"} & set(known.bundling.on))


def _stalled(known: _Known, view: RunView) -> bool:
    """Tell whether messages wait and nothing has moved for as long as the deployment says."""
    moved = tuple(number for role in view.roles for number in (role.received, role.published))
    waits = any(role.lag_slots for role in view.roles) or any(lane.depth for lane in view.lanes)
    still = moved == known.moved and waits
    known.moved = moved
    known.still_s = known.still_s + LOOK_S if still else 0.0
    return known.still_s >= known.bundling.stall_s


def figures(view: RunView, condition: Condition) -> list[int]:
    """Return the values of a run that a condition speaks of."""
    name, figure = condition.name, condition.figure
    if condition.what == "role":
        found = [role for role in view.roles if name in ("*", role.name)]
        return [_sum(getattr(role, figure)) for role in found]
    if condition.what == "lane":
        lanes = [lane for lane in view.lanes if name in ("*", lane.name)]
        return [_sum(getattr(lane, figure)) for lane in lanes]
    workers = [worker for worker in view.workers if name in ("*", str(worker.index))]
    return [_sum(getattr(worker, figure)) for worker in workers]


def _sum(value: object) -> int:
    """Return a count, or the sum of one by reason or of distinct errors."""
    if isinstance(value, Mapping):
        return sum(int(each) for each in value.values())
    if isinstance(value, tuple):
        return sum(int(error.count) for error in value)
    return int(value)  # type: ignore[call-overload, no-any-return]
