"""What users' code said of a failure: who hears how much of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from byteord.deployment.plan import RunPlan
from byteord.runs.describe import Payloads, shown_snapshot, told
from byteord.runs.view import ConditionView, EffectsView, EffectView, FailureView, RoleView
from byteord.runs.view import ErrorView as Error
from byteord.runs.words import Words
from byteord.spec.stage_key import WITHHELD
from tests.support.run import make_test_plan, spec_text

PLANTED = "Zq7 pl'anted\\ 9w4"
STAGES = f"""
[[stages]]
name = "mine"
stage = "python:mine:Mine"
[stages.config]
token = {json.dumps(PLANTED)}
deep = [{{ token = {json.dumps(f"<{PLANTED}>")} }}]
limit = 12
[[stages]]
name = "built"
stage = "identity"
depends_on = [0]
"""
DEPLOYMENT = '[adapters.in]\nkind = "generator"\nsize = 8\n[adapters.out]\nkind = "discard"\n'
RAISED = f"ValueError: cannot do {PLANTED!r} of abcdefgh/secret (mine.py:17)"
ENVIRONMENT = {"TOKEN": "abcdefgh/secret", "HOME": "cannot", "SHORT": "do", "PATH": "ValueError"}


@pytest.fixture(scope="module")
def plan() -> RunPlan:
    """Provide a plan with a stage of a user's and one of byteor's."""
    return make_test_plan(spec_text(STAGES), DEPLOYMENT)


def failure(message: str = RAISED, reason: str = "STAGE_FAILED", role: str = "mine") -> FailureView:
    """Return a failure of a stage."""
    return FailureView(reason, role=role, stage="python:mine:Mine", sequence=7, message=message)


def said(words: Words, given: FailureView) -> str:
    """Return the words of a failure as they are told."""
    shown = words.failure(given)
    assert shown is not None
    return shown.message


def test_in_dev_words_are_told_without_free_values(plan: RunPlan) -> None:
    """Values of the spec and the environment are taken out, as they are and as they are quoted."""
    words = Words(plan, ENVIRONMENT, guarded=False)
    assert said(words, failure()) == 'ValueError: cannot do "[withheld]" of [withheld] (mine.py:17)'
    assert "planted" not in said(words, failure(f"x {PLANTED.encode()!r} y"))
    assert "planted" not in said(words, failure(json.dumps({"a": PLANTED})))


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_elsewhere_the_class_and_the_place_are_told(plan: RunPlan, environment: str) -> None:
    """Outside dev, and under rules in dev too; what no exception raised has no words at all."""
    words = Words(replace(plan, environment=environment), {}, guarded=environment == "dev")
    assert said(words, failure()) == "ValueError: [withheld] (mine.py:17)"
    assert said(words, failure("payload of a library")) == "error: [withheld]"
    assert said(words, failure("a.b.Odd: x (y) (not a place)")) == "a.b.Odd: [withheld]"


@pytest.mark.parametrize("reason", ["START_FAILED", "STAGE_HUNG", "WORKER_DIED"])
def test_what_no_message_can_stand_in_is_told(plan: RunPlan, reason: str) -> None:
    """A stage that did not even begin says why, without free values."""
    words = Words(replace(plan, environment="prod"), {}, guarded=True)
    told_ = said(words, failure(f"TypeError: no {PLANTED}", reason))
    assert told_ == "TypeError: no [withheld]"


def test_last_words_of_processes_are_told_where_words_are(plan: RunPlan) -> None:
    """What a shim left in its log may be a stage's: without free values in dev, else not at all."""
    assert Words(plan, {}, guarded=False).tail(f"a {PLANTED} b") == "a [withheld] b"
    assert Words(plan, {}, guarded=True).tail(PLANTED) == WITHHELD
    assert Words(plan, {}, guarded=True).tail("") == ""
    bare = replace(plan, roles=tuple(role for role in plan.roles if role.name != "mine"))
    assert (
        Words(bare, {}, guarded=True).tail("a traceback of byteor's") == "a traceback of byteor's"
    )


def test_words_of_byteor_itself_stay(plan: RunPlan) -> None:
    """Of built-in stages and adapters nothing is hidden."""
    words = Words(replace(plan, environment="prod"), {}, guarded=True)
    assert said(words, failure("a field that the schema requires", role="built")).startswith("a f")
    assert words.failure(None) is None


def test_conditions_and_errors_say_no_more(plan: RunPlan) -> None:
    """The condition that repeats the failure, and the distinct errors of the role."""
    words = Words(plan, ENVIRONMENT, guarded=True)
    given = failure()
    kept = ConditionView("Ready", "true", "", "all roles run", 1)
    conditions = words.conditions((ConditionView("Failed", "true", "", RAISED, 1), kept), given)
    assert [each.message for each in conditions] == [said(words, given), "all roles run"]
    role = RoleView("mine", "stage", "python:mine:Mine", "failed", 0)
    (shown,) = words.roles([replace(role, errors=(Error("STAGE_FAILED", 1, 7, RAISED),))])
    assert shown.errors[0].text == "ValueError: [withheld] (mine.py:17)"
    read: dict[str, Any] = {
        "roles": [
            {
                "name": "mine",
                "stage": "python:mine:Mine",
                "errors": [{"code": "STAGE_FAILED", "text": RAISED}],
                "samples": {"oversize": b"payload"},
            }
        ]
    }
    seen = told(read, words, Payloads.of("dev", guarded=True))
    assert seen is not None
    assert "Zq7" not in str(seen)
    assert seen["roles"][0]["samples"] == {}
    assert told(None, words, Payloads.SHOWN) is None


def test_targets_are_told_without_arguments_and_queries(plan: RunPlan) -> None:
    """Where effects go is told, what may be a credential is not."""
    words = Words(plan, {}, guarded=False)
    rows = (
        EffectView("call", "exec", f"/bin/x|{PLANTED}", "act", done=1),
        EffectView("post", "http_post", f"https://host/hook?key={PLANTED}", "act"),
        EffectView("out", "net_send", "10.0.0.1:99", "act"),
    )
    shown = words.effects(EffectsView(rows, "held"))
    assert shown is not None
    assert [each.target for each in shown.effects] == [
        "/bin/x|[withheld]",
        "https://host/hook?[withheld]" if " " not in PLANTED else "[withheld]",
        "10.0.0.1:99",
    ]


def test_a_snapshot_has_no_free_value_and_samples_by_grant(plan: RunPlan) -> None:
    """Of the plan and of rejected input."""
    regions = {"roles": [{"name": "in", "samples": {"oversize": b"payload".hex()}}]}
    document = {"plan": json.loads(plan.to_json()), "regions": regions}
    for sees in (True, False):
        shown = shown_snapshot(json.dumps(document).encode(), sees=sees)
        assert b"Zq7" not in shown
        assert (b"payload".hex().encode() in shown) == sees
        config = {role["name"]: role["config"] for role in json.loads(shown)["plan"]["roles"]}
        assert set(config["mine"].values()) == {WITHHELD}
