"""Replays of this daemon: prepared, admitted, run, compared, written down.

Owns the order of these steps, and that an audit is written whatever becomes of a replay. A replay
is a run like any other while it lives; what to make of what it left is decided in
`byteord.capture`. It must not know messages of the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byteord.capture.divergence import Step, first_to_differ, last_hand, steps_of
from byteord.capture.recorded import Recorded
from byteord.capture.replay_audit import replay_audit
from byteord.capture.verdict import Egress, Reason, Verdict, egress_of, overall, reasons_of
from byteord.errors import ByteorError, DataError, WrongStateError
from byteord.regions.captures_check import check_capture
from byteord.rpc import replay_result as results
from byteord.rpc.control import Control
from byteord.rpc.replay_audits import ReplayAudits
from byteord.rpc.replay_bundle import capture_place
from byteord.rpc.replay_hold import Holds, Place, refuse_if_gone
from byteord.rpc.replay_prepare import Facts, Prepared, prepare, run_place
from byteord.rpc.replay_sources import Piece, ReplaySources, Uploaded
from byteord.rpc.replay_trace import Tracer
from byteord.rpc.replay_wanted import ReplayDone, ReplayProgress, ReplayWanted
from byteord.runs.admission import new_run_id
from byteord.runs.captures import host_conditions
from byteord.runs.replay_job import ReplayJob
from byteord.runs.view import Admission, RunView

Event = ReplayProgress | ReplayDone
LOOK_S = 0.2
CANCELLED, DAEMON_ENDED = "cancelled", "daemon_ended"
"""What stopped a replay whose caller went away, and one whose daemon did."""
STALLED_S = 60.0
"""A stage that takes longer for one call is the shim's to end."""
_NOT_BEGUN = frozenset({"START_FAILED", "TUNING_DEGRADED", "START_TIMEOUT"})


@dataclass(slots=True)
class _Pass:
    """One run of a replay that has ended."""

    view: RunView
    job: ReplayJob


@dataclass(slots=True)
class _Outcome:
    """What was found out about a pass."""

    reasons: list[Reason]
    egresses: list[Egress]
    steps: list[Step]
    difference: results.Difference | None = None


@dataclass(slots=True)
class _Asked:
    """One call."""

    id: str
    wanted: ReplayWanted
    principal: str
    sees: bool
    began_unix_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    facts: Facts = field(default_factory=Facts)
    job: ReplayJob | None = None
    """The pass over the input, once there is one."""

    @property
    def actions(self) -> list[dict[str, Any]]:
        """What was attempted so far, as the audit lists it."""
        return results.action_rows(self.job.found, self.job.made) if self.job is not None else []


class Replays:
    """Runs replays, one for each call."""

    def __init__(self, control: Control, directory: str) -> None:
        """Keep audits in `directory`, uploads below it; conclude what an earlier daemon left."""
        self._control = control
        self._manager = control.manager
        self._audits = ReplayAudits(directory)
        for replay_id, facts in self._audits.left():
            self._conclude_left(replay_id, facts)
        self._holds = Holds(os.path.join(directory, "held"))
        self._sources = ReplaySources(
            os.path.join(directory, "uploads"), uploads_max=control.authority.uploads_max
        )

    async def upload(self, principal: str, pieces: AsyncIterator[Piece]) -> Uploaded:
        """Take a source; raises what `ReplaySources.take` raises."""
        return await self._sources.take(principal, pieces)

    async def replay(
        self, wanted: ReplayWanted, principal: str, *, sees: bool
    ) -> AsyncGenerator[Event, None]:
        """Yield progress, then what it came to; close it to end the replay early.

        `sees`: the caller may see payloads. Raises ByteorError for one that is refused, which is
        written down too.
        """
        asked = _Asked(wanted.request_id, wanted, principal, sees)
        if not wanted.validate_only:
            claim = {"principal": principal, "mode": _mode(asked), "at": asked.began_unix_ms}
            await asyncio.to_thread(self._audits.claim, asked.id, claim)
        try:
            yield ReplayProgress("", 0, 0, "reading")
            place = await self._place(asked)
            prepared = await asyncio.to_thread(
                prepare, self._control, wanted, place, asked.facts, sees=sees
            )
            await asyncio.to_thread(self._holds.catch_up, place)
            if wanted.validate_only:
                await asyncio.to_thread(_check_whole, prepared.recorded)
                await self._manager.check(self._admission(asked, prepared, prepared.job))
                yield ReplayDone(
                    {"verdict": "", "selected": prepared.selected, "mode": _mode(asked)}
                )
                return
            try:
                async with contextlib.aclosing(self._run(asked, prepared)) as events:
                    async for event in events:
                        yield event
            except ByteorError:
                inputs = prepared.job.inputs
                await asyncio.to_thread(refuse_if_gone, place, prepared.recorded, inputs)
                raise
        except ByteorError as error:
            if not wanted.validate_only:
                await asyncio.to_thread(self._refused, asked, error)
            error.details.setdefault("replay", asked.id)
            raise
        except BaseException as error:  # its caller went away, or a bug: written down all the same
            if not wanted.validate_only:
                await asyncio.to_thread(self._cut_short, asked, error)
            raise
        finally:
            if wanted.source_id:
                await self._sources.forget(wanted.source_id)
            await asyncio.to_thread(self._holds.release, asked.id)

    async def _place(self, asked: _Asked) -> Place:
        wanted = asked.wanted
        if wanted.source_id:
            uploaded = self._sources.directory(wanted.source_id, asked.principal)
            directory = await asyncio.to_thread(capture_place, uploaded)
            return Place(directory, directory)
        run_id = self._manager.get(wanted.run_id).id
        snapshot = json.loads(await self._manager.snapshot(run_id)) if wanted.lane else {}
        lies = await asyncio.to_thread(run_place, self._control, run_id, wanted.lane, snapshot)
        return await asyncio.to_thread(self._holds.take, asked.id, lies)

    # --- running

    async def _run(self, asked: _Asked, prepared: Prepared) -> AsyncGenerator[Event, None]:
        done: _Pass | None = None
        asked.job = prepared.job
        async with contextlib.aclosing(self._pass(asked, prepared, prepared.job)) as events:
            async for event in events:
                if isinstance(event, _Pass):
                    done = event
                else:
                    yield event
        assert done is not None  # noqa: S101  a pass ends with itself, or raises
        reasons = self._reasons(asked, prepared, done, cut=_is_cut(asked, prepared))
        egresses = self._egresses(asked, prepared, done, reasons)
        if any(each.verdict is Verdict.DIFFERENT for each in egresses):
            reasons = self._reasons(asked, prepared, done, cut=False)  # the last batch may be why
            egresses = self._egresses(asked, prepared, done, reasons)
        steps = _steps_of(done) if asked.wanted.step is not None else []
        outcome = _Outcome(reasons, egresses, steps)
        if not asked.wanted.execute and asked.wanted.step is None:
            tracer = Tracer(prepared)
            found = await asyncio.to_thread(tracer.locate, egresses)
            if found is not None:
                so_far = _replayed(done.view)
                yield ReplayProgress(done.view.id, so_far, prepared.selected, "tracing")
                now, then = await self._traces(asked, prepared, tracer)
                stage = first_to_differ(now, then) if then else last_hand(now)
                outcome.difference = replace(found, steps=tuple(now), stage=stage)
        yield await asyncio.to_thread(self._conclude, asked, prepared, done, outcome)

    async def _traces(
        self, asked: _Asked, prepared: Prepared, tracer: Tracer
    ) -> tuple[list[Step], list[Step]]:
        """Follow the message that differs, by this spec and, if it is another, the recorded."""
        if tracer.job is None:
            return [], []
        now = await self._traced(asked, prepared, tracer.job)
        if not prepared.spec_changed:
            return now, []
        try:
            recorded = await asyncio.to_thread(
                prepare,
                self._control,
                replace(asked.wanted, spec=None, deployment=None, execute=False, step=None),
                Place(*[prepared.recorded.directory] * 2),
                Facts(),
                sees=asked.sees,
            )
            return now, await self._traced(asked, recorded, tracer.again())
        except ByteorError:
            return now, []  # the recorded spec does not run here: the trace of this one has to do

    async def _traced(self, asked: _Asked, prepared: Prepared, job: ReplayJob) -> list[Step]:
        done: _Pass | None = None
        async with contextlib.aclosing(self._pass(asked, prepared, job)) as events:
            async for event in events:
                done = event if isinstance(event, _Pass) else done
        return _steps_of(done) if done is not None else []

    async def _pass(
        self, asked: _Asked, prepared: Prepared, job: ReplayJob
    ) -> AsyncGenerator[ReplayProgress | _Pass, None]:
        """Run once over the input; the last value is the pass itself."""
        run_id = new_run_id()
        admission = replace(self._admission(asked, prepared, job), run_id=run_id)
        starting = asyncio.create_task(self._control.start(admission))
        try:
            try:
                await asyncio.shield(starting)
            except ByteorError:
                view = self._ended(run_id)
                if view is None or not job.found.areas:
                    raise
            async for progress in self._follow(run_id, prepared.selected, job.speed):
                yield progress
        finally:
            await self._end(run_id, starting)
        yield _Pass(self._manager.get(run_id), job)

    async def _end(self, run_id: str, starting: asyncio.Task[RunView]) -> None:
        """Abort a run, also one that still starts: none goes on, or acts, for nobody."""
        await asyncio.wait([starting])
        with contextlib.suppress(ByteorError):
            starting.result()
        with contextlib.suppress(ByteorError):
            await self._manager.stop(run_id, "abort")

    def _ended(self, run_id: str) -> RunView | None:
        """Return a run that ended before it was seen running; None: it could not begin."""
        with contextlib.suppress(ByteorError):
            view = self._manager.get(run_id)
            if view.failure is None or view.failure.reason not in _NOT_BEGUN:
                return view
        return None

    async def _follow(
        self, run_id: str, selected: int, speed: float
    ) -> AsyncGenerator[ReplayProgress, None]:
        """Yield how far it is until it has ended; WrongStateError when nothing moves any more."""
        moved, since = -1, time.monotonic()
        while True:
            view = self._manager.get(run_id)
            yield ReplayProgress(run_id, _replayed(view), selected, "replaying")
            if view.ended:
                return
            now_moved = sum(role.received for role in view.roles)
            if now_moved != moved:
                moved, since = now_moved, time.monotonic()
            if not speed and time.monotonic() - since > STALLED_S:
                raise WrongStateError(
                    f"the replay has not moved for {STALLED_S:.0f} s, after {_replayed(view):,} "
                    "messages: roles wait for each other, or an action for what it acts on; it "
                    "was stopped",
                    reason="REPLAY_STALLED",
                )
            with contextlib.suppress(TimeoutError, ByteorError):
                async with asyncio.timeout(LOOK_S):
                    await self._manager.live(run_id).ended.wait()

    def _admission(self, asked: _Asked, prepared: Prepared, job: ReplayJob) -> Admission:
        return Admission(
            spec=prepared.spec,
            deployment=prepared.deployment,
            client_output=bool(job.streams),
            principal=asked.principal,
            approval=asked.wanted.approval,
            request_id=asked.id,
            replay=job,
        )

    # --- what it came to

    def _reasons(
        self, asked: _Asked, prepared: Prepared, done: _Pass, *, cut: bool
    ) -> list[Reason]:
        """Return what forbids comparing; `cut`: leave out that a last batch was not whole."""
        how = prepared.conditions(done.view.code_digests, host_conditions(), done.job, cut=cut)
        return reasons_of(prepared.recorded, prepared.surveys, asked.wanted.range, how)

    def _egresses(
        self, asked: _Asked, prepared: Prepared, done: _Pass, reasons: list[Reason]
    ) -> list[Egress]:
        """Return every egress with its verdict."""
        ended = done.view.failure is None and prepared.recorded.complete
        whole = ended and not _is_cut(asked, prepared)
        live = prepared.recorded.live if prepared.begins else {}
        return [
            egress_of(name, area, live.get(name), comparable=not reasons, whole=whole)
            for name, area in sorted(done.job.found.areas.items())
        ]

    def _conclude(
        self, asked: _Asked, prepared: Prepared, done: _Pass, found: _Outcome
    ) -> ReplayDone:
        viewer, view = prepared.viewer, done.view
        otherwise = results.failed_otherwise(view, prepared, done.job)
        verdict = overall(found.egresses, found.reasons, fails_otherwise=bool(otherwise))
        stopped = results.stopped_by(view, prepared, done.job.found)
        divergence = None
        if found.difference is not None:
            divergence = results.difference_fields(found.difference, viewer)
        failure = None
        if view.failure is not None and stopped != "divergence":
            failure = results.failure_fields(view.failure, prepared)
        asked.facts.limits["actions_reached"] = stopped == "actions_limit"
        outcome = results.audit_result(
            verdict,
            found.reasons,
            found.egresses,
            divergence=divergence,
            failure=failure,
            otherwise=otherwise,
            stopped=stopped,
        )
        if viewer.allowed and (divergence or found.steps):
            outcome["payloads_shown_to"] = asked.principal
        fields: dict[str, Any] = {
            "replay_id": asked.id,
            "verdict": str(verdict),
            "reasons": [{"code": each.code, "message": each.message} for each in found.reasons],
            "egresses": [results.egress_fields(each) for each in found.egresses],
            "steps": [results.step_fields(each, viewer) for each in found.steps],
            "selected": prepared.selected,
            "replayed": _replayed(view),
            "elapsed_ns": max((a["elapsed_ns"] for a in done.job.found.areas.values()), default=0),
            "actions": results.attempted(done.job.found, asked.actions),
            "stopped_by": stopped,
            "failed_otherwise": otherwise,
            "mode": _mode(asked),
            "audit": self._keep(asked, outcome, None),
        }
        if divergence:
            fields["divergence"] = divergence
        if failure:
            fields["failure"] = failure
        return ReplayDone(fields)

    # --- the audit

    def _refused(self, asked: _Asked, error: ByteorError) -> None:
        self._keep(asked, None, error)

    def _cut_short(self, asked: _Asked, error: BaseException) -> None:
        """Write down a replay that its caller cancelled, and how far it came."""
        if not isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._refused(asked, ByteorError(f"internal error: {type(error).__name__}"))
            return
        areas = asked.job.found.areas if asked.job is not None else {}
        egresses = [
            egress_of(name, area, None, comparable=False, whole=False)
            for name, area in sorted(areas.items())
        ]
        self._keep(asked, results.audit_result(None, [], egresses, stopped=CANCELLED), None)

    def _conclude_left(self, replay_id: str, facts: Mapping[str, Any]) -> None:
        """Write down a replay that ended with the daemon that ran it."""
        wanted = ReplayWanted(replay_id, execute=facts.get("mode") == "execute")
        asked = _Asked(replay_id, wanted, str(facts.get("principal", "")), sees=False)
        asked.began_unix_ms = int(facts.get("at", 0))
        self._keep(asked, results.audit_result(None, [], [], stopped=DAEMON_ENDED), None)

    def _keep(
        self, asked: _Asked, outcome: dict[str, Any] | None, error: ByteorError | None
    ) -> bytes:
        """Write the audit and its digest into the audit log; return it."""
        wanted, facts, actions = asked.wanted, asked.facts, asked.actions
        document = replay_audit(
            replay_id=asked.id,
            created_unix_ms=asked.began_unix_ms,
            bundle_dir=facts.source.get("journal_path") if wanted.source_id else None,
            spec_sha256=facts.spec_sha256,
            source=facts.source,
            policy={
                "env": facts.environment,
                "approval_provided": bool(wanted.approval),
                "mode": _mode(asked),
                "principal": asked.principal,
            },
            actions=actions,
            limits=facts.limits,
            result=outcome,
            refused={"reason": error.reason, "message": error.message} if error else None,
        )
        self._audits.keep(asked.id, document)
        self._manager.governor.record(
            "replay.refused" if error else "replay.audit",
            {
                "replay": asked.id,
                "principal": asked.principal,
                "sha256": hashlib.sha256(document).hexdigest(),
                "spec_hash": f"sha256:{facts.spec_sha256}",
                "mode": _mode(asked),
                "actions": sum(row["count"] for row in actions),
                "verdict": outcome["verdict"] if outcome else "",
                "stopped_by": (outcome["stopped_by"] or "") if outcome else "",
                "payloads_shown": bool(outcome and outcome.get("payloads_shown_to")),
                "reason": error.reason if error else "",
            },
        )
        return document


def _check_whole(recorded: Recorded) -> None:
    """Read a capture through, every frame, count and digest; DataError says all that is wrong."""
    if recorded.kind != "capture" or recorded.in_bundle:
        return
    if problems := check_capture(Path(recorded.directory)):
        raise DataError(
            "; ".join([*problems[:10], "get the capture again from where it was recorded"]),
            reason="CAPTURE_DAMAGED",
        )


def _steps_of(done: _Pass) -> list[Step]:
    plan = done.job.made
    roles = [(role.name, role.stage) for role in plan.roles] if plan is not None else []
    base = done.job.sequence_base
    return [
        replace(step, sequence=step.sequence + base)
        for step in steps_of(done.job.found.trace, roles)
    ]


def _is_cut(asked: _Asked, prepared: Prepared) -> bool:
    """Tell whether not all of the recorded input is given again."""
    limited = any(each.limited for each in prepared.surveys.values())
    return limited or asked.wanted.step is not None or not asked.wanted.range.whole


def _replayed(view: RunView) -> int:
    return sum(role.received for role in view.roles if role.kind == "ingress")


def _mode(asked: _Asked) -> str:
    return "execute" if asked.wanted.execute else "dry_run"
