"""All needs of a run before the policy engine at once, and what the refusal of some says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from byteord.deployment.model import Effects
from byteord.errors import DeniedError
from byteord.policy.decide import Approved, Decision, Question, Verdict, decide
from byteord.policy.needs import Need
from byteord.spec.stage_key import shown_target


@dataclass(frozen=True, slots=True)
class Judged:
    """A need and what was decided about it."""

    need: Need
    decision: Decision

    @property
    def mode(self) -> str:
        """How the role works: `act`, or `record` in a dry run."""
        return "act" if self.decision.verdict is Verdict.ALLOW else "record"


def judge(
    needs: Sequence[Need],
    environment: str,
    effects: Effects,
    approved: Approved | None,
    *,
    replay: str = "",
) -> tuple[Judged, ...]:
    """Return the decision about each need of a run; `replay`: the policy, where it is a replay."""
    return tuple(
        Judged(
            need,
            decide(
                Question(
                    environment=environment,
                    capability=need.capability,
                    mode="replay" if replay else "run",
                    replay_policy=replay or "dry_run_only",
                    dry_run=effects.dry_run,
                    side_effects=str(effects.side_effects),
                    approved=approved,
                )
            ),
        )
        for need in needs
    )


def refused(judged: Sequence[Judged], verdict: Verdict) -> list[Judged]:
    """Return those with a verdict."""
    return [each for each in judged if each.decision.verdict is verdict]


def check(judged: Sequence[Judged], environment: str, signers_min: int) -> None:
    """Raise DeniedError (POLICY_DENIED, APPROVAL_REQUIRED) unless each need may go on."""
    if denied := refused(judged, Verdict.DENY):
        reasons = "; ".join(dict.fromkeys(each.decision.reason for each in denied))
        raise DeniedError(
            f"policy denies {named(denied)}: {reasons}",
            reason="POLICY_DENIED",
            details={"capabilities": _capabilities(denied)},
        )
    if missing := refused(judged, Verdict.REQUIRE_APPROVAL):
        reasons = "; ".join(dict.fromkeys(each.decision.reason for each in missing))
        people = "one person" if signers_min == 1 else f"{signers_min} different people"
        raise DeniedError(
            f"{environment} needs an approval, signed by {people}, for {named(missing)}: "
            f"{reasons}; make one with `byteorctl approve request`, or run it dry",
            reason="APPROVAL_REQUIRED",
            details={"capabilities": _capabilities(missing), "environment": environment},
        )


def named(judged: Sequence[Judged]) -> str:
    """Return capabilities with who needs them and where they act, for people."""
    return ", ".join(
        f"{each.need.capability} of {each.need.where}"
        + (f" ({shown_target(each.need.capability, each.need.target)})" if each.need.target else "")
        for each in judged
    )


def _capabilities(judged: Sequence[Judged]) -> str:
    return ",".join(sorted({each.need.capability for each in judged}))
