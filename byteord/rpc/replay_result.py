"""What a replay came to, as the fields that its caller and its audit are told. Pure.

Owns the step from what the workers left to ReplayResult of the API and to the audit artifact.
Payloads go through a viewer, always.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from byteord.capture.divergence import Step
from byteord.capture.shown import ShownPayload, Viewer, first_byte, first_field
from byteord.capture.verdict import Diverged, Egress, Reason, Verdict
from byteord.deployment.plan import RolePlan, RunPlan
from byteord.rpc.replay_prepare import Prepared
from byteord.runs.replay_job import Harvest, ReplayJob
from byteord.runs.view import FailureView, RoleView, RunView
from byteord.spec.stage_key import shown_key, shown_target

_EXCEPTION = re.compile(r"([A-Z][A-Za-z]{2,40}(?:Error|Exception|Interrupt|Exit|Warning))(?::|\Z)")
_ROLE_KINDS = ("stage", "egress")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first message that differs, with everything that was found out about it."""

    egress: str
    diverged: Diverged
    live: bytes | None
    ingress: str = ""
    sequence: int | None = None
    upstream: bytes | None = None
    stage: str = ""
    steps: Sequence[Step] = ()


def shown(payload: ShownPayload) -> dict[str, Any]:
    """Return a payload as a message of the API has it."""
    fields = asdict(payload)
    fields["hex"] = fields.pop("data").hex()
    return fields


def step_fields(step: Step, viewer: Viewer) -> dict[str, Any]:
    """Return a step as a message of the API has it."""
    fields: dict[str, Any] = {
        "role": step.role,
        "stage": shown_key(step.stage),
        "sequence": step.sequence,
        "before": shown(viewer.show(step.before)),
        "outcome": step.outcome,
        "emitted": [shown(viewer.show(each)) for each in step.emitted],
    }
    if step.after is not None:
        fields["after"] = shown(viewer.show(step.after))
    return fields


def difference_fields(found: Difference, viewer: Viewer) -> dict[str, Any]:
    """Return a divergence as a message of the API has it."""
    diverged = found.diverged
    now = None if diverged.how in ("mark", "missing") else diverged.payload
    fields: dict[str, Any] = {
        "egress": found.egress,
        "index": diverged.index,
        "ingress": found.ingress,
        "stage": found.stage,
        "steps": [step_fields(each, viewer) for each in found.steps],
    }
    if diverged.window_first is not None:
        fields["window_first"] = diverged.window_first
        now = diverged.payload
    if found.sequence is not None:
        fields["sequence"] = found.sequence
    for name, payload in (("live", found.live), ("replayed", now), ("upstream", found.upstream)):
        if payload is not None:
            fields[name] = shown(viewer.show(payload))
    if found.live is not None and now is not None:
        fields["byte"] = first_byte(found.live, now)
        fields["field"] = first_field(found.live, now)
    return fields


def egress_fields(egress: Egress) -> dict[str, Any]:
    """Return an egress as a message of the API has it."""
    fields: dict[str, Any] = {
        "name": egress.name,
        "count": egress.count,
        "bytes": egress.bytes,
        "sha256": egress.sha256,
        "verdict": str(egress.verdict),
    }
    if egress.live is not None:
        fields |= {"live_count": egress.live.count, "live_sha256": egress.live.sha256}
    return fields


def failure_fields(failure: FailureView, prepared: Prepared) -> dict[str, Any]:
    """Return why a replay failed; its words only where payloads may be seen: they may quote one."""
    fields: dict[str, Any] = {
        "reason": failure.reason,
        "role": failure.role,
        "stage": failure.stage,
        "message_sha256": failure.message_sha256,
        "message": failure.message,
    }
    if failure.sequence is not None:
        fields["sequence"] = failure.sequence + prepared.job.sequence_base
    if prepared.viewer.guarded:
        fields["message_sha256"] = ""
    if failure.reason.startswith("STAGE_") and not prepared.viewer.quotes:
        kind = _EXCEPTION.match(failure.message)
        ours = failure.message.startswith("ACTION_LIMIT") or "ACTION_LIMIT" in failure.message
        fields["message"] = failure.message if ours else (kind[1] if kind else "")
    return fields


def failed_otherwise(view: RunView, prepared: Prepared, job: ReplayJob) -> list[dict[str, Any]]:
    """Return the stages that failed on other messages than live and went on, first differences."""
    known = {role.name: role for role in view.roles}
    base, rows = job.sequence_base, []
    for name, called in job.found.calls.items():
        role = known.get(name)
        fields: dict[str, Any] = {"role": name, "stage": shown_key(role.stage) if role else ""}
        if called.unfailed:
            at, count = called.unfailed_at + base, called.unfailed
            rows.append({**fields, "live": True, "sequence": at, "count": count})
        if called.unforeseen:
            said = _said(role, called.unforeseen_at, prepared) if role is not None else ""
            at, count = called.unforeseen_at + base, called.unforeseen
            rows.append({**fields, "live": False, "sequence": at, "count": count, "error": said})
    return sorted(rows, key=lambda row: (row["sequence"], row["role"]))


def _said(role: RoleView, sequence: int, prepared: Prepared) -> str:
    """Return what a stage said when it failed on a message, as far as it may be shown."""
    texts = [each.text for each in role.errors if each.first_sequence == sequence]
    texts = texts or [each.text for each in role.errors if len(role.errors) == 1]
    text = texts[0] if texts else ""
    if prepared.viewer.quotes:
        return text
    kind = _EXCEPTION.match(text)
    return kind[1] if kind else ""


def stopped_by(view: RunView, prepared: Prepared, harvest: Harvest) -> str:
    """Return what ended a replay before its input did; empty: nothing."""
    if harvest.budget_spent:
        return "actions_limit"
    failure = view.failure
    if failure is not None and "REPLAY_DIVERGED" in failure.message:
        return "divergence"
    if failure is not None:
        return "failure"
    return "input_limit" if any(each.limited for each in prepared.surveys.values()) else ""


def action_rows(harvest: Harvest, plan: RunPlan | None) -> list[dict[str, Any]]:
    """Return the attempted actions as the audit lists them: an egress that acts in one row."""
    if plan is None:
        return []
    roles = {role.name: role for role in plan.roles}
    effects = {effect.role: effect for effect in plan.effects}
    rows = []
    for entry in harvest.actions:
        role = roles.get(str(entry.get("role")))
        effect = effects.get(role.index) if role is not None else None
        if role is None or effect is None:
            continue
        rows.append(
            {
                "action": effect.capability,
                "role": role.name,
                "input_lane": _lane(plan, role, into=True),
                "output_lane": _lane(plan, role, into=False),
                "stage": shown_key(role.stage) or None,
                "target": shown_target(effect.capability, str(entry.get("target", ""))),
                "decision": "Allow" if entry["event"] == "begin" else "DryRunOnly",
                "sequence": entry.get("sequence") if role.stage else None,
                "key": entry.get("key") or None,
                "count": 1 if role.stage else _left_by(harvest, role.name),
            }
        )
    return rows


def attempted(harvest: Harvest, rows: Iterable[Mapping[str, Any]]) -> int:
    """Return how many actions were attempted; those of stages, too, that were written down."""
    return max(harvest.attempted, sum(1 for row in rows if row["stage"]))


def _left_by(harvest: Harvest, egress: str) -> int:
    area = harvest.areas.get(egress)
    return int(area["count"]) if area is not None else 0


def _lane(plan: RunPlan, role: RolePlan, *, into: bool) -> str | None:
    if role.kind not in _ROLE_KINDS or (role.kind == "egress" and not into):
        return None
    if plan.model != "lane_graph":
        return f"ring-{max(role.shard, 0)}"
    ports = role.rx if into else role.tx
    return ",".join(plan.lanes[port.lane].name for port in ports) or None


def audit_result(
    verdict: Verdict | None,
    reasons: Iterable[Reason],
    egresses: Iterable[Egress],
    *,
    divergence: Mapping[str, Any] | None = None,
    failure: Mapping[str, Any] | None = None,
    otherwise: Sequence[Mapping[str, Any]] = (),
    stopped: str,
) -> dict[str, Any]:
    """Return what the audit says of the outcome: digests and places, never a payload.

    No verdict: it did not come to one.
    """
    return {
        "verdict": str(verdict or ""),
        "reasons": [asdict(each) for each in reasons],
        "egresses": [
            {**egress_fields(each), "equal": each.verdict is Verdict.EQUAL} for each in egresses
        ],
        "first_divergence": _place(divergence) if divergence else None,
        "failure": {k: v for k, v in failure.items() if k != "message"} if failure else None,
        "failed_otherwise": [{k: v for k, v in row.items() if k != "error"} for row in otherwise],
        "stopped_by": stopped or None,
    }


def _place(divergence: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("egress", "index", "window_first", "ingress", "sequence", "stage", "byte", "field")
    place = {key: divergence.get(key) for key in kept}
    for side in ("live", "replayed", "upstream"):
        payload = divergence.get(side)
        place[f"{side}_sha256"] = payload["sha256"] if payload else None
    return place
