r"""KV, the canonical form of a document: one `key=value` a line, sorted, ASCII.

Owns reading and writing of the format; what keys mean is the schema's. The grammar of a value:

    integer   a decimal without sign or with `-`, without leading zeros: `42`, `-1`
    boolean   `true` or `false`
    array     `[]`, when empty; otherwise one line for each element, `key.0=`, `key.1=`
    string    as it is when it is printable ASCII, neither empty nor with a space at either end,
              does not begin with `"` and could not be read as one of the above; otherwise a JSON
              string: `"42"`, `"true"`, `""`, `"caf\u00e9\n"`
    fraction  the text of its shortest decimal, `0.5`; text and fraction mean the same

Where the schema says string, `name=42` is read as the string `42`; it is written back as
`name="42"`. Where it says nothing (configuration of stages and adapters), the grammar alone
decides, so a value keeps its type through any number of readings and writings. A table without
keys and an absent one are the same and write nothing. Lines are sorted by key path, part by part,
decimal parts as numbers and before names. Each line ends in one newline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from byteord.spec.document import (
    FINDINGS_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    KEY_PATTERN,
    KEYS_MAX,
    NESTING_MAX,
    Bare,
    Document,
)
from byteord.spec.findings import Collector, Path, Place, dotted, shown

INTEGER_PATTERN = re.compile(r"(?:0|-?[1-9][0-9]{0,18})\Z")
EMPTY_ARRAY = "[]"

_PLAIN = re.compile(r"[!#-~](?:[ -~]*[!-~])?\Z")
_NOT_PRINTABLE = re.compile(r"[^ -~]")
_NOT_PLAIN = frozenset(("true", "false", EMPTY_ARRAY))


def infer(text: Bare) -> str | int | bool:
    """Return an unquoted value with the type that the grammar gives it."""
    if text in ("true", "false"):
        return text == "true"
    if INTEGER_PATTERN.match(text) and INTEGER_MIN <= int(text) <= INTEGER_MAX:
        return int(text)
    return str(text)


def order(path: str) -> tuple[tuple[int, int, str], ...]:
    """Return the sorting key of a dotted key path."""
    return tuple(
        (0, int(part), part) if part.isdecimal() else (1, 0, part) for part in path.split(".")
    )


def write_value(value: str | int | bool | tuple[()]) -> str:  # noqa: FBT001  # a scalar, not a flag
    """Return the canonical text of a value; the empty tuple is the empty array."""
    if isinstance(value, tuple):
        return EMPTY_ARRAY
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _PLAIN.match(value) and value not in _NOT_PLAIN and isinstance(infer(Bare(value)), str):
        return value
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")


def write(flat: Mapping[str, str | int | bool | tuple[()]]) -> bytes:
    """Return the canonical bytes of a document given as dotted key paths and values."""
    lines = (f"{key}={write_value(flat[key])}\n" for key in sorted(flat, key=order))
    return "".join(lines).encode("ascii")


def parse(text: str, found: Collector) -> Document:
    """Read KV text; every line that is wrong becomes a finding."""
    before = len(found.findings)
    leaves: dict[Path, object] = {}
    places: dict[Path, Place] = {}
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if len(lines) > KEYS_MAX:
        found.add(
            "DOCUMENT_TOO_MANY_KEYS",
            place=Place(KEYS_MAX + 1, 1),
            seen=f"{len(lines)} lines",
            wanted=f"at most {KEYS_MAX} keys",
            fix="check that this is the right file",
        )
        return Document(readable=False)
    for number, line in enumerate(lines, 1):
        if len(found.findings) - before >= FINDINGS_MAX:
            break
        _Line(number, line, found).read(leaves, places)
    if len(found.findings) > before:
        return Document(places=places, readable=False)
    return Document(tree=_tree(leaves), places=places)


class _Line:
    """One line of KV text on its way into the document."""

    def __init__(self, number: int, text: str, found: Collector) -> None:
        self._number, self._text, self._found = number, text, found

    def _wrong(self, code: str, column: int, *, seen: str, wanted: str, fix: str) -> None:
        place = Place(self._number, column)
        self._found.add(code, place=place, seen=seen, wanted=wanted, fix=fix)

    def read(self, leaves: dict[Path, object], places: dict[Path, Place]) -> None:
        if not self._well_written():
            return
        key, _, raw = self._text.partition("=")
        path = tuple(key.split("."))
        if not self._path_ok(path):
            return
        if not self._is_new(path, leaves, places):
            return
        value = self._value(raw, len(key) + 2)
        if value is not None:
            leaves[path] = value
        for end in range(1, len(path) + 1):
            places.setdefault(path[:end], Place(self._number, 1))

    def _well_written(self) -> bool:
        """Check the line's characters: ASCII, no stray blanks, an equals sign."""
        text, before = self._text, len(self._found.findings)
        odd = _NOT_PRINTABLE.search(text)
        if odd is not None:
            far = odd.start()
            control = text[far] < " "
            self._wrong(
                "DOCUMENT_CONTROL_CHARACTER" if control else "DOCUMENT_NOT_ASCII",
                far + 1,
                seen=f"the character U+{ord(text[far]):04X}",
                wanted="printable ASCII in KV",
                fix='write it as an escape in a quoted value, for example "caf\\u00e9"',
            )
        elif not text.strip():
            self._wrong(
                "DOCUMENT_WHITESPACE",
                1,
                seen="an empty line",
                wanted="key=value",
                fix="delete the line",
            )
        elif "=" not in text:
            self._wrong(
                "DOCUMENT_SYNTAX",
                1,
                seen=shown(text),
                wanted="key=value; KV has neither comments nor headers",
                fix="write the key, an equals sign and the value, or use TOML",
            )
        else:
            self._blanks()
        return len(self._found.findings) == before

    def _blanks(self) -> None:
        key, _, value = self._text.partition("=")
        column = 0
        if key.strip() != key or " " in key:
            column = key.index(" ") + 1
        elif value.startswith(" "):
            column = len(key) + 2
        elif value.endswith(" "):
            column = len(self._text)
        if column:
            self._wrong(
                "DOCUMENT_WHITESPACE",
                column,
                seen="a stray space",
                wanted="key=value without spaces around the key, the equals sign or the value",
                fix="delete the space; a value that needs one at its end is written in quotes",
            )

    def _path_ok(self, path: Path) -> bool:
        if len(path) > NESTING_MAX:
            self._wrong(
                "DOCUMENT_TOO_DEEP",
                1,
                seen=f"a key path of {len(path)} parts",
                wanted=f"at most {NESTING_MAX}",
                fix="flatten the document",
            )
            return False
        for part in path:
            plain_index = not part.isdecimal() or part == str(int(part[:20]))
            if not KEY_PATTERN.match(part) or not plain_index:
                self._wrong(
                    "KEY_NAME_INVALID",
                    1,
                    seen=shown(dotted(path)),
                    wanted="parts of letters, digits, _ and - (64 at most) joined by dots; "
                    "indices without leading zeros",
                    fix="rename the key",
                )
                return False
        return True

    def _is_new(self, path: Path, leaves: dict[Path, object], places: dict[Path, Place]) -> bool:
        around = next((path[:end] for end in range(1, len(path)) if path[:end] in leaves), None)
        clash = path if path in places else around
        if clash is None:
            return True
        again = path in leaves
        self._wrong(
            "DOCUMENT_DUPLICATE_KEY",
            1,
            seen=f"{dotted(path)} {'again' if again else 'as a value and as a table'}",
            wanted=f"each key once; {dotted(clash)} first stands in line {places[clash].line}",
            fix="delete one of the two lines",
        )
        return False

    def _value(self, raw: str, column: int) -> object | None:
        if raw == EMPTY_ARRAY:
            return []
        if not raw.startswith('"'):
            return Bare(raw)
        try:
            value = json.loads(raw)
            value.encode()
        except (ValueError, AttributeError, RecursionError):
            self._wrong(
                "DOCUMENT_SYNTAX",
                column,
                seen=shown(raw),
                wanted='a JSON string: text in quotes with \\" \\\\ \\n \\uXXXX as escapes',
                fix="correct the quotes and escapes, or leave the quotes away for plain text",
            )
            return None
        return str(value)


def _tree(leaves: Mapping[Path, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    return tree
