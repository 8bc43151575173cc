"""A data protection stage bound to the schemas of its deployment: what fits, what it compiles to.

Owns the checks that need both, which fail closed: a schema that is missing, older than the stage
wants, or that a rule does not fit, is an error before anything runs. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from byteord.spec.model import ConfigProblem, Scalar
from byteord.stages.guard.config import REFERENCE, SCHEMAS_MAX, rules_of
from byteord.stages.guard.registry import Field, Schema
from byteord.stages.guard.rules import Rule
from byteord.stages.reader import canonical_text

STAGES = ("dataguard_check", "dataguard_redact", "dataguard_fused")
HASH_STRING_BYTES_MIN, HASH_BYTES_MIN = 16, 8
"""Least width of a field of a fixed row that takes a hash: hex digits, raw bytes."""
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?\Z")


def texts_of(config: Mapping[str, Scalar]) -> dict[str, str]:
    """Return a configuration in canonical text."""
    return {key: canonical_text(value) for key, value in config.items()}


def bind(
    config: Mapping[str, Scalar], registry: Sequence[Schema], *, has_key: bool, payload_max: int
) -> tuple[tuple[Schema, ...], list[ConfigProblem]]:
    """Return the schemas that a stage with a valid configuration takes, and what does not fit."""
    texts = texts_of(config)
    problems: list[ConfigProblem] = []
    schemas = _chosen(texts, registry, problems)
    if len(schemas) > SCHEMAS_MAX:
        problems.append(
            _problem(
                "schemas",
                "TOO_LARGE",
                f"{len(schemas)} schemas",
                f"at most {SCHEMAS_MAX}",
                "name those that the stage needs under `schemas`",
            )
        )
    if texts.get("format") == "fixed":
        schemas = _row_schema(texts, schemas, payload_max, problems)
    rules = rules_of(texts)
    for index, rule in enumerate(rules):
        _fit(f"rules.{index}", rule, schemas, texts, problems)
    if any(rule.action == "hash" for rule in rules) and not has_key:
        problems.append(
            _problem(
                "rules",
                "KEY",
                "a `hash` rule and no key",
                "dataguard.hash_key of the deployment",
                'add hash_key = "secret:NAME" under [dataguard] in the deployment',
            )
        )
    return schemas, problems


def _problem(key: str, code: str, seen: str, wanted: str, fix: str) -> ConfigProblem:
    return ConfigProblem(key, f"STAGE_CONFIG_{code}", seen, wanted, fix)


def _chosen(
    texts: Mapping[str, str], registry: Sequence[Schema], problems: list[ConfigProblem]
) -> tuple[Schema, ...]:
    if not registry:
        problems.append(
            _problem(
                "schemas",
                "SCHEMA_MISSING",
                "no schema",
                "schema files in the deployment",
                'add schemas = ["FILE.toml"] under [dataguard] in the deployment',
            )
        )
    if "schemas.0" not in texts:
        return tuple(registry)
    chosen, index = [], 0
    while (text := texts.get(f"schemas.{index}")) is not None:
        wanted = REFERENCE.match(text)
        if wanted is None:
            raise ValueError(f"schemas.{index} names no schema")
        schema = next((each for each in registry if each.id == wanted["id"]), None)
        if schema is None:
            known = ", ".join(each.id for each in registry) or "none"
            problems.append(
                _problem(
                    f"schemas.{index}",
                    "SCHEMA_MISSING",
                    text,
                    f"a schema of the registry: {known}",
                    "add it to a schema file, or correct the id",
                )
            )
        elif schema.version < int(wanted["version"] or 0):
            problems.append(
                _problem(
                    f"schemas.{index}",
                    "SCHEMA_OLD",
                    f"version {schema.version} of {schema.id}",
                    f"version {wanted['version']} or later",
                    "update the schema file",
                )
            )
        else:
            chosen.append(schema)
        index += 1
    return tuple(chosen)


def _row_schema(
    texts: Mapping[str, str],
    schemas: Sequence[Schema],
    payload_max: int,
    problems: list[ConfigProblem],
) -> tuple[Schema, ...]:
    """Return the one schema that all rows have."""
    wanted, version = texts.get("message_type", ""), int(texts.get("version", "0"))
    ours = [
        each for each in schemas if each.says == wanted and each.oldest <= version <= each.version
    ]
    if not ours:
        problems.append(
            _problem(
                "message_type",
                "SCHEMA_MISSING",
                f"{wanted} version {version}",
                "a schema of the registry that reads it",
                "correct type and version, or add a schema",
            )
        )
        return ()
    if not 0 < ours[0].row_bytes <= payload_max:
        problems.append(
            _problem(
                "format",
                "SCHEMA_INCOMPATIBLE",
                f"rows of {ours[0].row_bytes} bytes"
                if ours[0].row_bytes
                else "fields without `bytes`",
                f"`bytes` for every field of {ours[0].id}, {payload_max} in all at most",
                "give each field its width, or raise the ring's slot_bytes",
            )
        )
    return (ours[0],)


def _fit(
    key: str,
    rule: Rule,
    schemas: Sequence[Schema],
    texts: Mapping[str, str],
    problems: list[ConfigProblem],
) -> None:
    fields = [
        (schema, field) for schema in schemas for field in schema.fields if field.name == rule.field
    ]
    if schemas and not fields:
        problems.append(
            _problem(
                key,
                "SCHEMA_INCOMPATIBLE",
                f"a rule for the field {rule.field}",
                "a field of one of its schemas",
                "correct the name: else it would pass untouched",
            )
        )
    fixed = texts.get("format") == "fixed"
    for schema, field in fields:
        why = _misfit(rule, field) or (_misfit_row(rule, field) if fixed else "")
        if why:
            problems.append(
                _problem(
                    key,
                    "SCHEMA_INCOMPATIBLE",
                    f"{field.type} {field.name} of {schema.id}",
                    why,
                    "choose another rule for the field",
                )
            )


def _misfit(rule: Rule, field: Field) -> str:
    """Say what a rule would want of a field instead; nothing when it fits."""
    if rule.action in ("mask", "truncate") and field.type in ("object", "array"):
        return "a text or a number: of nested values a part would show"
    if rule.action == "replace_with":
        forms = {"integer": _INTEGER, "number": _NUMBER}
        if field.type == "boolean" and rule.text not in ("true", "false"):
            return "true or false as the replacement"
        if field.type in forms and not forms[field.type].match(rule.text):
            return f"a replacement that is of type {field.type}"
    return ""


def _misfit_row(rule: Rule, field: Field) -> str:
    text = field.type in ("string", "bytes", "any")
    if rule.action == "hash":
        least = HASH_STRING_BYTES_MIN
        if field.type != "string" or field.bytes < least:
            return f"a string of {least} bytes or more, to hold the hex digits of a hash"
    if rule.action in ("mask", "truncate") and not text:
        return "a string: a number of a fixed row cannot hold text"
    if rule.action == "mask" and not rule.text.isascii():
        return "an ASCII masking character: a fixed row cannot grow"
    if rule.action == "replace_with" and text and len(rule.text.encode()) > field.bytes:
        return f"a replacement of at most {field.bytes} bytes"
    if rule.action == "replace_with" and field.type == "integer":
        edge = 1 << (8 * field.bytes - 1)
        if not -edge <= int(rule.text) < edge:
            return f"a replacement that {field.bytes} bytes hold"
    return ""


def native_config(
    config: Mapping[str, Scalar], schemas: Sequence[Schema], key: bytes
) -> dict[str, str]:
    """Return what the native stage reads. It holds the key: never to be logged or stored."""
    texts = texts_of(config)
    native: dict[str, str] = {
        name: texts[name]
        for name in ("format", "on_reject", "message_type", "version")
        if name in texts
    }
    for name, fixed in (("type_field", "message_type"), ("version_field", "version")):
        if fixed not in texts:
            native[name] = texts.get(name, name.removesuffix("_field"))
    for index, rule in enumerate(rules_of(texts)):
        native |= _flat(
            f"rules.{index}",
            {
                "field": rule.field,
                "action": rule.action,
                "text": rule.text,
                "prefix": rule.prefix,
                "suffix": rule.suffix,
                "length": rule.length,
            },
        )
    for index, schema in enumerate(schemas):
        native |= _flat(
            f"schemas.{index}",
            {
                "message_type": schema.says,
                "version": schema.version,
                "minimum": schema.oldest,
                "additional": schema.additional,
            },
        )
        for place, field in enumerate(schema.fields):
            native |= _flat(
                f"schemas.{index}.fields.{place}",
                {
                    "name": field.name,
                    "type": field.type,
                    "required": field.required,
                    "bytes": field.bytes,
                },
            )
    if key:
        native["hash_key"] = key.hex()
    return native


def _flat(prefix: str, values: Mapping[str, Scalar]) -> dict[str, str]:
    return {f"{prefix}.{name}": canonical_text(value) for name, value in values.items()}
