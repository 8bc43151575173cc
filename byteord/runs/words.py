"""What users' own code said of a failure, as far as it may be told: it may quote what it was given.

Owns that rule for `status`, errors, events, history and snapshots alike: outside `dev`, and where
messages are under data protection rules, only the class of an exception and its place in the code
are told; in `dev` its words are, without free values of the spec and of the environment. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from byteord.deployment.plan import RolePlan, RunPlan
from byteord.runs.view import ConditionView, EffectsView, FailureView, RoleView
from byteord.spec.stage_key import (
    WITHHELD,
    StageKeyError,
    parse_key,
    shown_key,
    shown_target,
)

HIDDEN_CHARS_MIN = 6
"""A shorter value stands in too many words to be hidden in them."""
_EXCEPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{1,60}(?=:)")
_PLACE = re.compile(r" \([A-Za-z0-9_.-]{1,100}:[0-9]{1,9}\)\Z")
_PLAIN_VARIABLES = frozenset(
    ["HOME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER"]
)
_NO_MESSAGE = frozenset(
    ["START_FAILED", "WORKER_DIED", "STAGE_HUNG", "REGION_LOST", "TUNING_DEGRADED"]
)
"""Words that are byteor's, or those of code that has seen no message yet."""


class Words:
    """The rule for one run."""

    def __init__(self, plan: RunPlan, environment: Mapping[str, str], *, guarded: bool) -> None:
        """Keep what is to be hidden; `environment`: the variables that workers inherit."""
        self._open = plan.environment == "dev" and not guarded
        self._own = {role.name for role in plan.roles if _is_own(role.stage)}
        hidden = {*_free_values(plan.roles), *_variables(environment)}
        self._hidden = sorted((each for each in hidden if each), key=len, reverse=True)

    def failure(self, failure: FailureView | None) -> FailureView | None:
        """Return a failure as it may be told."""
        if failure is None or failure.role not in self._own:
            return failure
        stage = shown_key(failure.stage)
        return replace(failure, stage=stage, message=self.told(failure.message, failure.reason))

    def conditions(
        self, conditions: Iterable[ConditionView], failure: FailureView | None
    ) -> tuple[ConditionView, ...]:
        """Return conditions, where they repeat a failure's words as those may be told."""
        said = failure.message if failure is not None else ""
        shown = self.failure(failure)
        return tuple(
            replace(each, message=shown.message)
            if shown is not None and each.type == "Failed" and each.message == said
            else each
            for each in conditions
        )

    def roles(self, roles: Iterable[RoleView]) -> tuple[RoleView, ...]:
        """Return roles with their errors as they may be told."""
        return tuple(self._role(each) for each in roles)

    def effects(self, effects: EffectsView | None) -> EffectsView | None:
        """Return effects without what may be a credential in their targets."""
        if effects is None:
            return None
        rows = tuple(
            replace(each, target=shown_target(each.capability, each.target))
            for each in effects.effects
        )
        return replace(effects, effects=rows)

    def _role(self, role: RoleView) -> RoleView:
        if role.name not in self._own:
            return role
        errors = tuple(replace(each, text=self.told(each.text, each.code)) for each in role.errors)
        return replace(role, stage=shown_key(role.stage), errors=errors)

    def role_errors(self, role: Mapping[str, object]) -> dict[str, object]:
        """Return a role as its region tells it, with its errors as they may be told."""
        errors = role.get("errors")
        if role.get("name") not in self._own or not isinstance(errors, list):
            return dict(role)
        return {
            **role,
            "stage": shown_key(str(role.get("stage", ""))),
            "errors": [
                {**each, "text": self.told(str(each["text"]), str(each["code"]))} for each in errors
            ],
        }

    def tail(self, text: str) -> str:
        """Return the last words of the processes of a run, which users' code may have written."""
        if not text or not self._own:
            return text
        return self.told(text, "") if self._open else WITHHELD

    def told(self, text: str, code: str) -> str:
        """Return words of a stage as they may be told; `code` is the error's."""
        if self._open or code in _NO_MESSAGE:
            for value in self._hidden:
                text = text.replace(value, WITHHELD)
            return text
        kind, place = _EXCEPTION.match(text), _PLACE.search(text)
        name = kind[0] if kind else "error"
        return f"{name}: {WITHHELD}{place[0] if place else ''}"


def shown_role(role: Mapping[str, Any]) -> dict[str, Any]:
    """Return a planned role without free values: configuration of code that is not byteor's."""
    stage = str(role.get("stage", ""))
    if not _is_own(stage):
        return dict(role)
    config = dict.fromkeys(role.get("config") or {}, WITHHELD)
    return {**role, "stage": shown_key(stage), "config": config}


def _is_own(stage: str) -> bool:
    """Tell whether a stage runs code that is not byteor's: a user's, or a program."""
    try:
        key = parse_key(stage)
    except StageKeyError:
        return bool(stage)
    return not key.is_builtin


def _free_values(roles: Iterable[RolePlan]) -> Iterator[str]:
    for role in roles:
        if not _is_own(role.stage):
            continue
        yield from _forms(str(each) for each in role.config.values() if not isinstance(each, bool))
        kind, _, target = role.stage.partition(":")
        if kind == "exec":
            yield from _forms(target.split("|")[1:])
        elif kind == "http_post":
            yield from _forms(["/".join(target.split("/")[3:])])


def _variables(environment: Mapping[str, str]) -> Iterator[str]:
    free = (value for name, value in environment.items() if name not in _PLAIN_VARIABLES)
    yield from _forms(value for value in free if not value.startswith("/"))


def _forms(values: Iterable[str]) -> Iterator[str]:
    """Yield values as they are and as an exception's words may quote them."""
    for value in values:
        if len(value) >= HIDDEN_CHARS_MIN:
            yield value
            yield repr(value)[1:-1]
            yield json.dumps(value)[1:-1]
            yield repr(value.encode("utf-8", "surrogateescape"))[2:-1]
