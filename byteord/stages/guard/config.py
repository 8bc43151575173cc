"""The built-in stages `dataguard_check`, `dataguard_redact` and `dataguard_fused`, as catalogued.

Owns how their configuration is read. Schemas and the key of `hash` are the deployment's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from byteord.spec.model import ByteRange, ConfigKey
from byteord.stages.declared import Builtin, Declared
from byteord.stages.guard.rules import FORMS, NAME_BYTES_MAX, Rule, parse_rule
from byteord.stages.reader import Reader

STATE_BYTES = 4160
"""As GUARD_STATE_BYTES: the report."""
RULES_MAX, SCHEMAS_MAX = 32, 32
VERSION_MAX = (1 << 63) - 1
FORMATS = ("json", "msgpack", "fixed")
REJECTS = ("fail", "drop")
REFERENCE = re.compile(r"(?P<id>[A-Za-z0-9][A-Za-z0-9_.-]{0,63})(?:>=(?P<version>[0-9]{1,18}))?\Z")
"""A schema that a stage wants: its id, and the least version that it must be for."""

_KEYS = (
    ConfigKey(
        "format",
        "string",
        "what a payload is: a JSON object, a MessagePack map, or a fixed row in schema order",
        default="json",
        choices=FORMATS,
    ),
    ConfigKey(
        "schemas.*",
        "string",
        "ids of the schemas that messages may have, `id` or `id>=VERSION`; all of the registry by "
        "default",
    ),
    ConfigKey("type_field", "string", "field that holds a message's type", default="type"),
    ConfigKey("message_type", "string", "the type of all messages, instead of `type_field`"),
    ConfigKey(
        "version_field", "string", "field that holds the version of its schema", default="version"
    ),
    ConfigKey("version", "integer", "the version of all messages, instead of `version_field`"),
    ConfigKey(
        "on_reject",
        "string",
        "a message that does not decode or does not fit its schema: `fail` or `drop` it; one "
        "without a schema always fails",
        default="fail",
        choices=REJECTS,
    ),
)
_RULES = ConfigKey("rules.*", "string", f"what to do to fields: {FORMS}")


def _configure(reader: Reader, *, redacts: bool) -> Declared:
    format_ = reader.choice("format", "json", FORMATS)
    drops = reader.choice("on_reject", "fail", REJECTS) == "drop"
    _read_header(reader, fixed=format_ == "fixed")
    for index in reader.indices("schemas", SCHEMAS_MAX):
        key = f"schemas.{index}"
        if not REFERENCE.match(reader.texts.get(key, "")):
            reader.problem("TYPE", key, "the id of a schema, or id>=VERSION", "correct the text")
    if redacts:
        _read_rules(reader)
    changed = (ByteRange(0, 0),) if redacts else ()
    return Declared(
        mutates=changed,
        drops=drops,
        resizes=redacts and format_ != "fixed",
        state_bytes=STATE_BYTES,
    )


def _read_header(reader: Reader, *, fixed: bool) -> None:
    for key, other in (("message_type", "type_field"), ("version", "version_field")):
        if reader.has(key):
            reader.idle((other,), f"`{key}` is given for all messages")
        elif fixed:
            reader.missing(key, f"`{key}`: a fixed row does not say it")
            reader.idle((other,), "a fixed row does not say it")
        text = reader.texts.get(other)
        if text is not None and not 0 < len(text.encode()) <= NAME_BYTES_MAX:
            reader.problem("TYPE", other, f"1 to {NAME_BYTES_MAX} bytes", "name a field")
    if not 0 < len(reader.texts.get("message_type", "-").encode()) <= NAME_BYTES_MAX:
        reader.problem("TYPE", "message_type", f"1 to {NAME_BYTES_MAX} bytes", "name a type")
    reader.integer("version", 0, 0, VERSION_MAX)


def _read_rules(reader: Reader) -> None:
    seen: set[str] = set()
    indices = reader.indices("rules", RULES_MAX)
    if not indices:
        reader.missing("rules.0", f"at least one rule: {FORMS}")
    for index in indices:
        key = f"rules.{index}"
        rule = parse_rule(reader.texts.get(key, ""))
        if rule is None:
            reader.problem("TYPE", key, FORMS, "write the rule in one of these forms")
        elif rule.field in seen:
            fix = "keep the stricter rule, or chain two stages"
            reader.problem("CONFLICT", key, f"one rule for the field {rule.field}", fix)
        else:
            seen.add(rule.field)


def rules_of(config: dict[str, str]) -> tuple[Rule, ...]:
    """Return the rules of a valid configuration in canonical text, in order."""
    found: list[Rule] = []
    while (text := config.get(f"rules.{len(found)}")) is not None:
        rule = parse_rule(text)
        if rule is None:
            raise ValueError(f"rules.{len(found)} is no rule")
        found.append(rule)
    return tuple(found)


def _check(reader: Reader) -> Declared:
    return _configure(reader, redacts=False)


def _redact(reader: Reader) -> Declared:
    return _configure(reader, redacts=True)


def _builtin(
    name: str, summary: str, configure: Callable[[Reader], Declared], *, redacts: bool
) -> Builtin:
    return Builtin(name, summary, (*_KEYS, _RULES) if redacts else _KEYS, configure)


CHECK = _builtin(
    "dataguard_check",
    "holds messages to the schemas of the deployment's registry",
    _check,
    redacts=False,
)
REDACT = _builtin(
    "dataguard_redact",
    "drops, replaces, hashes, masks or truncates fields of messages whose schema it knows",
    _redact,
    redacts=True,
)
FUSED = _builtin(
    "dataguard_fused",
    "checks like `dataguard_check` and redacts like `dataguard_redact`, reading each message once",
    _redact,
    redacts=True,
)
