"""Which part of a capture a bundle is to hold, as people write it."""

from __future__ import annotations

import re

import click

_UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LAST = re.compile(r"([0-9]{1,12})(ms|s|m|h)?\Z")


def part_of(last: str | None, from_sequence: int | None) -> dict[str, int]:
    """Return the fields of a request; raises click's usage error for what cannot be read."""
    part: dict[str, int] = {}
    if last is not None:
        made = _LAST.match(last)
        if made is None or not int(made[1]):
            raise click.UsageError(
                f"--last {last}: wanted a number of messages, such as 1000, or a time, such as 30s"
            )
        unit = made[2]
        key = "last_ns" if unit else "last_messages"
        part[key] = int(made[1]) * (_UNITS_NS[unit] if unit else 1)
    if from_sequence is not None:
        part["from_sequence"] = from_sequence
    return part
