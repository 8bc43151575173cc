"""The policy table: each row, then what must hold whatever the inputs are."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from byteord.policy.decide import (
    ENVIRONMENTS,
    MODES,
    REPLAY_EXECUTE,
    REPLAY_POLICIES,
    SIDE_EFFECTS,
    Approved,
    Decision,
    Question,
    Verdict,
    decide,
)

POST = "http_post"


def approval(environment: str = "prod", *capabilities: str) -> Approved:
    """Return what an approval covers."""
    return Approved(environment, frozenset(capabilities or (POST,)))


PROD = Question("prod", POST)
REPLAY = Question("prod", POST, mode="replay", replay_policy="execute")
ROWS: tuple[tuple[int, Verdict, Question], ...] = (
    (1, Verdict.DENY, replace(PROD, environment="production")),
    (1, Verdict.DENY, replace(PROD, environment="")),
    (1, Verdict.DENY, replace(PROD, mode="walk")),
    (1, Verdict.DENY, replace(PROD, side_effects="deny")),
    (1, Verdict.DENY, replace(PROD, replay_policy="")),
    (1, Verdict.DENY, replace(PROD, capability="http post")),
    (1, Verdict.DENY, replace(PROD, capability=REPLAY_EXECUTE)),
    (1, Verdict.DENY, replace(PROD, approved=approval("staging"))),
    (2, Verdict.DENY, replace(REPLAY, replay_policy="disabled")),
    (2, Verdict.DENY, replace(REPLAY, replay_policy="disabled", capability="")),
    (3, Verdict.ALLOW, replace(PROD, capability="")),
    (3, Verdict.ALLOW, replace(PROD, capability="", side_effects="deny_all")),
    (4, Verdict.DENY, replace(PROD, side_effects="deny_all")),
    (4, Verdict.DENY, replace(PROD, side_effects="deny_all", approved=approval())),
    (4, Verdict.DENY, Question("dev", POST, side_effects="deny_all", dry_run=True)),
    (5, Verdict.DRY_RUN_ONLY, replace(PROD, dry_run=True)),
    (5, Verdict.DRY_RUN_ONLY, replace(PROD, dry_run=True, approved=approval())),
    (5, Verdict.DRY_RUN_ONLY, Question("dev", POST, dry_run=True)),
    (5, Verdict.DRY_RUN_ONLY, replace(REPLAY, dry_run=True)),
    (5, Verdict.DRY_RUN_ONLY, replace(REPLAY, replay_policy="dry_run_only")),
    (6, Verdict.ALLOW, Question("dev", POST)),
    (6, Verdict.ALLOW, Question("dev", POST, mode="replay", replay_policy="execute")),
    (7, Verdict.ALLOW, replace(PROD, approved=approval())),
    (7, Verdict.ALLOW, Question("staging", POST, approved=approval("staging"))),
    (7, Verdict.ALLOW, replace(REPLAY, approved=approval("prod", POST, REPLAY_EXECUTE))),
    (
        7,
        Verdict.ALLOW,
        Question("dev", POST, side_effects="require_approval", approved=approval("dev")),
    ),
    (8, Verdict.REQUIRE_APPROVAL, PROD),
    (8, Verdict.REQUIRE_APPROVAL, Question("staging", "adapter:udp")),
    (8, Verdict.REQUIRE_APPROVAL, replace(PROD, approved=approval("prod", "exec"))),
    (8, Verdict.REQUIRE_APPROVAL, replace(REPLAY, approved=approval())),
    (8, Verdict.REQUIRE_APPROVAL, Question("dev", POST, side_effects="require_approval")),
)


@pytest.mark.parametrize(("row", "verdict", "question"), ROWS)
def test_each_row_of_the_table(row: int, verdict: Verdict, question: Question) -> None:
    """The first matching row decides, and the decision keeps the reason and the inputs it saw."""
    decision = decide(question)
    assert (decision.row, decision.verdict) == (row, verdict)
    assert decision.reason
    assert decision.question is question


CAPABILITIES = ("", POST, "exec", "adapter:udp", "undeclared", REPLAY_EXECUTE)
APPROVALS = (
    None,
    *(
        Approved(environment, frozenset(covered))
        for environment in ENVIRONMENTS
        for covered in ((), (POST,), (POST, "exec", REPLAY_EXECUTE), CAPABILITIES)
    ),
)


def every_question() -> list[Question]:
    """Return every combination of known values: the whole table."""
    return [
        Question(*values)
        for values in itertools.product(
            ENVIRONMENTS,
            CAPABILITIES,
            MODES,
            (False, True),
            REPLAY_POLICIES,
            SIDE_EFFECTS,
            APPROVALS,
        )
    ]


def test_nothing_acts_outside_dev_without_an_approval_that_covers_it() -> None:
    """Allow of a side effect in staging or prod names a capability of a matching approval."""
    seen = 0
    for question in every_question():
        if question.environment == "dev" or not question.capability:
            continue
        if decide(question).verdict is Verdict.ALLOW:
            seen += 1
            assert question.approved is not None
            assert question.approved.environment == question.environment
            assert question.capability in question.approved.capabilities
            assert question.mode == "run" or REPLAY_EXECUTE in question.approved.capabilities
    assert seen


def test_a_dry_run_never_acts() -> None:
    """With the dry-run flag no side effect is allowed, whatever else is said."""
    for question in every_question():
        if question.dry_run and question.capability:
            assert decide(question).verdict is not Verdict.ALLOW


def test_taking_something_away_never_allows_more() -> None:
    """Without the approval, with a smaller one, or with a stricter policy, nothing becomes Allow.

    An approval of another environment is a contradiction, which only ever denies: leaving it out is
    not a way to more than the plain question has.
    """
    for question in every_question():
        if decide(question).verdict is Verdict.ALLOW:
            continue
        approved = question.approved
        if approved is None or approved.environment == question.environment:
            less = replace(question, approved=None)
            assert decide(less).verdict is not Verdict.ALLOW
        strictest = replace(question, side_effects="deny_all")
        assert decide(strictest).verdict is not Verdict.ALLOW
        if approved is not None:
            smaller = replace(question, approved=replace(approved, capabilities=frozenset()))
            assert decide(smaller).verdict is not Verdict.ALLOW


ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.text(max_size=20), st.integers(), st.binary(max_size=8), st.floats(),
    st.lists(st.integers(), max_size=2), st.sampled_from([*CAPABILITIES, "prod", "dev", "run"]),
)  # fmt: skip


@given(st.tuples(ODD, ODD, ODD, ODD, ODD, ODD, ODD))
@example(("prod", POST, "run", 1, "execute", "allow", True))
@example(("prod", POST, "run", False, "execute", "allow", {"capabilities": {POST}}))
def test_it_is_total(values: tuple[Any, ...]) -> None:
    """Anything at all gives a decision, and what is not understood gives no side effect."""
    question = Question(*values)
    decision = decide(question)
    assert isinstance(decision, Decision)
    assert isinstance(decision.verdict, Verdict)
    if decision.verdict is Verdict.ALLOW and question.capability:
        assert question.environment == "dev"


def test_a_decision_takes_less_than_ten_microseconds() -> None:
    """The best of many rounds, since others share the CPUs."""
    question = replace(REPLAY, approved=approval("prod", POST, REPLAY_EXECUTE))
    best = min(_round_ns(question) for _ in range(50))
    assert best < 10_000, f"{best} ns"


def _round_ns(question: Question) -> float:
    begin = time.perf_counter_ns()
    for _ in range(100):
        decide(question)
    return (time.perf_counter_ns() - begin) / 100
