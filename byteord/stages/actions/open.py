"""Opens an action stage in a worker: what the plan lets it do, its limits, its secrets.

A role without an effect in the plan acts on nothing: it writes down what it would do.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import Any

from byteord._cext.batch import PythonStage
from byteord.deployment.actions import action_of, exec_allowed, url_allowed
from byteord.deployment.model import ActionLimits
from byteord.deployment.plan import RolePlan, RunPlan
from byteord.errors import DeniedError, StageError
from byteord.secret_files import read_secret
from byteord.stages.actions.budget import ActionBudget
from byteord.stages.actions.journal import WOULD, ActionJournal
from byteord.stages.actions.stage import ActionStage, Actor, Place, idempotency_key


def open_action(
    role: RolePlan,
    plan: RunPlan,
    *,
    unit: int,
    control: Any,
    journal: ActionJournal,
    budget: ActionBudget | None = None,
) -> PythonStage:
    """Return the stage of `role`, bound; it checks the lease before each action.

    DeniedError when the daemon's configuration does not allow the URL or program, errors of its
    secret and its program's digest.
    """
    kind, target = action_of(role.stage)
    acts = any(
        effect.role == role.index and effect.capability == kind and effect.mode == "act"
        for effect in plan.effects
    )
    limits = ActionLimits(**plan.actions)
    glue = PythonStage(mutates=False, drops=False, resizes=False)
    actor = _actor(kind, target, role, plan, limits) if acts else None
    place = Place(plan.run_id, role.name, role.index, unit, plan.effects_policy)
    if plan.replay is not None:
        recorded = plan.replay.run_id or plan.run_id
        place = replace(place, run_id=recorded, sequence_base=plan.replay.sequence_base)
    stage = ActionStage(
        place,
        actor,
        limits,
        control=control,
        journal=journal,
        state_view=glue.state_view,
        budget=budget,
        target=actor.target if actor is not None else target.partition("?")[0],
    )
    glue.bind(stage)
    return glue


class _Recorder:
    """Stands in for a stage with effects in a dry run: messages pass, nothing is called."""

    def __init__(self, role: RolePlan, run_id: str, journal: ActionJournal) -> None:
        self._role, self._run_id, self._journal = role, run_id, journal

    def process(self, batch: Any) -> None:
        """Write down what the stage would have been called with."""
        name, sequences = self._role.name, list(batch.sequences)
        if sequences:
            self._journal.begin_batch(name, sequences[0])
        for sequence, payload in zip(sequences, batch, strict=True):
            content = hashlib.sha256(payload).hexdigest()
            if self._journal.claim(name, sequence, content) is None:
                key = idempotency_key(self._run_id, name, sequence, content)
                self._journal.write(
                    WOULD, role=name, sequence=sequence, key=key, target=self._role.stage,
                    bytes=len(payload), sha256=content,
                )  # fmt: skip


def open_recorder(role: RolePlan, run_id: str, journal: ActionJournal) -> PythonStage:
    """Return a stage that writes down instead of calling the user's code."""
    glue = PythonStage(mutates=False, drops=False, resizes=False)
    glue.bind(_Recorder(role, run_id, journal))
    return glue


def _actor(kind: str, target: str, role: RolePlan, plan: RunPlan, limits: ActionLimits) -> Actor:
    if kind == "http_post":
        if not url_allowed(target, plan.url_prefixes):
            raise DeniedError(f"stage {role.name}: its URL is not allowed", reason="URL_DENIED")
        from byteord.stages.actions.http import HttpPost

        token = read_secret(limits.token, plan.secrets_dir).decode() if limits.token else ""
        return HttpPost(target, limits, ca_text=plan.ca_text, token=token)
    if not exec_allowed(target, plan.exec_allowed):
        raise DeniedError(f"stage {role.name}: its program is not allowed", reason="EXEC_DENIED")
    from byteord.stages.actions.program import RunProgram

    words = target.split("|")
    if not os.access(words[0], os.X_OK):
        raise StageError(
            f"stage {role.name}: {words[0]} is not there, or may not be executed",
            reason="STAGE_CODE_NOT_FOUND",
        )
    return RunProgram(words, limits, role.digest)
