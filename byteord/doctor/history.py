"""The last report of each profile, kept in the daemon's state: the next says what changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from byteord.doctor.model import Report

VERSION = 1
BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """A check that answers otherwise than the last time."""

    code: str
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Last:
    """What was kept of a report."""

    unix_s: float
    states: Mapping[str, str]


def load(directory: str, profile: str) -> Last | None:
    """Return what was kept for a profile; None when nothing was, or it cannot be read."""
    try:
        with open(_path(directory, profile), "rb") as file:
            raw = json.loads(file.read(BYTES_MAX))
        states = {str(code): str(state) for code, state in raw["states"].items()}
        return Last(float(raw["unix_s"]), states) if raw["version"] == VERSION else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def save(directory: str, report: Report) -> None:
    """Keep a report for the next run; checks that were not asked for keep what they had."""
    last = load(directory, report.profile)
    raw: dict[str, Any] = {
        "version": VERSION,
        "unix_s": report.started_unix_s,
        "states": {**(last.states if last else {}), **_states(report)},
    }
    path = _path(directory, report.profile)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.part"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(raw, file)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def changes(last: Last | None, report: Report) -> tuple[Change, ...]:
    """Return the checks whose state or settled value differs."""
    if last is None:
        return ()
    now = _states(report)
    return tuple(
        Change(code, last.states[code], said)
        for code, said in now.items()
        if code in last.states and last.states[code] != said
    )


def _states(report: Report) -> dict[str, str]:
    """Return what is comparable of each check: counts that never stand still are left out."""
    return {
        check.code: check.state.value
        if check.cost in ("probe", "measure") or check.code in _MOVING
        else f"{check.state.value}: {check.observed}".rstrip(": ")
        for check in report.checks
    }


_MOVING = frozenset({"C12", "C14", "M13", "M15", "M18", "S08", "T04", "T05", "D02", "D08", "X08"})
"""Checks whose observed value moves while nothing changes."""


def _path(directory: str, profile: str) -> str:
    return os.path.join(directory, "doctor", f"last-{profile}.json")
