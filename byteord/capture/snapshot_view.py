"""A snapshot as it may leave its host. Pure.

Owns which texts of a run's plan, view and regions are words of the product or names of the spec;
every other text becomes a token. Numbers and truth values stay.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from byteord.capture.redact import Redactor
from byteord.spec.stage_key import tokened_key

_EXCEPTION = re.compile(r"([A-Z][A-Za-z]{2,40}(?:Error|Exception|Interrupt|Exit|Warning))(?::|\Z)")
_PLAN_WORDS = frozenset(
    [
        "file",
        "name",
        "kind",
        "on_full",
        "state",
        "adapter",
        "mode",
        "digest",
        "capability",
        "profile",
        "sched",
        "environment",
        "wait",
        "failure_policy",
        "effects_policy",
        "model",
        "sync",
        "run_id",
        "report",
    ]
)
_RUN_WORDS = frozenset(
    [
        "id",
        "name",
        "state",
        "type",
        "status",
        "reason",
        "role",
        "roles",
        "kind",
        "lane",
        "by",
        "root",
        "spec_sha256",
        "deployment_sha256",
        "message_sha256",
        "code",
        "on_full",
        "held_by",
        "producers",
        "consumers",
        "capability",
        "mode",
        "lease",
        "policy",
        "assurance",
        "exit",
        "confinement",
        "knob",
        "requested",
        "applied",
        "evidence",
        "fix",
        "code_digests",
        "file",
        "environment",
        "wait",
        "run_id",
        "boot_id",
        "clock",
    ]
)
_DIGESTS = frozenset(["message_sha256"])
_CONDITIONS = frozenset(["Ready", "Tuned", "WorkerRestarted", "Adopted", "ShimSilent"])
"""Conditions whose message is made of the product's own words and names of the spec."""


def snapshot_view(document: bytes, redactor: Redactor, *, guarded: bool = False) -> dict[str, Any]:
    """Return a snapshot without configuration, paths, people, and what quotes a payload.

    `guarded`: not even digests of messages, from which short fields could be guessed.
    """
    snapshot = json.loads(document)
    plan, run, regions = (snapshot.get(name) or {} for name in ("plan", "run", "regions"))
    view = _View(redactor)
    words = _RUN_WORDS - _DIGESTS if guarded else _RUN_WORDS
    shown: dict[str, Any] = {
        key: value for key, value in snapshot.items() if isinstance(value, int)
    }
    shown["plan"] = view.walk(plan, _PLAN_WORDS, "")
    shown["run"] = view.walk(_run(run, redactor), words, "")
    shown["regions"] = view.walk(_regions(regions, redactor), words, "") or None
    return shown


def tuning_view(document: bytes, redactor: Redactor) -> dict[str, Any]:
    """Return what each worker asked of the kernel and what it got; empty: nothing is known."""
    run = (json.loads(document).get("run") or {}) if document else {}
    workers = [each for each in run.get("workers") or () if each.get("tuning")]
    view = _View(redactor)
    shown = [
        {
            "worker": each.get("index"),
            "roles": each.get("roles"),
            "cpus": each.get("cpus"),
            "knobs": view.walk(each["tuning"], _RUN_WORDS, ""),
        }
        for each in workers
    ]
    return {"workers": shown} if shown else {}


class _Kept(str):
    """A text that was looked at already."""

    __slots__ = ()


class _View:
    """Walks a document and keeps what it knows."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def walk(self, node: Any, words: frozenset[str], key: str) -> Any:
        """Return the node with every text that is not known as a token."""
        if isinstance(node, Mapping):
            return {name: self._member(child, words, key, name) for name, child in node.items()}
        if isinstance(node, list):
            return [self.walk(each, words, key) for each in node]
        if not isinstance(node, str) or not node:
            return node
        if key == "stage":
            return tokened_key(node, self._redactor.token)
        kept = key in words or isinstance(node, _Kept)
        return str(node) if kept else self._redactor.token(node)

    def _member(self, child: Any, words: frozenset[str], around: str, name: str) -> Any:
        if around in ("config", "options", "actions"):
            return self.walk(child, frozenset(), "")
        if around == "code_digests":
            return self.walk(child, words, around)
        return self.walk(child, words, name)


def _run(run: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    said = dict(run)
    said["failure"] = _without_words(run.get("failure"), "message", redactor)
    said["conditions"] = [_condition(each, redactor) for each in run.get("conditions") or ()]
    said["roles"] = [_role(each, redactor) for each in run.get("roles") or ()]
    said["holds"] = [_renamed(each) for each in run.get("holds") or ()]
    return said


def _regions(regions: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    if not regions:
        return {}
    said = dict(regions)
    said["failure"] = _without_words(regions.get("failure"), "message", redactor)
    said["roles"] = [_role(each, redactor) for each in regions.get("roles") or ()]
    return said


def _condition(condition: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    if condition.get("type") in _CONDITIONS:
        return _renamed(condition)
    return _without_words(condition, "message", redactor) or {}


def _renamed(said: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a message whose words are known."""
    return {**said, "message": _Kept(said.get("message", ""))}


def _role(role: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Samples of rejected input leave as digests; what stages said of a message as a token."""
    said = dict(role)
    said["errors"] = [_without_words(each, "text", redactor) for each in role.get("errors") or ()]
    if role.get("samples"):
        said["samples"] = {
            reason: {"message_sha256": hashlib.sha256(str(sample).encode()).hexdigest()}
            for reason, sample in role["samples"].items()
        }
    return said


def _without_words(
    said: Mapping[str, Any] | None, key: str, redactor: Redactor
) -> dict[str, Any] | None:
    """Keep the class of an exception, for it is code; the rest may quote a message."""
    if not said:
        return None
    text = str(said.get(key) or "")
    kind = _EXCEPTION.match(text)
    shown = redactor.token(text) if text else ""
    return {**said, key: _Kept(f"{kind[1]}: {shown}" if kind else shown)}
