"""Numbers for people."""

from __future__ import annotations

_UNITS_NS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))
_UNITS_BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def duration(nanoseconds: int) -> str:
    """Return for example `1.23 ms`; `-` for 0, which means unknown."""
    for unit, name in _UNITS_NS:
        if nanoseconds >= unit:
            return (
                f"{nanoseconds / unit:.3g} {name}"
                if nanoseconds < 1000 * unit
                else f"{nanoseconds // unit:,} {name}"
            )
    return "-"


def count(number: int) -> str:
    """Return a number with thousands separated."""
    return f"{number:,}"


def size(number: int) -> str:
    """Return for example `4 MiB`."""
    for unit, name in _UNITS_BYTES:
        if number >= unit:
            return f"{number / unit:.4g} {name}"
    return f"{number} bytes"
