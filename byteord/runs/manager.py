"""All runs of this daemon: admitting, starting, stopping, finding, watching, adopting them.

Owns the ceilings and the order of steps; `table` finds runs, `live` knows one of them.
Everything happens on one event loop; what blocks (hashing code, making and removing regions, fsync)
goes to a thread. It must not know gRPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from byteord.capture.files import RunDocuments
from byteord.deployment.model import Authority, HostFacts
from byteord.deployment.plan import RunPlan
from byteord.errors import (
    ByteorError,
    DeadlineError,
    InvalidArgumentError,
    UnavailableError,
    WrongStateError,
)
from byteord.policy.governor import Governor
from byteord.regions.create import create_run, remove_run
from byteord.runs.admission import (
    asked_of,
    asked_unix_ns,
    check_ceilings,
    code_dirs_of,
    new_run_id,
)
from byteord.runs.adoption import find_runs
from byteord.runs.captures import begin_capture
from byteord.runs.clients import RunClients
from byteord.runs.code import pin_code
from byteord.runs.describe import stuck_roles
from byteord.runs.documents import save_documents
from byteord.runs.effects import LeaseKeeper, encode_credential, with_effects, without_effects
from byteord.runs.failures import run_error
from byteord.runs.history import History
from byteord.runs.host import read_host
from byteord.runs.journal_dirs import make_directories
from byteord.runs.live import LiveRun, RunFacts
from byteord.runs.observed import Observed
from byteord.runs.plan import plan_memory_bytes, plan_of
from byteord.runs.run_code import RunCode
from byteord.runs.shims import ShimReserve, kind_of
from byteord.runs.state import RunState
from byteord.runs.steps import Steps
from byteord.runs.table import RunTable
from byteord.runs.view import Admission, FailureView, InputChunk, OutputChunk, RunView
from byteord.runs.waiting import not_started, within
from byteord.runs.watch import Watch, WatchHub
from byteord.tuning.forecast import refuse_degraded

Report = Callable[[str, Mapping[str, object]], None]
"""Takes an event (`noun.verb`) and its data: where a log would be written."""

StopMode = Literal["drain", "abort"]
Views = list[RunView]
LiveRuns = list[LiveRun]

ABORT_TIMEOUT_S = 10
_VERDICT_S = 10.0
"""How long after its own deadline a shim may take to report and end."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How this daemon holds runs. `bound`: runs end with the daemon.

    `state_dir` None: history in memory only.
    """

    authority: Authority
    regions_root: str = "/dev/shm"  # noqa: S108 - a mount point for shared memory, not a temporary directory
    state_dir: str | None = None
    bound: bool = False
    observed: Observed | None = None
    """Runs of another daemon, in place of a history."""
    shims: ShimReserve | None = None
    """Shims that wait for runs; None: each is started with its run."""
    start_timeout_s: float = 60.0
    attach_timeout_s: float = 30.0


def _silent(event: str, data: Mapping[str, object]) -> None:
    """Report nothing."""


class RunManager:
    """The runs of one daemon.

    Create it on the event loop that will use it; `adopt` before the first call.
    """

    def __init__(
        self,
        settings: RunSettings,
        *,
        governor: Governor,
        host: Callable[[], HostFacts] = read_host,
        report: Report = _silent,
        ending: Callable[[LiveRun, RunState], None] = lambda _run, _state: None,
    ) -> None:
        """Read the history; nothing else happens yet. `governor` is open.

        `ending` is called on a thread when a run has ended, with how, and its regions are still
        there.
        """
        self._ending = ending
        self._settings = settings
        self.governor = governor
        self._host = host
        self._report = report
        self._table = RunTable(settings.observed or History(settings.state_dir))
        self._live = self._table.live
        self._hub = WatchHub(self._watched, watches_max=settings.authority.watches_max)
        self.steps = Steps()
        self._clients = RunClients(
            uploads_max=settings.authority.uploads_max,
            attach_timeout_s=settings.attach_timeout_s,
            report=report,
        )
        self._closing = False
        self._shims = settings.shims or ShimReserve(settings.regions_root)
        self._leases = LeaseKeeper(
            governor,
            runs=self.live_runs,
            changed=self._publish,
            stop=self._stop_for,
            report=report,
        )
        self.code = RunCode(
            settings.authority,
            os.path.join(os.path.dirname(governor.actions_dir), "admitted-code"),
            runs=self.live_runs,
            changed=self._publish,
            report=report,
            record=governor.record,
        )
        self._keeping: asyncio.Future[Any] | None = None
        for problem in self._table.history.unreadable:
            report("history.skipped", {"problem": problem})

    # --- starting

    async def start(self, admission: Admission) -> RunView:
        """Start a run and return it once all its roles run.

        Raises ResourceError beyond a ceiling (RUNS_MAX, WORKERS_MAX, REGION_BYTES_MAX) or without
        memory (SHM_FULL), StageError, AdapterError and others when a role cannot start,
        DeadlineError when it takes too long; then nothing of it is left. A caller that goes away
        does not stop the start.
        """
        return await asyncio.shield(self.steps.spawn(self._start(admission), "starting a run"))

    async def _start(self, admission: Admission) -> RunView:
        run = self._admit(admission)
        try:
            await self._launch(run, admission)
            self._publish(run)
            await self._wait_started(run)
        finally:
            self._shims.settle()
        return self._current(run)

    async def _launch(self, run: LiveRun, admission: Admission) -> None:
        try:
            await self._begin(run, admission)
        except BaseException:
            run.release()
            self._clients.drop(run, "the run did not start")
            del self._live[run.id]
            await asyncio.to_thread(without_effects, run.plan)
            if run.directory:
                await asyncio.to_thread(remove_run, run.directory)
            raise

    def _admit(self, admission: Admission) -> LiveRun:
        """Plan the run and take its place among the live ones, before anything is allocated."""
        if self._closing:
            raise UnavailableError("this daemon is going down and starts nothing; ask the next one")
        host = self._host()
        run_id = admission.run_id or new_run_id()
        plan = plan_of(admission, run_id, host, self._settings.authority)
        refuse_degraded(plan, host, plan_memory_bytes(plan))
        self._table.check_new(plan)
        check_ceilings(plan, [each.plan for each in self._live.values()], self._settings.authority)
        facts = RunFacts(
            created_unix_ns=asked_unix_ns(admission),
            principal=admission.principal,
            client_input=admission.client_input,
            client_output=admission.client_output,
        )
        run = LiveRun(plan, facts, changed=self._publish, exited=self._exited)
        run.replay = admission.replay
        self._live[run.id] = run
        return run

    async def _begin(self, run: LiveRun, admission: Admission) -> None:
        kind = kind_of(run.plan)
        self._shims.prepare(kind)
        digests = await asyncio.to_thread(
            self.code.freeze, admission.spec.stages, run.plan.code_dirs
        )
        asked = asked_of(admission, run.id, digests)
        grant = await asyncio.to_thread(self.governor.admit, asked)
        run.facts = replace(
            run.facts,
            code_digests=digests,
            credential=encode_credential(admission.approval),
            side_effects=str(admission.deployment.effects.side_effects),
        )
        run.plan = await asyncio.to_thread(
            with_effects,
            pin_code(run.plan, digests, self.code.store.directory),
            grant,
            admission.deployment,
            self.governor.actions_dir,
        )
        await asyncio.to_thread(make_directories, run.plan)
        root, asked_ns = self._settings.regions_root, admission.asked_ns
        run.directory = await asyncio.to_thread(create_run, root, run.plan, asked_ns=asked_ns)
        run.documents = RunDocuments(admission.spec.kv, admission.deployment.kv)
        await asyncio.to_thread(begin_capture, run.plan, run.documents, digests)
        await asyncio.to_thread(save_documents, run.directory, run.documents)
        if admission.replay is not None:
            await asyncio.to_thread(admission.replay.prepare, run.directory, run.plan)
        if grant.acting:
            await self._leases.renew(run)
        bound = self._settings.bound or admission.replay is not None
        run.launch(run.directory, self._shims.take(kind), bound=bound)
        self._report(
            "run.started", {"run": run.id, "pipeline": run.name, "principal": run.facts.principal}
        )

    async def _wait_started(self, run: LiveRun) -> None:
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                await run.started.wait()
        except TimeoutError:
            await self._give_up(
                run, "START_TIMEOUT", not_started(run, self._settings.start_timeout_s)
            )
            raise DeadlineError(
                f"{not_started(run, self._settings.start_timeout_s)}; it was stopped",
                reason="START_TIMEOUT",
                details={"run": run.id},
            ) from None
        if run.final is not None and not run.ran:
            raise run_error(run.final) or WrongStateError(f"the run {run.id} ended before it ran")
        self._clients.expect(run)

    # --- ending

    async def stop(self, run_id: str, mode: StopMode = "drain", timeout_s: int = 0) -> RunView:
        """Stop a run and return it once it has ended.

        `drain` lets out what is inside (0 s: the deployment's own limit); `abort` ends it at once,
        by force if need be. Raises DeadlineError (DRAIN_TIMEOUT) naming what is stuck where,
        NotFoundError, WrongStateError (RUN_ENDED).
        """
        run = self.live(run_id)
        if mode not in ("drain", "abort"):
            raise InvalidArgumentError(f"a run is stopped by drain or abort, not {mode!r}")
        limit = timeout_s or (run.plan.drain_timeout_s if mode == "drain" else ABORT_TIMEOUT_S)
        self._report("run.stopping", {"run": run.id, "mode": mode, "timeout_s": limit})
        self._tell_stop(run, mode, limit)
        if not await within(run.ended.wait(), limit):
            await self._overdue(run, mode, limit)
        view = self._current(run)
        if view.failure is not None and view.failure.reason.startswith("DRAIN"):
            raise DeadlineError(
                f"the run {run.id} ({run.name}): {view.failure.message}; it was aborted",
                reason="DRAIN_TIMEOUT",
                details={"run": run.id},
            )
        return view

    async def _overdue(self, run: LiveRun, mode: StopMode, limit: float) -> None:
        stuck = stuck_roles(run.read())
        if mode == "abort":
            await self._give_up(
                run, "ABORT_TIMEOUT", f"it did not end within {limit:g} s of being aborted: {stuck}"
            )
            return
        ended = await within(run.ended.wait(), _VERDICT_S)
        after = "it was aborted" if ended else "it goes on draining; stop it with abort"
        raise DeadlineError(
            f"the run {run.id} ({run.name}) did not drain within {limit:g} s: {stuck}; {after}",
            reason="DRAIN_TIMEOUT",
            details={"run": run.id, "stuck": stuck},
        )

    def _tell_stop(self, run: LiveRun, mode: StopMode, timeout_s: float) -> None:
        if run.channel is not None:
            run.channel.stop(mode, max(1, int(timeout_s)))

    async def _stop_for(self, run: LiveRun, reason: str, message: str) -> None:
        """End a run because of its policy: it fails by that reason."""
        run.client_gone = FailureView(reason, message=message)
        self._report("run.stopping", {"run": run.id, "mode": "abort", "reason": reason})
        self._tell_stop(run, "abort", ABORT_TIMEOUT_S)

    async def _give_up(self, run: LiveRun, reason: str, message: str) -> None:
        """Kill a shim that does not answer; its workers are killed when it has gone."""
        run.given_up = FailureView(reason, message=message)
        self._report("shim.killed", {"run": run.id, "reason": reason, "message": message})
        if run.process is not None:
            run.process.kill()
        await within(run.ended.wait(), _VERDICT_S)

    def _exited(self, run: LiveRun) -> None:
        self.steps.spawn(self._put_away(run), f"putting away {run.id}")

    async def _put_away(self, run: LiveRun) -> None:
        """The shim has gone: keep the last of the run, remove its regions, tell everyone."""
        view, snapshot = await asyncio.to_thread(run.conclude)
        if run.replay is not None:
            await asyncio.to_thread(run.replay.harvest, run.directory, run.plan)
        await asyncio.to_thread(self._ending, run, view.state)
        view = replace(view, revision=self._hub.next_revision())
        run.release()
        await self._leases.ended(run, view.effects)
        try:
            await asyncio.to_thread(self._table.history.add, view, snapshot, run.documents)
        except OSError as error:
            self._report("history.failed", {"run": run.id, "error": str(error)})
        try:
            await asyncio.to_thread(remove_run, run.directory)
        except (OSError, ByteorError) as error:
            self._report(
                "regions.left", {"run": run.id, "directory": run.directory, "error": str(error)}
            )
        run.final, run.state = view, view.state
        self._live.pop(run.id, None)
        await asyncio.to_thread(self.code.sweep)
        self._clients.run_ended(run, run_error(view))
        self._hub.publish(view)
        reason = view.failure.reason if view.failure else ""
        ended = {
            "run": run.id,
            "state": str(view.state),
            "reason": reason,
            "ran": (run.ran or view.ready_ns > 0) and run.plan.replay is None,
        }
        self._report("run.ended", ended)
        run.started.set()
        run.ended.set()

    # --- clients of a run

    async def feed(self, run_id: str, chunks: AsyncIterator[InputChunk]) -> int:
        """Feed the ingress of a run started with `client_input`.

        Return the bytes taken once the end is on its way. If it ends in any other way, the run
        fails by that name. Raises DataError, ResourceError (UPLOADS_MAX) and what ended the run
        before its input did.
        """
        return await self._clients.feed(self.live(run_id), chunks)

    def take(self, run_id: str) -> AsyncGenerator[OutputChunk, None]:
        """Yield the egress of a run started with `client_output`, to its end mark.

        Close it when stopping early. A run that has just ended can still be taken for a minute.
        Raises NotFoundError, and what ended the run before its output did.
        """
        known = self.get(run_id).id
        return self._clients.take(known, self._table.find_live(known), lambda: self.get(known))

    # --- looking

    def list(self, *, include_ended: bool = False) -> Views:
        """Return the runs, newest first, without workers and roles."""
        return self._table.views(include_ended=include_ended)

    def get(self, run_id: str) -> RunView:
        """Return a run by its id or its name; raises as `RunTable.view`."""
        return self._table.view(run_id)

    def watch(self, run_id: str | None = None, after_revision: int = 0) -> Watch:
        """Return an asynchronous iterator of events of one run or all.

        Raises NotFoundError, ResourceError.
        """
        return self._hub.open(None if run_id is None else self.get(run_id).id, after_revision)

    async def snapshot(self, run_id: str) -> bytes:
        """Return the state of a run's regions as JSON, now or, for one that has ended, the last."""
        return await self._table.snapshot(run_id)

    def documents(self, run_id: str) -> RunDocuments:
        """Return the frozen documents of a run, live or ended; raises as `get`."""
        return self._table.documents(run_id)

    def live(self, run_id: str) -> LiveRun:
        """Return a live run as `get`; raises WrongStateError (RUN_ENDED), NotFoundError."""
        return self._table.live_run(run_id)

    def live_runs(self) -> LiveRuns:
        """Return the live runs.

        May be called from another thread, which may then only read values.
        """
        return list(self._live.values())

    @property
    def watches(self) -> int:
        """Open watches."""
        return self._hub.watches

    def _watched(self, run_id: str | None) -> Views:
        if run_id is not None:
            return [self.get(run_id)]
        return [run.view() for run in self._live.values()]

    def _current(self, run: LiveRun) -> RunView:
        return run.final or run.view()

    # --- the daemon's own life

    async def adopt(self) -> None:
        """Take over the runs that an earlier daemon left.

        Follow those that live, record and remove the others.
        """
        for found in await asyncio.to_thread(find_runs, self._settings.regions_root):
            if found.problem:
                self._report(
                    "regions.refused", {"directory": found.directory, "problem": found.problem}
                )
            elif found.plan is not None and found.plan.run_id not in self._live:
                await self._adopt(found.plan, found.directory)
        self._keeping = asyncio.gather(self._leases.keep(), self.code.watch.keep())

    async def _adopt(self, plan: RunPlan, directory: str) -> None:
        run = LiveRun(plan, RunFacts.load(directory), changed=self._publish, exited=self._exited)
        self._live[run.id] = run
        run.directory = directory
        if run.take_over(directory):
            if not await within(run.reported.wait(), _VERDICT_S):
                run.note("ShimSilent", "true", "NoReport", "its shim lives and does not report")
            run.note("Adopted", "true", "DaemonRestarted", "taken over from an earlier daemon")
            self._report("run.adopted", {"run": run.id, "pipeline": run.name})
            self._publish(run)
            return
        await self._put_away(run)

    async def check(self, admission: Admission) -> None:
        """Raise what `start` would raise about code and policy; nothing is counted."""
        code_dirs = code_dirs_of(admission, self._settings.authority)
        digests = await asyncio.to_thread(self.code.digests, admission.spec.stages, code_dirs)
        await asyncio.to_thread(self.governor.check, asked_of(admission, "", digests))

    async def close(self) -> None:
        """Let go: runs live on for the next daemon; `bound` ones are aborted and waited for."""
        self._closing = True
        self._shims.close()
        self._hub.going_down()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._settings.bound:
            await asyncio.gather(*(self._end_bound(run) for run in self.live_runs()))
        self._clients.close()
        for run in self.live_runs():
            self._clients.drop(run, "the daemon is going down")
            run.release()
        await self.steps.finish(_VERDICT_S)

    async def _end_bound(self, run: LiveRun) -> None:
        with contextlib.suppress(ByteorError):
            await self.stop(run.id, "abort")

    def _publish(self, run: LiveRun) -> None:
        run.revision = self._hub.next_revision()
        self._hub.publish(run.view())
