"""JSON as signed documents need it: read strictly, written in one way only.

A document is at most so many bytes of UTF-8, no key stands twice, numbers are integers, and nothing
nests without end. Errors carry a stable reason and say what was seen and wanted.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

DOCUMENT_BYTES_MAX = 64 << 10
TEXT_CHARACTERS_MAX = 4096
_DIGITS_MAX = 18
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


class TrustError(Exception):
    """A document that is not accepted, with a stable `reason` and a message for people."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.reason = reason
        self.message = message


def loads(data: bytes, what: str, reason: str, bytes_max: int = DOCUMENT_BYTES_MAX) -> Any:
    """Return the value of a strict JSON document; raise TrustError(`reason`) for anything else."""
    if len(data) > bytes_max:
        raise TrustError(reason, f"{what}: {len(data)} bytes; wanted at most {bytes_max}")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_number,
            parse_constant=_no_number,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        text = str(error) or "absurd nesting"
        raise TrustError(reason, f"{what}: is no strict JSON ({text[:200]})") from None


def dumps(value: Any) -> bytes:
    """Return a value in canonical JSON: keys sorted, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:64]!r} stands twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:32]} is no integer")


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise ValueError(f"the number {text[:32]}... is too long")
    return int(text)


class Reader:
    """Takes the fields of one object by name and type; what is left over is an error."""

    def __init__(self, value: Any, what: str, reason: str) -> None:
        """Begin with an object; anything else is refused."""
        self._what, self._reason = what, reason
        if not isinstance(value, dict):
            self.fail(f"is {_kind(value)}; wanted an object")
        self._left: dict[str, Any] = dict(value)

    def fail(self, text: str) -> NoReturn:
        """Refuse the document."""
        raise TrustError(self._reason, f"{self._what}: {text}")

    def take(self, name: str) -> Any:
        """Return a field of any type and forget it; None when it is not there."""
        return self._left.pop(name, None)

    def __contains__(self, name: str) -> bool:
        """Tell whether a field is still there."""
        return name in self._left

    def text_long(self, name: str) -> str:
        """Return a text of any length and kind."""
        value = self._left.pop(name, None)
        if not isinstance(value, str):
            self.fail(f"{name} is {_kind(value)}; wanted a text")
        return value

    def text(self, name: str, pattern: str = "", default: str | None = None) -> str:
        """Return a text; without a default it must be there."""
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            self.fail(f"{name} is {_kind(value)}; wanted a text")
        if len(value) > TEXT_CHARACTERS_MAX or not value.isprintable():
            self.fail(f"{name} is too long or has characters that cannot be printed")
        if pattern and value != default and not re.fullmatch(pattern, value):
            self.fail(f"{name} is {value[:80]!r}; wanted {pattern}")
        return value

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return an integer within bounds."""
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(f"{name} is {_kind(value)}; wanted an integer")
        if value != default and not low <= value <= high:
            self.fail(f"{name} is {value}; wanted {low} to {high}")
        return int(value)

    def texts(self, name: str, pattern: str, count_max: int = 256) -> tuple[str, ...]:
        """Return a list of distinct texts."""
        value = self._left.pop(name, None)
        if not isinstance(value, list) or len(value) > count_max:
            self.fail(f"{name} is {_kind(value)}; wanted a list of at most {count_max} texts")
        for item in value:
            if not isinstance(item, str) or not re.fullmatch(pattern, item):
                self.fail(f"{name} has {str(item)[:80]!r}; wanted {pattern}")
        if len(set(value)) != len(value):
            self.fail(f"{name} names something twice")
        return tuple(value)

    def time(self, name: str, *, numbers: bool = False, required: bool = True) -> int:
        """Return a time as seconds since the epoch; 0 when it may be absent and is."""
        value = self._left.pop(name, None)
        if value is None and not required:
            return 0
        if numbers and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        if not isinstance(value, str) or not _TIME.match(value):
            self.fail(f"{name} is {str(value)[:40]!r}; wanted a time as 2026-01-31T12:00:00Z")
        try:
            return int(datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z").timestamp())
        except ValueError:
            self.fail(f"{name} is {value!r}, which is no time")

    def end(self, *, critical: tuple[str, ...] = ()) -> None:
        """Refuse what nobody took: every unknown field, unless it says that it does not matter.

        A field whose name begins with `x_` may be passed over, if `critical` does not name it.
        """
        unknown = [name for name in self._left if not name.startswith("x_")]
        unknown += [name for name in critical if name in self._left or name.startswith("x_")]
        if unknown:
            self.fail(f"has the unknown field {min(unknown)[:64]!r}")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", bool: "a boolean"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def time_text(seconds: int) -> str:
    """Return a time as signed documents have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decode_base64(text: str, what: str, reason: str, *, url: bool = False) -> bytes:
    """Return the bytes of base64 in its one form (`url`: of the URL alphabet, without padding)."""
    raw = text.encode("ascii", "replace")
    try:
        if url:
            padded = raw + b"=" * (-len(raw) % 4)
            data = base64.b64decode(padded, altchars=b"-_", validate=True)
        else:
            data = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        raise TrustError(reason, f"{what}: is no base64") from None
    if encode_base64(data, url=url) != text:
        raise TrustError(reason, f"{what}: is base64 in another than its one form")
    return data


def encode_base64(data: bytes, *, url: bool = False) -> str:
    """Return base64, with `url` of the URL alphabet and without padding."""
    if url:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")
    return base64.b64encode(data).decode()
