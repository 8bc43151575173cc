"""The policy engine: from what is known to one of four verdicts, with the reason.

Pure and total: every input, however odd, gives a decision, and what is not understood gives Deny.
Owns the table of rows, first match wins. It must not read a clock, a file or a credential: what an
approval covers was verified before.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any

ENVIRONMENTS = ("dev", "staging", "prod")
MODES = ("run", "replay")
REPLAY_POLICIES = ("disabled", "dry_run_only", "execute")
SIDE_EFFECTS = ("allow", "require_approval", "deny_all")
"""Least strict first."""
REPLAY_EXECUTE = "replay_execute"
UNDECLARED = "undeclared"
CAPABILITY = re.compile(r"(?:adapter:)?[a-z][a-z0-9_]{0,62}\Z")


class Verdict(enum.StrEnum):
    """What may happen to one capability."""

    ALLOW = "Allow"
    DRY_RUN_ONLY = "DryRunOnly"
    REQUIRE_APPROVAL = "RequireApproval"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Approved:
    """What a verified approval covers. Made by `byteord.policy.approvals` alone."""

    environment: str
    capabilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a decision may depend on. `capability` empty: no side effect."""

    environment: str
    capability: str
    mode: str = "run"
    dry_run: bool = False
    replay_policy: str = "dry_run_only"
    side_effects: str = "allow"
    approved: Approved | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with the row of the table that gave it, the reason, and the inputs it saw."""

    verdict: Verdict
    row: int
    reason: str
    question: Question


def decide(question: Question) -> Decision:
    """Return the first row of the table that matches. Never raises."""
    problem = _problem(question)
    if problem:
        return Decision(Verdict.DENY, 1, problem, question)
    capability, replay = question.capability, question.mode == "replay"
    if replay and question.replay_policy == "disabled":
        return Decision(Verdict.DENY, 2, "the replay policy is disabled", question)
    if not capability:
        return Decision(Verdict.ALLOW, 3, "no side effect", question)
    if question.side_effects == "deny_all":
        return Decision(Verdict.DENY, 4, "the side-effect policy is deny_all", question)
    if question.dry_run:
        return Decision(Verdict.DRY_RUN_ONLY, 5, "dry run", question)
    if replay and question.replay_policy == "dry_run_only":
        return Decision(Verdict.DRY_RUN_ONLY, 5, "the replay policy is dry_run_only", question)
    if question.environment == "dev" and question.side_effects != "require_approval":
        return Decision(Verdict.ALLOW, 6, "dev asks for no approval", question)
    approved = question.approved
    if approved is None:
        return Decision(Verdict.REQUIRE_APPROVAL, 8, "there is no approval", question)
    if capability not in approved.capabilities:
        text = f"the approval does not cover {capability}"
        return Decision(Verdict.REQUIRE_APPROVAL, 8, text, question)
    if replay and REPLAY_EXECUTE not in approved.capabilities:
        text = f"the approval does not cover {REPLAY_EXECUTE}"
        return Decision(Verdict.REQUIRE_APPROVAL, 8, text, question)
    return Decision(Verdict.ALLOW, 7, "a verified approval covers it", question)


def _problem(question: Any) -> str:
    """Return what is unknown or contradictory about the inputs, empty if nothing is."""
    for name, value, known in (
        ("environment", question.environment, ENVIRONMENTS),
        ("mode", question.mode, MODES),
        ("replay policy", question.replay_policy, REPLAY_POLICIES),
        ("side-effect policy", question.side_effects, SIDE_EFFECTS),
    ):
        if not isinstance(value, str) or value not in known:
            return f"unknown {name} {_shown(value)}"
    if not isinstance(question.dry_run, bool):
        return f"unknown dry-run flag {_shown(question.dry_run)}"
    capability = question.capability
    if not isinstance(capability, str) or (capability and not CAPABILITY.match(capability)):
        return f"unknown capability {_shown(capability)}"
    if capability == REPLAY_EXECUTE:
        return f"{REPLAY_EXECUTE} is a permission to replay, nothing that a stage does"
    return _approval_problem(question.approved, question.environment)


def _approval_problem(approved: Any, environment: str) -> str:
    if approved is None:
        return ""
    if not isinstance(approved, Approved) or not isinstance(approved.capabilities, frozenset):
        return "an approval that was not verified"
    if approved.environment != environment:
        return f"an approval for {_shown(approved.environment)} in {environment}"
    return ""


def _shown(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, str | int | bool) else type(value).__name__
