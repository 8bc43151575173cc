"""A payload as it may be shown: its digest, and its bytes where they may be seen.

Pure. Owns that rule for everything that a replay shows. Data protection goes by field, as the
`dataguard` rules of the spec say; what is no JSON object is shown only where no such rule is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

REDACTED = "[redacted]"


@dataclass(frozen=True, slots=True)
class ShownPayload:
    """What may be seen of a payload. `shown`: empty, `redacted` or `digest`."""

    length: int
    sha256: str
    data: bytes = b""
    shown: str = "digest"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Shows payloads. `allowed` False: digests alone; `fields`: values never shown."""

    allowed: bool = False
    fields: Collection[str] = ()
    """Paths of fields under a rule, dotted; a field of that path or name below any is hidden."""

    def show(self, payload: bytes) -> ShownPayload:
        """Return a payload as it may be seen."""
        digest = hashlib.sha256(payload).hexdigest()
        if not self.allowed:
            return ShownPayload(len(payload), digest)
        if not self.fields:
            return ShownPayload(len(payload), digest, payload, "")
        document = as_object(payload)
        if document is None:
            return ShownPayload(len(payload), digest)
        clean, changed = self._without(document, "")
        if not changed:
            return ShownPayload(len(payload), digest, payload, "")
        data = json.dumps(clean, separators=(",", ":"), ensure_ascii=False).encode()
        return ShownPayload(len(payload), digest, data, "redacted")

    def _without(self, node: Any, path: str) -> tuple[Any, bool]:
        if isinstance(node, Mapping):
            made: dict[str, Any] = {}
            touched = False
            for key, value in node.items():
                where = f"{path}.{key}" if path else key
                if self._hidden(where, key):
                    made[key], touched = REDACTED, True
                    continue
                made[key], inner = self._without(value, where)
                touched |= inner
            return made, touched
        if isinstance(node, list):
            pairs = [self._without(each, path) for each in node]
            return [each for each, _ in pairs], any(inner for _, inner in pairs)
        return node, False

    def _hidden(self, path: str, name: str) -> bool:
        return path in self.fields or name in self.fields


def as_object(payload: bytes) -> dict[str, Any] | None:
    """Return a payload that is a JSON object, or None."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def first_byte(one: bytes, other: bytes) -> int:
    """Return the offset of the first byte that differs, or the length of the shorter one."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))


def first_field(one: bytes, other: bytes) -> str:
    """Return the path of the first field that differs between two JSON objects; else nothing."""
    left, right = as_object(one), as_object(other)
    return "" if left is None or right is None else _field(left, right, "")


def _field(left: Mapping[str, Any], right: Mapping[str, Any], path: str) -> str:
    for key in [*left, *(key for key in right if key not in left)]:
        where = f"{path}.{key}" if path else key
        if key not in left or key not in right:
            return where
        a, b = left[key], right[key]
        if isinstance(a, dict) and isinstance(b, dict):
            if inner := _field(a, b, where):
                return inner
        elif a != b or type(a) is not type(b):
            return where
    return ""
