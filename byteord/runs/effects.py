"""Effects of runs: which role does what, as planned; how a lease shows; keeping leases alive.

The keeper is the one loop that renews, takes away and tells about leases, and has the audit log do
what is due. What may happen is the governor's; this only carries it into the control regions.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from byteord.deployment.model import Deployment
from byteord.deployment.plan import EffectPlan, RunPlan
from byteord.policy.governor import Governor, Grant, Lease, Running
from byteord.policy.judge import Judged
from byteord.runs.action_digests import ActionDigests, forget_oldest, keep_files
from byteord.runs.effect_views import EffectCounts, acting, counted
from byteord.runs.view import EffectsView, FailureView

RENEW_S = 3.0
"""Between two looks: three of them fit into a lease."""
CONDITION = "EffectsCovered"


def with_effects(plan: RunPlan, grant: Grant, deployment: Deployment, top: str) -> RunPlan:
    """Return the plan with what policy decided about each role; makes its directory of actions.

    `top`: where the directories of all runs are. OSError.
    """
    effects = tuple(effect for judged in grant.judged for effect in _of_roles(plan, judged))
    directory = os.path.join(top, plan.run_id) if effects else ""
    if directory:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    policy = str(deployment.effects.on_lease_lost)
    return replace(plan, effects=effects, effects_policy=policy, actions_dir=directory)


def without_effects(plan: RunPlan) -> None:
    """Remove the directory of actions of a run that did not start, if nothing is in it."""
    if plan.actions_dir:
        with contextlib.suppress(OSError):
            os.rmdir(plan.actions_dir)


def _of_roles(plan: RunPlan, judged: Judged) -> list[EffectPlan]:
    need = judged.need
    return [
        EffectPlan(role.index, need.capability, need.target, judged.mode)
        for role in plan.roles
        if role.name.partition("#")[0] == need.where
    ]


class Effectful(Protocol):
    """What the keeper needs of a live run."""

    plan: RunPlan
    lease: Lease | None
    lease_lost: FailureView | None

    @property
    def id(self) -> str:
        """Return the run's id."""

    @property
    def directory(self) -> str:
        """Return the run's directory."""

    def running(self) -> Running:
        """Return the run as the governor knows it."""

    def effects(self) -> EffectsView | None:
        """Return what it does outside, counted; None when it has no effects."""

    def set_lease(self, lease: Lease) -> None:
        """Carry a lease into the control region."""

    def note(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition."""


Stop = Callable[[Any, str, str], Awaitable[None]]
Report = Callable[[str, Mapping[str, object]], None]


class LeaseKeeper:
    """Renews the leases of all runs of a daemon."""

    def __init__(
        self,
        governor: Governor,
        *,
        runs: Callable[[], Sequence[Effectful]],
        changed: Callable[[Any], None],
        stop: Stop,
        report: Report,
    ) -> None:
        """`changed`: told of a run whose lease came or went; `stop`: ends one by policy."""
        self._governor, self._runs = governor, runs
        self._changed, self._stop, self._report = changed, stop, report
        self._digests = ActionDigests()
        self._counts = EffectCounts()
        self._untold: dict[str, Any] = {}

    async def keep(self) -> None:
        """Renew for ever."""
        while True:
            await self.round()
            await asyncio.sleep(RENEW_S)

    async def round(self) -> None:
        """Look at every run once, then have the audit log do what is due."""
        for run in self._runs():
            if acting(run.plan) and run.directory:
                await self.renew(run)
        live = {
            run.id: run.plan.actions_dir or run.directory
            for run in self._runs()
            if run.plan.effects and run.directory
        }
        await self._tell_counts()
        self._untold |= await asyncio.to_thread(self._digests.take, live)
        checkpoint = await asyncio.to_thread(self._governor.tick, self._untold)
        if checkpoint is not None:
            self._untold = {}
            self._report("audit.checkpoint", {"checkpoint": checkpoint})

    async def _tell_counts(self) -> None:
        """Show watches, and now and then the audit log, how much runs did or would have done."""
        for run in self._runs():
            view = run.effects() if run.directory else None
            if view is None:
                continue
            if self._counts.changed(run.id, view):
                self._changed(run)
            if data := self._counts.due(run.id, view, time.monotonic()):
                await asyncio.to_thread(self._governor.record, "effects.counted", data)
        self._counts.forget(run.id for run in self._runs())

    async def ended(self, run: Effectful, view: EffectsView | None) -> None:
        """Keep the files of actions of a run that has ended; write down digests and counts."""
        if view is None:
            return
        data: dict[str, Any] = {"run": run.id, "effects": counted(view)}
        try:
            data["files"] = await asyncio.to_thread(self._keep, run)
        except OSError as error:
            self._report("actions.not_kept", {"run": run.id, "error": str(error)})
        await asyncio.to_thread(self._governor.record, "effects.ended", data)

    def _keep(self, run: Effectful) -> dict[str, Any]:
        directory = run.plan.actions_dir
        if not directory or not os.path.isdir(directory):
            return {}
        digests = keep_files(directory)
        live = {each.id for each in self._runs()}
        if gone := forget_oldest(os.path.dirname(directory), live):
            self._governor.record("actions.forgotten", {"runs": gone})
        return digests

    async def renew(self, run: Effectful) -> None:
        """Give a run the lease that it may have now; tell when it came or went."""
        before = run.lease
        running = run.running()
        lease = await asyncio.to_thread(self._governor.lease, running)
        had = before is not None and before.until_unix > 0
        told = before is not None and before.reason == lease.reason
        if had == bool(lease.until_unix) and (had or told):
            run.set_lease(lease)
            return
        if not lease.until_unix:
            if had and run.plan.effects_policy == "stop":
                text = f"{lease.reason}: {lease.message}"
                run.lease_lost = FailureView("LEASE_LOST", message=text)
            run.set_lease(lease)
        recorded = await asyncio.to_thread(self._governor.record_lease, running, lease)
        if lease.until_unix and not recorded:
            lease = Lease(0.0, "AUDIT_NOT_WRITABLE", self._governor.audit.problem)
        run.set_lease(lease)
        self._tell(run, lease)
        if had and not lease.until_unix and run.plan.effects_policy == "stop":
            await self._stop(run, "LEASE_LOST", f"{lease.reason}: {lease.message}")

    def _tell(self, run: Effectful, lease: Lease) -> None:
        name = "".join(part.capitalize() for part in lease.reason.split("_"))
        if lease.until_unix:
            run.note(CONDITION, "true", name, _until(lease))
        else:
            what = {"hold": "messages wait", "dead_letter": "messages are set aside"}
            then = what.get(run.plan.effects_policy, "the run is stopped")
            run.note(CONDITION, "false", name, f"{lease.message}; no side effects, {then}")
        event = "lease.granted" if lease.until_unix else "lease.lost"
        data = {"run": run.id, "reason": lease.reason, "message": lease.message}
        self._report(event, data)
        self._changed(run)


def _until(lease: Lease) -> str:
    if lease.held is None:
        return lease.message
    approval = lease.held.approval
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(approval.expires_at))
    low = ", assurance low" if lease.held.assurance == "low" else ""
    return f"{approval.approval_id} until {until}, {lease.message}{low}"


def encode_credential(data: bytes) -> str:
    """Return a credential as the facts of a run keep it."""
    return base64.b64encode(data).decode()


def decode_credential(text: str) -> bytes:
    """Return it again; nothing for what is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
