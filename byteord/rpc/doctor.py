"""`Doctor` of the API in terms of the domain: what is asked for, measured, checked, kept.

Owns the order, and the one measurement that may run at a time. It must not know messages of the
API.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from byteord.deployment.config import Config
from byteord.deployment.topology import cpu_list
from byteord.doctor import attribute, history
from byteord.doctor.asked import asked_of_plan, asked_of_profile
from byteord.doctor.emit import FORMS, emit
from byteord.doctor.kernel import CapturedKernel, LiveKernel
from byteord.doctor.measure import check_tools, measure
from byteord.doctor.model import Asked, Daemon, Permission, Report, Result, State
from byteord.doctor.record import (
    Facts,
    RecordedRoot,
    RecordingKernel,
    RecordingRoot,
    facts_from_json,
    facts_json,
)
from byteord.doctor.registry import selected
from byteord.doctor.run import run_checks
from byteord.errors import ByteorError, InvalidArgumentError, UnavailableError
from byteord.rpc.control import Control, admission_of
from byteord.rpc.facts import byteor_version
from byteord.rpc.wanted import StartWanted
from byteord.runs.admission import asked_of as governor_question
from byteord.runs.admission import new_run_id
from byteord.runs.code import code_digests
from byteord.runs.plan import make_plan, plan_description
from byteord.runs.view import Admission
from byteord.spec.document import Source
from byteord.tuning.root import HostRoot

TICK_S = 0.005
PRIVATE = (
    "a private daemon looked: limits and environment are those of this shell, and no report is kept"
)
CAPTURED = (
    "these are the facts of a bundle: what did not leave its host is unknown, and its times are "
    "those of then"
)


@dataclass(frozen=True, slots=True)
class DoctorWanted:
    """What a call asks for."""

    profile: str = ""
    spec: Source | None = None
    deployment: Source | None = None
    groups: Sequence[str] = ()
    codes: Sequence[str] = ()
    measure: bool = False
    tools: Sequence[str] = ()
    emit: str = ""
    client_version: str = ""
    approval: bytes = b""
    captured: bytes = b""
    """Facts of another host, as a bundle has them: they are looked at instead of this one."""


@dataclass(frozen=True, slots=True)
class DoctorAnswer:
    """A report with what surrounds it."""

    report: Report
    budget: Sequence[str] = ()
    emitted: str = ""
    changes: Sequence[history.Change] = ()
    last_unix_s: float = 0.0
    notes: Sequence[str] = ()


class Doctor:
    """Doctor of one daemon."""

    def __init__(self, control: Control, config: Config, *, private: bool = False) -> None:
        self._control = control
        self._config = config
        self._private = private
        self._root = HostRoot()
        self._measuring = asyncio.Lock()
        self.last: Report | None = None
        """The latest report of all checks, for metrics."""

    async def run(self, wanted: DoctorWanted, principal: str = "") -> DoctorAnswer:
        """Return the answer to a call of somebody.

        Raises InvalidArgumentError for names that do not exist, RefusedDocumentsError for documents
        that could not run, UnavailableError while another measurement runs.
        """
        check_tools(wanted.tools)
        if wanted.emit and wanted.emit not in FORMS:
            raise InvalidArgumentError(
                f"emit: seen {wanted.emit!r}; wanted one of {', '.join(FORMS)}",
                reason="FORM_UNKNOWN",
            )
        selected(wanted.groups, wanted.codes)
        if wanted.captured:
            return await asyncio.to_thread(self._check_captured, wanted)
        daemon = self._daemon(wanted.client_version)
        asked = await asyncio.to_thread(self._asked, wanted, daemon, principal)
        if wanted.measure or wanted.tools:
            asked = replace(asked, measured=await self._measure(asked, wanted.tools))
        answer = await asyncio.to_thread(self._check, asked, wanted)
        if not wanted.groups and not wanted.codes:
            self.last = answer.report
        return answer

    def captured(self, profile: str) -> tuple[Report, bytes]:
        """Return the report of this host for a profile, and the facts that it was made from."""
        asked = asked_of_profile(profile, self._control.host(), self._daemon(""))
        facts = Facts()
        report = run_checks(
            selected((), ()),
            asked,
            RecordingRoot(facts),
            later=RecordingRoot(facts, later=True),
            kernel=RecordingKernel(LiveKernel(), facts.kernel),
        )
        return report, facts_json(facts, asked)

    def _check_captured(self, wanted: DoctorWanted) -> DoctorAnswer:
        """Make the same checks on the facts of a bundle."""
        facts = facts_from_json(wanted.captured)
        asked = replace(facts.asked, profile=wanted.profile or facts.asked.profile)
        report = run_checks(
            selected(wanted.groups, wanted.codes),
            asked,
            RecordedRoot(facts),
            later=RecordedRoot(facts, later=True),
            kernel=CapturedKernel(facts.kernel),
        )
        emitted = emit(wanted.emit, report, asked) if wanted.emit else ""
        return DoctorAnswer(report=report, emitted=emitted, notes=[CAPTURED])

    async def _measure(self, asked: Asked, tools: Sequence[str]) -> dict[str, Any]:
        if self._measuring.locked():
            raise UnavailableError(
                "another measurement runs: two would disturb each other; try again in ten seconds",
                reason="MEASURING",
            )
        busy = {
            run.plan.run_id: sorted({cpu for worker in run.plan.workers for cpu in worker.cpus})
            for run in self._control.manager.live_runs()
        }
        async with self._measuring:
            lags: list[float] = []
            watch = asyncio.create_task(_watch_lag(lags))
            try:
                found = await asyncio.to_thread(measure, asked, busy, tools)
            finally:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch
        return {**found, "loop": _lag_summary(lags)}

    def _asked(self, wanted: DoctorWanted, daemon: Daemon, principal: str) -> Asked:
        host = self._control.host()
        if wanted.spec is None:
            return asked_of_profile(wanted.profile or "default", host, daemon)
        overrides = {"tuning.profile": wanted.profile} if wanted.profile else {}
        start = StartWanted(
            wanted.spec, wanted.deployment, overrides=overrides, approval=wanted.approval
        )
        report = self._control.admit(start, "policy")
        assert report.spec is not None  # noqa: S101  admitted
        assert report.deployment is not None  # noqa: S101  admitted
        plan = make_plan(
            report.spec,
            report.deployment,
            run_id=new_run_id(),
            single_process=False,
            host=host,
            authority=self._control.authority,
        )
        memory = plan_description(plan)["memory_bytes"]
        asked = asked_of_plan(
            plan,
            report.deployment,
            host,
            profile=report.deployment.tuning.profile,
            memory_bytes=memory,
            daemon=daemon,
        )
        permission = self._permission(admission_of(start, report, principal))
        return replace(asked, permission=permission)

    def _permission(self, admission: Admission) -> Permission:
        """Return what policy would say; nothing is counted or written down."""
        try:
            allowed = self._control.authority
            digests = code_digests(admission.spec.stages, allowed.code_dirs, allowed.code_packages)
            question = governor_question(admission, "", digests)
            grant = self._control.manager.governor.check(question)
        except ByteorError as error:
            return Permission(granted=False, said=error.message)
        if grant.held is None:
            return Permission(granted=True, said="no approval is needed")
        approval = grant.held.approval
        said = f"approval {approval.approval_id}"
        return Permission(granted=True, said=said, until_unix=approval.expires_at)

    def _daemon(self, client_version: str) -> Daemon:
        config, runs = self._config, self._control.manager.live_runs()
        pids = {worker.pid for run in runs for worker in run.view().workers if worker.pid > 0}
        return Daemon(
            version=byteor_version(),
            client_version=client_version,
            environment=str(config.authority.environment),
            private=self._private,
            regions=config.paths.regions,
            state_dir=config.paths.state,
            runtime_dir=config.paths.runtime,
            audit_dir=f"{config.paths.state}/audit",
            socket=config.listen.socket,
            config=config.source,
            key_set=config.approvals.key_set,
            metrics_address=config.metrics_address,
            runs=tuple(run.id for run in self._control.manager.list()),
            workers=tuple(sorted(pids)),
        )

    def _check(self, asked: Asked, wanted: DoctorWanted) -> DoctorAnswer:
        report = run_checks(selected(wanted.groups, wanted.codes), asked, self._root)
        budget = attribute.make_budget(asked.measured, asked.wait) if asked.measured else None
        if budget is not None:
            checks = tuple(_priced(each, budget) for each in report.checks)
            measured = {**asked.measured, "budget": _budget_data(budget)}
            report = replace(report, checks=checks, measured=measured)
        elif asked.measured:
            report = replace(report, measured=asked.measured)
        notes, last, changes = self._compare(report)
        return DoctorAnswer(
            report=report,
            budget=attribute.budget_lines(budget, cpu_list(asked.cpus)) if budget else (),
            emitted=emit(wanted.emit, report, asked) if wanted.emit else "",
            changes=changes,
            last_unix_s=last.unix_s if last else 0.0,
            notes=[*_notes(asked), *notes],
        )

    def _compare(
        self, report: Report
    ) -> tuple[list[str], history.Last | None, tuple[history.Change, ...]]:
        """Return what to say of the last run, that run, and what changed; keep this one."""
        if self._private:
            return [PRIVATE], None, ()
        directory = self._config.paths.state
        last = history.load(directory, report.profile)
        try:
            history.save(directory, report)
        except OSError as error:
            return [f"this report could not be kept: {error}"], last, history.changes(last, report)
        return [], last, history.changes(last, report)


def _notes(asked: Asked) -> list[str]:
    cpus = cpu_list(asked.cpus)
    if asked.named:
        return [f"CPUs {cpus} and {asked.memory_bytes} bytes are what the spec would take"]
    if asked.profile == "default":
        return [f"the profile default pins no worker: CPUs {cpus} are those that it may use"]
    return [f"no spec was named: CPUs {cpus} are what two busy workers would get"]


def _priced(result: Result, budget: attribute.Budget) -> Result:
    """Return a shortfall with what it was measured to cost."""
    wanting = result.state in (State.DEGRADED, State.FAILED, State.UNKNOWN)
    if not wanting or result.code not in budget.cost_us:
        return result
    cost, why = budget.cost_us[result.code]
    return replace(result, cost_us=cost, cost_why=why)


def _budget_data(budget: attribute.Budget) -> dict[str, Any]:
    return {
        "p999_ns": budget.total_ns,
        "parts_ns": dict(budget.parts),
        "interruptions_per_s": budget.rate_hz,
        "stolen_share": budget.stolen_share,
    }


async def _watch_lag(lags: list[float]) -> None:
    """Note how much later than asked each wake-up of the loop comes, until cancelled."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(TICK_S)
        lags.append(max(0.0, time.monotonic() - before - TICK_S) * 1000)


def _lag_summary(lags: Sequence[float]) -> dict[str, float]:
    ordered = sorted(lags) or [0.0]
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return {"p99_ms": p99, "max_ms": ordered[-1], "count": float(len(lags))}
