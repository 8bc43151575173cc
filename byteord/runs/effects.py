"""Effects of runs: which role does what, as planned; how a lease shows; keeping leases alive.

The keeper is the one loop that renews, takes away and tells about leases, and has the audit log do
what is due. What may happen is the governor's; this only carries it into the control regions.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from byteord.deployment.model import Deployment
from byteord.deployment.plan import EffectPlan, RunPlan
from byteord.policy.governor import Governor, Grant, Lease, Running
from byteord.policy.judge import Judged
from byteord.runs.action_digests import ActionDigests, keep_journals
from byteord.runs.view import EffectsView, EffectView, FailureView, GovernanceSample

RENEW_S = 3.0
"""Between two looks: three of them fit into a lease."""
CONDITION = "EffectsCovered"
HELD, LOST, DRY, NONE = "held", "lost", "dry_run", "none"
_SECOND_NS = 1_000_000_000


def with_effects(plan: RunPlan, grant: Grant, deployment: Deployment) -> RunPlan:
    """Return the plan with what policy decided about each role."""
    effects = tuple(effect for judged in grant.judged for effect in _of_roles(plan, judged))
    return replace(plan, effects=effects, effects_policy=str(deployment.effects.on_lease_lost))


def _of_roles(plan: RunPlan, judged: Judged) -> list[EffectPlan]:
    need = judged.need
    return [
        EffectPlan(role.index, need.capability, need.target, judged.mode)
        for role in plan.roles
        if role.name.partition("#")[0] == need.where
    ]


def acting(plan: RunPlan) -> tuple[str, ...]:
    """Return the capabilities of a plan that are really used."""
    return tuple(sorted({effect.capability for effect in plan.effects if effect.mode == "act"}))


def effects_view(plan: RunPlan, lease: Lease | None) -> EffectsView | None:
    """Return what `status` shows of a run's effects; None when it has none."""
    if not plan.effects:
        return None
    names = {role.index: role.name for role in plan.roles}
    rows = tuple(
        EffectView(names[each.role], each.capability, each.target, each.mode)
        for each in plan.effects
    )
    if not acting(plan):
        return EffectsView(rows, DRY, message="written down, not done", policy=plan.effects_policy)
    if lease is None:
        return EffectsView(rows, NONE, policy=plan.effects_policy)
    held = lease.held
    return EffectsView(
        effects=rows,
        lease=HELD if lease.until_unix else LOST,
        policy=plan.effects_policy,
        reason=lease.reason,
        message=lease.message,
        approval_id=held.approval.approval_id if held else "",
        signers=held.signers if held else (),
        assurance=held.assurance if held else "",
        covered_until_unix_ns=held.approval.expires_at * _SECOND_NS if held else 0,
    )


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

    def set_lease(self, lease: Lease) -> None:
        """Carry a lease into the control region."""

    def note(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition."""


def governance_sample(governor: Governor, runs: Sequence[Effectful]) -> GovernanceSample:
    """Return what metrics show; may be called from another thread."""
    leases = [run.lease for run in runs if acting(run.plan)]
    ends = [lease.held.approval.expires_at for lease in leases if lease and lease.held]
    return GovernanceSample(
        decisions=dict(governor.decisions),
        without_lease=sum(1 for lease in leases if lease is None or not lease.until_unix),
        expiry_unix=float(min(ends, default=0)),
        audit_records=governor.audit.records,
        audit_checkpoint_unix=governor.audit.checkpoint_unix,
        audit_writable=not governor.audit.problem,
    )


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
        live = {run.id: run.directory for run in self._runs() if run.plan.effects and run.directory}
        self._untold |= await asyncio.to_thread(self._digests.take, live)
        checkpoint = await asyncio.to_thread(self._governor.tick, self._untold)
        if checkpoint is not None:
            self._untold = {}
            self._report("audit.checkpoint", {"checkpoint": checkpoint})

    async def ended(self, run: Effectful) -> None:
        """Keep the action journals of a run that has ended, and write down their digests."""
        if not run.plan.effects:
            return
        kept = os.path.join(self._governor.actions_dir, run.id)
        try:
            digests = await asyncio.to_thread(keep_journals, run.directory, kept)
        except OSError as error:
            self._report("actions.not_kept", {"run": run.id, "error": str(error)})
            return
        if digests:
            data = {"run": run.id, "journals": digests}
            await asyncio.to_thread(self._governor.record, "actions.kept", data)

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
