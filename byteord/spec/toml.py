"""TOML, the form of a document that people write.

`tomllib` says what the text means; the outline here says where each key stands, and bounds nesting
and size before `tomllib` recurses. It must not know what keys mean.
"""

from __future__ import annotations

import re
import tomllib

from byteord.spec.document import KEYS_MAX, NESTING_MAX, Document, place_at
from byteord.spec.findings import Collector, Path, Place, dotted

_AT = re.compile(
    r"(?P<what>.*?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)\Z",
    re.DOTALL,
)
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_BASIC_LONG = re.compile(r'"""(?:[^\\]|\\.)*?"""(?!")', re.DOTALL)
_LITERAL_LONG = re.compile(r"'''.*?'''(?!')", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n\r]+")
_TWICE = ("Cannot ", "Duplicate ")


def parse(text: str, found: Collector) -> Document:
    """Read TOML text; what is wrong becomes a finding."""
    outline = _Outline(text)
    try:
        outline.read()
    except _BoundError as error:
        seen, wanted, fix = error.said
        place = place_at(text, error.offset)
        found.add(error.code, place=place, seen=seen, wanted=wanted, fix=fix)
        return Document(places=outline.places, readable=False)
    for path, first, again in outline.duplicates:
        found.add(
            "DOCUMENT_DUPLICATE_KEY",
            place=again,
            seen=f"{dotted(path)} again",
            wanted=f"each key once; it first stands in line {first.line}",
            fix="delete one of the two",
        )
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        _syntax(text, error, outline, found)
        return Document(places=outline.places, readable=False)
    return Document(tree=tree, places=outline.places, readable=not outline.duplicates)


def _syntax(text: str, error: Exception, outline: _Outline, found: Collector) -> None:
    match = _AT.match(str(error))
    what = match["what"] if match else str(error)
    if what.startswith(_TWICE) and outline.duplicates:
        return
    place = place_at(text, len(text.rstrip()))
    if match and match["line"]:
        place = Place(int(match["line"]), int(match["column"]))
    code = "DOCUMENT_DUPLICATE_KEY" if what.startswith(_TWICE) else "DOCUMENT_SYNTAX"
    ending = "" if not match or match["line"] else " at the end of the text"
    found.add(
        code,
        place=place,
        seen=f"{what[:1].lower()}{what[1:]}{ending}",
        wanted="a TOML 1.0 document",
        fix="correct the text at this place; strings stand in quotes, a table is headed by [name]",
    )


class _LostError(Exception):
    """The outline cannot follow the text; `tomllib` will say what is wrong with it."""


class _BoundError(Exception):
    """The text is beyond a limit."""

    def __init__(self, code: str, offset: int, *, seen: str, wanted: str, fix: str) -> None:
        super().__init__(code)
        self.code, self.offset = code, offset
        self.said = (seen, wanted, fix)


class _Outline:
    """Walks TOML text and notes where each key and array element stands."""

    def __init__(self, text: str) -> None:
        self.places: dict[Path, Place] = {}
        self.duplicates: list[tuple[Path, Place, Place]] = []
        self._text, self._at = text, 0
        self._line, self._line_start = 1, 0
        self._counted_to = 0
        self._lengths: dict[Path, int] = {}
        self._written: dict[Path, Place] = {}
        self._keys = 0

    def read(self) -> None:
        """Note everything up to the end, or up to where the text cannot be followed."""
        table: Path = ()
        try:
            while self._skip(_BLANK) and self._at < len(self._text):
                if self._text[self._at] == "[":
                    table = self._header()
                else:
                    self._pair(table, 0)
        except _LostError:
            return

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match is not None

    def _expect(self, token: str) -> None:
        if not self._text.startswith(token, self._at):
            raise _LostError
        self._at += len(token)

    def _here(self) -> Place:
        newlines = self._text.count("\n", self._counted_to, self._at)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rfind("\n", self._counted_to, self._at) + 1
        self._counted_to = self._at
        return Place(self._line, self._at - self._line_start + 1)

    def _note(self, path: Path, place: Place) -> None:
        self._keys += 1
        self._deep(len(path))
        if self._keys > KEYS_MAX:
            raise _BoundError(
                "DOCUMENT_TOO_MANY_KEYS",
                self._at,
                seen=f"more than {KEYS_MAX} keys and array elements",
                wanted=f"at most {KEYS_MAX}",
                fix="check that this is the right file",
            )
        self.places.setdefault(path, place)
        first = self._written.setdefault(path, place)
        if first is not place:
            self.duplicates.append((path, first, place))

    def _deep(self, depth: int) -> None:
        if depth > NESTING_MAX:
            raise _BoundError(
                "DOCUMENT_TOO_DEEP",
                self._at,
                seen=f"more than {NESTING_MAX} levels of tables and arrays",
                wanted=f"at most {NESTING_MAX}",
                fix="flatten the document",
            )

    def _key(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            parts.append(self._key_part())
            self._deep(len(parts))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _key_part(self) -> str:
        start = self._at
        for pattern in (_BARE_KEY, _BASIC, _LITERAL):
            if self._skip(pattern):
                raw = self._text[start : self._at]
                return raw if pattern is _BARE_KEY else _quoted_key(raw)
        raise _LostError

    def _inside(self, parts: Path) -> Path:
        """Return the path that a header's key stands for.

        Inside an array of tables it is its last element.
        """
        path: Path = ()
        for part in parts:
            path = (*path, part)
            if path in self._lengths:
                path = (*path, str(self._lengths[path] - 1))
        return path

    def _header(self) -> Path:
        place = self._here()
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        parts = self._key()
        self._expect("]]" if array else "]")
        self._deep(len(parts))
        if not array:
            path = self._inside(parts)
            self._around(path, place)
            self._note(path, place)
            return path
        path = (*self._inside(parts[:-1]), parts[-1])
        self._around(path, place)
        self.places.setdefault(path, place)
        index = self._lengths.get(path, 0)
        self._lengths[path] = index + 1
        self._note((*path, str(index)), place)
        return (*path, str(index))

    def _around(self, path: Path, place: Place) -> None:
        for end in range(1, len(path)):
            self.places.setdefault(path[:end], place)

    def _pair(self, table: Path, depth: int) -> None:
        place = self._here()
        key = self._key()
        self._expect("=")
        path = (*table, *key)
        self._deep(len(path))
        self._around(path, place)
        self._note(path, place)
        self._value(path, depth)

    def _value(self, path: Path, depth: int) -> None:
        self._skip(_SPACE)
        self._deep(depth)
        head = self._text[self._at : self._at + 3]
        if head[:1] == "[":
            self._array(path, depth)
        elif head[:1] == "{":
            self._inline(path, depth)
        elif head in ('"""', "'''"):
            self._must(_BASIC_LONG if head == '"""' else _LITERAL_LONG)
        elif head[:1] in ('"', "'"):
            self._must(_BASIC if head[0] == '"' else _LITERAL)
        else:
            self._must(_SCALAR)

    def _must(self, pattern: re.Pattern[str]) -> None:
        if not self._skip(pattern):
            raise _LostError

    def _array(self, path: Path, depth: int) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self._text.startswith("]", self._at):
                self._at += 1
                return
            element = (*path, str(index))
            self._note(element, self._here())
            self._value(element, depth + 1)
            index += 1
            self._skip(_BLANK)
            if not self._text.startswith("]", self._at):
                self._expect(",")

    def _inline(self, path: Path, depth: int) -> None:
        self._at += 1
        self._skip(_SPACE)
        while not self._text.startswith("}", self._at):
            self._pair(path, depth + 1)
            self._skip(_SPACE)
            if not self._text.startswith("}", self._at):
                self._expect(",")
                self._skip(_SPACE)
        self._at += 1


def _quoted_key(raw: str) -> str:
    try:
        return next(iter(tomllib.loads(f"{raw}=1")))
    except (ValueError, StopIteration):
        raise _LostError from None
