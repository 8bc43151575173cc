"""What a unit looks like to the native host: its rings, its kind, its bounds.

Pure functions of the plan. It must not open anything.
"""

from __future__ import annotations

from byteord.deployment.plan import RolePlan, RunPlan

LOG_BYTES_PER_TOUCHED = 6
"""A touch of 4 bytes, the least there is, takes 24 bytes of the undo log and its entry."""


def egress_gate(plan: RunPlan) -> str:
    """Return what an egress that acts does without a lease: it keeps no dead letters, it holds."""
    return "stop" if plan.effects_policy == "stop" else "hold"


def rings(plan: RunPlan, role: RolePlan) -> list[int]:
    """Return the rings that a role's unit uses."""
    if role.in_place:
        return [plan.lanes[role.rx[0].lane].rings[0]]
    return list(range(len(plan.rings))) if role.shard < 0 else [role.shard]


def unit_kind(plan: RunPlan, roles: list[RolePlan]) -> str:
    """Return which loop a unit on rings runs."""
    if len(plan.rings) == 1 or roles[0].kind == "stage":
        return "ring"
    return "scatter" if roles[0].kind == "ingress" else "gather"


def all_live(plan: RunPlan) -> bool:
    """Tell whether every message that comes in leaves with its length, whatever the stages do.

    Only of built-in stages is it known that they keep to what they declare, and only of our own
    ingress that it writes lengths that can be.
    """
    stages = [role for role in plan.roles if role.kind == "stage"]
    own_ingress = all(role.adapter != "client" for role in plan.roles if role.kind == "ingress")
    return own_ingress and not any(
        role.drops or role.resizes or ":" in role.stage for role in stages
    )


def batch_max(
    plan: RunPlan, *, slots: int, stride: int, log: int, touched: int, stages: list[RolePlan]
) -> int:
    """Return how many messages a unit takes at a time.

    `slots`, `log`: bytes of the undo area for slots and for what stages touch; `stride`: bytes
    that one slot takes of it; `touched`: touches of one message.
    """
    most = plan.max_batch
    if stride:
        most = min(most, slots // stride)
    if log and touched:
        most = min(most, log // (LOG_BYTES_PER_TOUCHED * touched + 64))
    if plan.failure_policy in {"skip", "dead_letter"} and any(
        role.state == "private" for role in stages
    ):
        return (
            1  # what such a stage did to itself cannot be taken back: fail on exactly one message
        )
    return max(most, 1)
