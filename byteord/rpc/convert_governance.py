"""Approvals and effects: messages of the API to values of the domain and back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byteor.v1 import governance_pb2 as pb
from byteord.rpc.convert_documents import optional_source, required_source
from byteord.rpc.times import timestamp, unix_ns
from byteord.rpc.wanted import StartWanted
from byteord.runs.dead_letters import DeadLetter
from byteord.runs.view import EffectsView, EffectView

if TYPE_CHECKING:
    from byteord.rpc.control import Draft


def wanted_from_prepare(request: pb.PrepareApprovalRequest) -> StartWanted:
    """Return the run that is asked about; raises InvalidArgumentError without a spec."""
    return StartWanted(
        spec=required_source(request, "spec"),
        deployment=optional_source(request, "deployment"),
        client_input=request.client_input,
        client_output=request.client_output,
        overrides=dict(request.overrides),
    )


def draft_to_proto(draft: Draft) -> pb.PrepareApprovalResponse:
    """Return the message of a draft."""
    return pb.PrepareApprovalResponse(
        spec_hash=draft.spec_hash,
        deployment_hash=draft.deployment_hash,
        code=draft.code,
        environment=draft.environment,
        host=draft.host,
        principal=draft.principal,
        needs=[
            pb.CapabilityNeed(
                where=each.need.where,
                capability=each.need.capability,
                target=each.need.target,
                decision=str(each.decision.verdict),
                reason=each.decision.reason,
            )
            for each in draft.judged
        ],
        signers_min=draft.signers_min,
    )


def letter_to_proto(letter: DeadLetter) -> pb.DeadLetter:
    """Return the message of a dead letter."""
    return pb.DeadLetter(
        role=letter.role,
        sequence=letter.sequence,
        key=letter.key,
        at=timestamp(letter.at_unix_ns),
        why=letter.why,
        target=letter.target,
        payload=letter.payload,
    )


def effects_to_proto(effects: EffectsView | None) -> pb.Effects | None:
    """Return the message of a run's effects; None for a run without."""
    if effects is None:
        return None
    return pb.Effects(
        effects=[
            pb.Effect(
                role=each.role,
                capability=each.capability,
                target=each.target,
                mode=each.mode,
                done=each.done,
                would=each.would,
                held=each.held,
                dead_letters=each.dead_letters,
            )
            for each in effects.effects
        ],
        lease=effects.lease,
        policy=effects.policy,
        reason=effects.reason,
        message=effects.message,
        approval_id=effects.approval_id,
        signers=effects.signers,
        assurance=effects.assurance,
        covered_until=timestamp(effects.covered_until_unix_ns),
    )


def effects_from_proto(effects: pb.Effects) -> EffectsView:
    """Return the value of a message that `effects_to_proto` made."""
    return EffectsView(
        effects=tuple(
            EffectView(
                each.role,
                each.capability,
                each.target,
                each.mode,
                done=each.done,
                would=each.would,
                held=each.held,
                dead_letters=each.dead_letters,
            )
            for each in effects.effects
        ),
        lease=effects.lease,
        policy=effects.policy,
        reason=effects.reason,
        message=effects.message,
        approval_id=effects.approval_id,
        signers=tuple(effects.signers),
        assurance=effects.assurance,
        covered_until_unix_ns=unix_ns(effects.covered_until),
    )
