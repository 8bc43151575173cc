"""Data protection for tests: a schema registry, opened stages, and the rules in plain Python."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from byteord._cext.stages import Bench, StageHandle, open_builtin
from byteord.regions.report import read_report
from byteord.stages.guard.bind import bind, native_config, texts_of
from byteord.stages.guard.config import STATE_BYTES, rules_of
from byteord.stages.guard.registry import Schema, parse_registry
from byteord.stages.guard.report import report_names
from byteord.stages.guard.rules import Rule

KEY = b"a key of this deployment"
REGISTRY = b"""
[[schemas]]
id = "login"
version = 3
minimum = 2
fields = [
  { name = "user", type = "string", required = true, bytes = 64 },
  { name = "ip", type = "string", bytes = 16 },
  { name = "port", type = "integer", bytes = 4 },
  { name = "score", type = "number", bytes = 8 },
  { name = "ok", type = "boolean", bytes = 1 },
  { name = "note", type = "string", bytes = 32 },
  { name = "tags", type = "array", bytes = 3 },
]
[[schemas]]
id = "open"
version = 1
additional = true
fields = [{ name = "user", type = "any" }, { name = "extra", type = "object" }]
"""
RULES = ("user:hash", "ip:mask=2:3:*", "note:truncate=5", "port:drop", "score:replace_with=0")
SLOT_BYTES = 1024


def registry() -> tuple[Schema, ...]:
    """Return the schemas of the tests."""
    return parse_registry([("registry.toml", REGISTRY)])


def config_of(rules: Sequence[str] = (), **config: Any) -> dict[str, Any]:
    """Return the configuration of a stage."""
    return {**config, **{f"rules.{index}": rule for index, rule in enumerate(rules)}}


def open_stage(name: str, config: Mapping[str, Any], *, key: bytes = KEY) -> StageHandle:
    """Open a stage against the registry of the tests."""
    schemas, problems = bind(config, registry(), has_key=True, payload_max=SLOT_BYTES - 16)
    assert problems == []
    return open_builtin(name, native_config(config, schemas, key), SLOT_BYTES - 16)


def through(
    name: str, config: Mapping[str, Any], payloads: Sequence[bytes | None]
) -> tuple[list[bytes | None], dict[str, int]]:
    """Return what a stage makes of payloads in one batch, and its report."""
    handle = open_stage(name, config)
    state = bytearray(STATE_BYTES)
    try:
        left = Bench(list(payloads), SLOT_BYTES, state).process(handle.address)
    finally:
        handle.close()
    return left, read_report(bytes(state), report_names(config))


def redact_plainly(message: dict[str, Any], rules: Sequence[str], *, key: bytes = KEY) -> bytes:
    """Return a JSON message redacted by the same rules, written in Python without help."""
    return redact_by(message, rules_of(texts_of(config_of(rules))), key=key)


def redact_by(message: dict[str, Any], rules: Sequence[Rule], *, key: bytes = KEY) -> bytes:
    """Return a JSON message redacted by rules that were parsed before."""
    for rule in rules:
        _apply(message, rule, key)
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def _apply(message: dict[str, Any], rule: Rule, key: bytes) -> None:
    value = message.get(rule.field)
    if rule.field not in message:
        return
    if rule.action == "drop":
        del message[rule.field]
    elif rule.action == "replace_with":
        typed = isinstance(value, int | float)
        message[rule.field] = json.loads(rule.text) if typed else rule.text
    elif value is not None:
        message[rule.field] = _text(value, rule, key)


def _text(value: Any, rule: Rule, key: bytes) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    if rule.action == "hash":
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if rule.action == "truncate":
        return text[: rule.length]
    if len(text) <= rule.prefix + rule.suffix:
        return rule.text * len(text)
    hidden = len(text) - rule.prefix - rule.suffix
    return text[: rule.prefix] + rule.text * hidden + text[len(text) - rule.suffix :]
