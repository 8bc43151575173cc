"""Data protection on the way out: the rules of a run, applied to what is shown or taken of it.

Owns which rules those are (of the run's stages, and of its deployment), and their digest. A message
that fits none of their schemas must not be seen. Pure but for the native instances that it opens;
`hash` goes by a key of the view's own, so that no secret of the run is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from byteord._cext.guard import Guard
from byteord.errors import ByteorError
from byteord.spec.model import SLOT_HEADER_BYTES, Scalar
from byteord.stages.guard.bind import bind, native_config, texts_of
from byteord.stages.guard.config import rules_of
from byteord.stages.guard.registry import Schema, parse_registry

ACTING = ("dataguard_redact", "dataguard_fused")
"""Stages that take something out of messages."""


@dataclass(frozen=True, slots=True)
class Guarding:
    """The rules of one run, bound to its schemas and to one key."""

    configs: tuple[Mapping[str, str], ...]
    """Native configurations; they hold the key."""
    payload_max: int
    rules_sha256: str
    """Of the rules and schemas, without the key."""
    fields: frozenset[str]
    """Names of the fields under a rule."""
    problem: str = ""
    """Why they cannot be applied, so that nothing may be seen; empty: they can."""

    def open(self) -> Guard | None:
        """Return the native rules, for one thread; None when they cannot be applied."""
        if self.problem:
            return None
        return Guard([dict(each) for each in self.configs], self.payload_max)


def guarding_of(
    stages: Iterable[tuple[str, Mapping[str, Scalar]]],
    schemas: Sequence[str],
    *,
    rules: Mapping[str, Scalar],
    slot_bytes: int,
    key: bytes,
) -> Guarding | None:
    """Return the rules of a run; None: nothing of it is under a rule.

    `stages`: key and configuration of each; `schemas`: texts of the schema files; `rules`: what the
    deployment asks for besides, as `dataguard_redact` is configured; `slot_bytes`: the largest.
    """
    wanted = [config for stage, config in stages if stage in ACTING]
    wanted += [rules] if rules else []
    unique = list({json.dumps(texts_of(each), sort_keys=True): each for each in wanted}.values())
    if not unique:
        return None
    payload_max = slot_bytes - SLOT_HEADER_BYTES
    fields = frozenset(rule.field for each in unique for rule in rules_of(texts_of(each)))
    nothing = Guarding((), payload_max, "", fields)
    try:
        named = ((f"schema file {index}", text.encode()) for index, text in enumerate(schemas))
        bound, problem = _bound(unique, parse_registry(named), payload_max, fields)
    except (ByteorError, ValueError) as error:
        return replace(nothing, problem=f"its schemas cannot be read: {error}")
    if problem:
        return replace(nothing, problem=problem)
    digest = hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()
    own = hmac.new(key, b"dataguard", hashlib.sha256).hexdigest()
    configs = tuple({**each, "hash_key": own} for each in bound)
    return Guarding(configs, payload_max, digest, fields)


def _bound(
    wanted: Sequence[Mapping[str, Scalar]],
    registry: tuple[Schema, ...],
    payload_max: int,
    fields: Iterable[str],
) -> tuple[list[dict[str, str]], str]:
    """Return native configurations without a key, and the first thing that does not fit."""
    excused = {f"excused.{index}": name for index, name in enumerate(sorted(fields))}
    bound = []
    for config in wanted:
        schemas, problems = bind(config, registry, has_key=True, payload_max=payload_max)
        if problems:
            first = problems[0]
            return [], f"{first.key}: {first.seen}; wanted {first.wanted}"
        bound.append({**native_config(config, schemas, b""), **excused})
    return bound, ""
