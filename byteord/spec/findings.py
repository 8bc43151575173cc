"""What validation says: findings, their severity and the levels they come from.

Owns the values; `byteord.spec.codes` owns the list of codes. It must not decide anything.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str, ...]
"""A key path; places in an array are decimal indices."""

_SHOWN_CHARS_MAX = 80
_USERINFO = re.compile(r"://(?:[^\s/?#]*|[^\s/?#:]*:(?!\d*[/?#])\S*)@")
"""Up to the last @ of the host part; also past a slash that a password was not to have."""


class Severity(enum.StrEnum):
    """How bad a finding is."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a source text, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that validation found, with the next step for the person who reads it."""

    code: str
    severity: Severity
    document: str
    """`spec`, `deployment` or `host`."""
    path: str
    """Dotted key path; empty for the whole document."""
    seen: str
    wanted: str
    fix: str
    line: int = 0
    """From 1; 0 when the finding has no place in the text."""
    column: int = 0

    def __str__(self) -> str:
        """Return the finding as one line for people."""
        place = f":{self.line}:{self.column}" if self.line else ""
        path = f" {self.path}:" if self.path else ""
        head = f"{self.document}{place}: {self.severity}: {self.code}:{path}"
        return f"{head} saw {self.seen}; wanted {self.wanted}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Level:
    """One level of validation, with what it left unchecked."""

    name: str
    ran: bool
    not_checked: str


def dotted(path: Path) -> str:
    """Return a key path as people write it."""
    return ".".join(path)


def without_userinfo(text: str) -> str:
    """Return a text with the user and password of each URL in it hidden."""
    return _USERINFO.sub("://***@", text)


def shown(value: object) -> str:
    """Return a value as findings quote it: short, one line, printable, without passwords of URLs.

    What is cut off is hidden first: half a password is not seen to be one.
    """
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, dict):
        text = "a table"
    elif isinstance(value, list | tuple):
        text = "an array" if value else "an empty array"
    elif isinstance(value, str):
        text = ascii(without_userinfo(str(value)))
        text = f'"{text[1:-1]}"'
    else:
        text = str(value)
    if len(text) <= _SHOWN_CHARS_MAX:
        return text
    return f"{text[: _SHOWN_CHARS_MAX - 20]}... ({len(text)} characters)"


class Collector:
    """Gathers the findings of one document and knows where its keys stand."""

    def __init__(
        self, document: str, places: Mapping[Path, Place], *, unknown: Severity = Severity.ERROR
    ) -> None:
        """Begin without findings; `unknown` is how bad an unknown key is here."""
        self.document = document
        self.unknown = unknown
        self.flags: frozenset[Path] = frozenset()
        """Key paths that came by flag and stand nowhere in the text."""
        self.findings: list[Finding] = []
        self.bad: set[Path] = set()
        self._places = places

    def add(  # a finding has that many parts
        self,
        code: str,
        path: Path = (),
        *,
        seen: str,
        wanted: str,
        fix: str,
        severity: Severity = Severity.ERROR,
        place: Place | None = None,
    ) -> None:
        """Record a finding; it repeats no password of a URL, whoever words it.

        One about a key or value as such marks its path as not to be built upon.
        """
        if self._by_flag(path):
            seen, place = f"{seen} given by --set", Place(0, 0)
        place = place or self.place(path)
        if severity is Severity.ERROR and code.startswith(("KEY_", "VALUE_")):
            self.bad.add(path)
        self.findings.append(
            Finding(
                code=code,
                severity=severity,
                document=self.document,
                path=without_userinfo(dotted(path)),
                seen=without_userinfo(seen),
                wanted=without_userinfo(wanted),
                fix=without_userinfo(fix),
                line=place.line,
                column=place.column,
            )
        )

    def _by_flag(self, path: Path) -> bool:
        return any(path[: len(flag)] == flag for flag in self.flags)

    def unknown_at(self, path: Path) -> Severity:
        """Return how bad an unknown key is: one that was typed as a flag never goes unheard."""
        named = any(flag[: len(path)] == path for flag in self.flags)
        return Severity.ERROR if named else self.unknown

    def place(self, path: Path) -> Place:
        """Return where a key, or else the nearest table around it, stands."""
        for end in range(len(path), 0, -1):
            found = self._places.get(path[:end])
            if found is not None:
                return found
        return Place(0, 0)

    def is_bad(self, path: Path) -> bool:
        """Tell whether a value that could not be read stands at, in or around this path."""
        size = len(path)
        return any(bad[:size] == path or path[: len(bad)] == bad for bad in self.bad if bad)
