"""Which stages are confined: user code that is declared effect-free, where declarations must hold.

Pure. Differently confined roles never share a process outside `dev`; how a process is confined is
`byteord.worker.confine`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from byteord.deployment.model import Deployment, Environment
from byteord.deployment.plan import RolePlan, UnitPlan, WorkerPlan
from byteord.errors import DeniedError
from byteord.spec.model import Stage
from byteord.spec.stage_key import parse_key


def effect_free(stage: Stage) -> bool:
    """Tell whether a stage is a user's code that the spec declares effect-free."""
    return not parse_key(stage.stage).is_builtin and stage.effects == ()


def confines(deployment: Deployment) -> bool:
    """Tell whether what is declared effect-free is held to it: outside `dev`, and in a dry run."""
    return deployment.environment is not Environment.DEV or deployment.effects.dry_run


def confine_roles(roles: Iterable[RolePlan], deployment: Deployment) -> list[RolePlan]:
    """Return the roles, of which effect-free ones stay marked as confined where that is held."""
    held = confines(deployment)
    return [replace(role, confined=role.confined and held) for role in roles]


def settle_processes(
    workers: Sequence[WorkerPlan],
    units: Sequence[UnitPlan],
    roles: Sequence[RolePlan],
    deployment: Deployment,
    notes: list[str],
) -> tuple[RolePlan, ...]:
    """Return the roles as they can be confined: a process is confined as a whole or not at all.

    Where confined and other roles would share a worker, `dev` runs them unconfined and a note says
    so; elsewhere that raises DeniedError (CONFINEMENT_SHARED).
    """
    settled = {role.index: role for role in roles}
    for worker in workers:
        mine = [units[unit] for thread in worker.threads for unit in thread]
        hosted = [roles[role] for unit in mine for role in unit.roles]
        if len({role.confined for role in hosted}) <= 1:
            continue
        names = ", ".join(role.name for role in hosted if role.confined)
        if deployment.environment is not Environment.DEV:
            raise DeniedError(
                f"the worker {worker.name} would run {names}, which is confined, in one process "
                f"with other roles; in {deployment.environment} that is refused: run it without "
                "--sp, and do not group these roles",
                reason="CONFINEMENT_SHARED",
            )
        notes.append(f"{names}: not confined, since other roles share its process (dev)")
        settled |= {role.index: replace(role, confined=False) for role in hosted}
    return tuple(settled[role.index] for role in roles)
