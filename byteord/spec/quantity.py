"""Sizes, durations and byte strings as people write them, and the one spelling each has in a hash.

Owns the units. Pure: every function gives None for what it cannot read, and says nothing.
"""

from __future__ import annotations

import re

SIZE_UNITS = {
    "": 1,
    "B": 1,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "KB": 1000,
    "MB": 10**6,
    "GB": 10**9,
}
_SECOND_NS, _MILLISECOND_NS = 10**9, 10**6
DURATION_UNITS_NS = {
    "": _SECOND_NS,
    "ms": _MILLISECOND_NS,
    "s": _SECOND_NS,
    "m": 60 * _SECOND_NS,
    "h": 3600 * _SECOND_NS,
}
_SIZE = re.compile(r"(\d{1,19}) ?([A-Za-z]*)", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))? ?([a-z]*)", re.ASCII)


def size_of(text: str) -> int | None:
    """Return the bytes that `4096`, `64KiB` or `1 MB` stand for."""
    match = _SIZE.fullmatch(text)
    unit = SIZE_UNITS.get(match[2].upper()) if match else None
    return int(match[1]) * unit if match and unit else None


def duration_ns_of(text: str) -> int | None:
    """Return the nanoseconds that `10` (seconds), `0.5`, `500ms` or `2 m` stand for."""
    match = _DURATION.fullmatch(text)
    unit = DURATION_UNITS_NS.get(match[3]) if match else None
    if match is None or unit is None:
        return None
    return int(match[1]) * unit + int((match[2] or "").ljust(9, "0")) * unit // 10**9


def bytes_of(text: str) -> bytes | None:
    """Return the bytes that a text, or `hex:` and pairs of digits, stand for."""
    if not text.startswith("hex:"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(text[4:])
    except ValueError:
        return None


def canonical_duration(text: str) -> int | str:
    """Return whole seconds as an integer, else `500ms`, else decimal seconds with their unit."""
    whole = duration_ns_of(text)
    if whole is None:
        return text
    seconds, rest = divmod(whole, _SECOND_NS)
    if not rest:
        return seconds
    if rest % _MILLISECOND_NS == 0:
        return f"{whole // _MILLISECOND_NS}ms"
    return f"{seconds}.{rest:09}".rstrip("0") + "s"


def canonical_size(text: str) -> int | str:
    """Return the bytes as an integer."""
    size = size_of(text)
    return text if size is None else size


def canonical_bytes(text: str) -> str:
    """Return text where the bytes are text without NUL, else `hex:` and lower-case digits."""
    data = bytes_of(text)
    if data is None:
        return text
    try:
        plain = data.decode()
    except UnicodeDecodeError:
        plain = "\0"
    if "\0" in plain or plain.startswith("hex:"):
        return f"hex:{data.hex()}"
    return plain
