"""Where a worker takes the code of a stage from: the copy that was hashed at admission.

Outside `dev` from nowhere else: what a stage imports beside its package is not under its digest.
"""

from __future__ import annotations

import os

from byteord.deployment.plan import RolePlan, RunPlan


def code_dirs_of(plan: RunPlan, role: RolePlan) -> tuple[str, ...]:
    """Return the directories that the code of a role is searched in, in order."""
    frozen = frozen_dir(plan, role)
    if not frozen:
        return plan.code_dirs
    return (frozen, *plan.code_dirs) if plan.environment == "dev" else (frozen,)


def frozen_dir(plan: RunPlan, role: RolePlan) -> str:
    """Return the directory with the copy of a role's code; empty when there is none."""
    if not plan.code_store or not role.digest or role.stage.startswith("exec:"):
        return ""
    return os.path.join(plan.code_store, role.digest.removeprefix("sha256:"))


def frozen_dirs(plan: RunPlan) -> list[str]:
    """Return the directories with the copies of all code of a run."""
    found = (frozen_dir(plan, role) for role in plan.roles)
    return list(dict.fromkeys(each for each in found if each))
