"""A payload as it may be shown: its digest, and its bytes where they may be seen.

Owns that rule for everything that a replay shows. Where messages are under data protection rules
it shows, and digests, what the rules leave of one; of a message that fits none it tells nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byteord._cext.guard import Guard


@dataclass(frozen=True, slots=True)
class ShownPayload:
    """What may be seen of a payload. `shown`: empty, `redacted`, `digest` or `withheld`."""

    length: int
    sha256: str
    data: bytes = b""
    shown: str = "digest"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Shows payloads, in one thread at a time. `allowed` False: digests alone."""

    allowed: bool = False
    guarded: bool = False
    """Messages are under data protection rules."""
    guard: Guard | None = None
    """These rules; None where there are none, or where they cannot be applied."""

    @property
    def quotes(self) -> bool:
        """Tell whether words that may quote a payload may be shown."""
        return self.allowed and not self.guarded

    def show(self, payload: bytes) -> ShownPayload:
        """Return a payload as it may be seen."""
        seen = self._seen(payload)
        if seen is None:
            return ShownPayload(0, "", shown="withheld")
        digest = hashlib.sha256(seen).hexdigest()
        if not self.allowed:
            return ShownPayload(len(seen), digest)
        return ShownPayload(len(seen), digest, seen, "" if seen == payload else "redacted")

    def digest(self, payload: bytes) -> str:
        """Return the SHA-256 of a payload as it may be seen; empty: not even that may be."""
        seen = self._seen(payload)
        return "" if seen is None else hashlib.sha256(seen).hexdigest()

    def _seen(self, payload: bytes) -> bytes | None:
        if not self.guarded:
            return payload
        return self.guard.view(payload) if self.guard is not None else None


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
