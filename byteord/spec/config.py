"""Configuration of stages and adapters: opaque to the schema, typed by what their catalogue says.

Owns the step from values as written to values as meant, so that every spelling of one
configuration has one canonical form. Which keys there are is the catalogue's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from byteord.spec.document import Bare
from byteord.spec.findings import Collector, Path, Severity
from byteord.spec.kv import infer
from byteord.spec.model import ConfigKey, ConfigProblem, Scalar
from byteord.spec.quantity import canonical_bytes, canonical_duration, canonical_size

UNKNOWN_KEY_CODES = ("KEY_UNKNOWN", "STAGE_CONFIG_UNKNOWN_KEY", "ADAPTER_OPTION_UNKNOWN")
"""Codes of configuration problems that are warnings in dev."""

Check = Callable[[Mapping[str, Scalar]], list[ConfigProblem]]

_TEXT_TYPES = ("string", "bytes", "number")
_SPELLINGS: dict[str, Callable[[str], Scalar]] = {
    "size": canonical_size,
    "duration": canonical_duration,
    "bytes": canonical_bytes,
}


def inferred(raw: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return a configuration that nobody describes, typed by the grammar of KV alone."""
    return {key: infer(value) if isinstance(value, Bare) else value for key, value in raw.items()}


def settle(
    raw: Mapping[str, Scalar],
    keys: Iterable[ConfigKey],
    check: Check,
    path: Path,
    found: Collector,
) -> dict[str, Scalar] | None:
    """Return the effective configuration: typed, with defaults, without unknown keys.

    Every problem is reported; None when one of them is an error.
    """
    keys = tuple(keys)
    config = {key: _read(value, key_for(keys, key)) for key, value in raw.items()}
    problems = check(config)
    worst = Severity.NOTE
    for problem in problems:
        unknown = problem.code in UNKNOWN_KEY_CODES
        at = (*path, *problem.key.split(".")) if problem.key else path
        severity = found.unknown_at(at) if unknown else Severity.ERROR
        worst = Severity.ERROR if severity is Severity.ERROR else worst
        found.add(
            problem.code,
            at,
            seen=problem.seen,
            wanted=problem.wanted,
            fix=problem.fix,
            severity=severity,
        )
    if worst is Severity.ERROR:
        return None
    dropped = {problem.key for problem in problems}
    meant = {
        key: _mean(value, key_for(keys, key)) for key, value in config.items() if key not in dropped
    }
    return with_defaults(meant, keys, check)


def with_defaults(
    config: Mapping[str, Scalar], keys: Iterable[ConfigKey], check: Check
) -> dict[str, Scalar]:
    """Return a configuration with every default spelled out that may stand in it."""
    full = dict(config)
    for key in keys:
        if key.default is None or key.name in full or "*" in key.name:
            continue
        candidate = {**full, key.name: _mean(key.default, key)}
        if not check(candidate):
            full = candidate
    return full


def key_for(keys: Iterable[ConfigKey], name: str) -> ConfigKey | None:
    """Return the key that describes a dotted name, where `*` stands for an index or a name."""
    parts = name.split(".")
    for key in keys:
        wanted = key.name.split(".")
        if len(wanted) == len(parts) and all(
            want in ("*", part) for want, part in zip(wanted, parts, strict=True)
        ):
            return key
    return None


def _read(value: Scalar, key: ConfigKey | None) -> Scalar:
    """Give an unquoted KV value the type of its key, or that of its grammar."""
    if not isinstance(value, Bare):
        return value
    return str(value) if key is not None and key.type in _TEXT_TYPES else infer(value)


def _mean(value: Scalar, key: ConfigKey | None) -> Scalar:
    """Return an accepted value in the one spelling that its key's type has."""
    if key is None:
        return value
    if key.type in _TEXT_TYPES and not isinstance(value, str):
        value = str(value).lower() if isinstance(value, bool) else str(value)
    if key.type == "number" and isinstance(value, str) and "." in value:
        return value.rstrip("0").rstrip(".")
    if key.type in _SPELLINGS and isinstance(value, str):
        return _SPELLINGS[key.type](value)
    if key.type in ("integer", "boolean") and isinstance(value, str):
        return infer(Bare(value))
    return value
