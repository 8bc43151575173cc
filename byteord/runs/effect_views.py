"""What others see of the effects of runs: which, how many so far, and whether they may happen.

Pure, but for reading values. Keeping leases alive is `effects`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from byteord.deployment.plan import EffectPlan, RunPlan
from byteord.policy.governor import Governor, Lease
from byteord.runs.view import EffectsView, EffectView, GovernanceSample

HELD, LOST, DRY, NONE = "held", "lost", "dry_run", "none"
RECORD_S = 60.0
"""Between two records of the same run's counts in the audit log."""
_SECOND_NS = 1_000_000_000


def acting(plan: RunPlan) -> tuple[str, ...]:
    """Return the capabilities of a plan that are really used."""
    return tuple(sorted({effect.capability for effect in plan.effects if effect.mode == "act"}))


def effects_view(
    plan: RunPlan, lease: Lease | None, read: Mapping[str, Any] | None
) -> EffectsView | None:
    """Return what `status` shows of a run's effects; None when it has none."""
    if not plan.effects:
        return None
    roles = {role["name"]: role for role in read["roles"]} if read else {}
    names = {role.index: role.name for role in plan.roles}
    rows = tuple(_counted(each, names[each.role], roles) for each in plan.effects)
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


def _counted(effect: EffectPlan, role: str, roles: Mapping[str, Any]) -> EffectView:
    """Return an effect with what its role counts: an action by itself, others by messages taken."""
    seen = roles.get(role, {})
    report, received = seen.get("report") or {}, int(seen.get("received", 0))
    acts = effect.mode == "act"
    if "would_have_acted" in report:
        counts = {
            "done": report["acted"] + report["done_before"],
            "would": report["would_have_acted"],
            "held": report["held"],
            "dead_letters": report["dead_lettered"] + report["gave_up"],
        }
    else:
        counts = {"done": received if acts else 0, "would": 0 if acts else received}
    return EffectView(role, effect.capability, effect.target, effect.mode, **counts)


class Leased(Protocol):
    """What a sample needs of a live run."""

    plan: RunPlan
    lease: Lease | None


def governance_sample(governor: Governor, runs: Sequence[Leased]) -> GovernanceSample:
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


class EffectCounts:
    """Remembers which counts of effects were told to watches and written into the audit log."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._told: dict[str, EffectsView] = {}
        self._recorded: dict[str, tuple[float, list[dict[str, Any]]]] = {}

    def changed(self, run_id: str, view: EffectsView) -> bool:
        """Tell whether watches have not seen these counts yet; from now on they have."""
        before = self._told.get(run_id)
        self._told[run_id] = view
        return before is not None and before.effects != view.effects

    def due(self, run_id: str, view: EffectsView, now: float) -> dict[str, Any] | None:
        """Return what is to be recorded of a run that goes on: once a minute, if it changed."""
        at, counts = self._recorded.get(run_id, (now, []))
        found = counted(view)
        if run_id not in self._recorded:
            self._recorded[run_id] = at, []
        if now - at < RECORD_S or found == counts:
            return None
        self._recorded[run_id] = now, found
        return {"run": run_id, "effects": found}

    def forget(self, live: Iterable[str]) -> None:
        """Let go of runs that are no longer there."""
        kept = set(live)
        self._told = {each: view for each, view in self._told.items() if each in kept}
        self._recorded = {each: row for each, row in self._recorded.items() if each in kept}


def counted(view: EffectsView) -> list[dict[str, Any]]:
    """Return the counts of a run's effects as the audit log has them."""
    return [
        {
            "where": each.role,
            "capability": each.capability,
            "target": each.target[:1024],
            "mode": each.mode,
            "done": each.done,
            "would": each.would,
            "held": each.held,
            "dead_letters": each.dead_letters,
        }
        for each in view.effects
    ]
