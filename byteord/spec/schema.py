"""The table of keys that reading, defaults, canonical form, diff and the published reference share.

Owns the shape of a table row and the reader that takes a tree through it: types, ranges, choices,
defaults, unknown keys. Rules that look at more than one key live with their document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from byteord.spec.document import INTEGER_MAX, INTEGER_MIN, KEY_PATTERN, Bare
from byteord.spec.findings import Collector, Path, dotted, shown
from byteord.spec.kv import INTEGER_PATTERN
from byteord.spec.nearest import did_you_mean

Flat = dict[str, str | int | bool]

CONFIG_KEYS_MAX = 1024
"""Most keys of one stage's configuration or one adapter's options."""
ADVICE_MAX = 50
"""Unknown keys of one document that are compared with the known ones."""

EACH = "*"
"""In a key path: every element of an array."""
NAMED = "NAME"
"""In a key path: a name that the author chooses."""
REST = "**"
"""In a key path: configuration that this table does not know."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a document."""

    path: str
    type: str
    """One of `TYPE_WORDS`."""
    doc: str
    default: object = None
    required: bool = False
    minimum: int = INTEGER_MIN
    maximum: int = INTEGER_MAX
    choices: tuple[str, ...] = ()
    takes: str = "restart"
    """What a change takes to come into force: `none`, `reload` or `restart`."""
    default_text: str = ""
    """How the reference words a default that depends on something."""
    missing: str = "KEY_MISSING"
    """Code of the finding where a required key is missing."""


Node = Key | dict[str, Any]


def compile_keys(keys: Iterable[Key]) -> dict[str, Any]:
    """Return the tree of nodes that the paths of a table describe."""
    root: dict[str, Any] = {}
    for key in keys:
        node = root
        *around, last = key.path.split(".")
        for part in around:
            node = node.setdefault(part, {})
        node[last] = key
    return root


def key_of(keys: Iterable[Key], path: str) -> Key | None:
    """Return the row that a concrete dotted path falls under, or None."""
    node: Any = compile_keys(keys)
    for part in path.split("."):
        if isinstance(node, Key):
            return node
        step = part if part in node else next((w for w in (EACH, NAMED, REST) if w in node), "")
        if not step:
            return None
        node = node[step]
    return node if isinstance(node, Key) else None


class Reader:
    """Takes one document through its table; findings go to the collector."""

    def __init__(self, found: Collector) -> None:
        """Read for this collector."""
        self._found = found
        self._unknown_keys = 0

    def table(self, node: Mapping[str, Any], value: object, path: Path = ()) -> dict[str, Any]:
        """Return the typed table with defaults.

        What is wrong is reported and stands at its default.
        """
        if not isinstance(value, dict):
            self._type(path, value, "a table")
            value = {}
        self._names(value, path)
        if NAMED in node:
            return {
                name: self.node(node[NAMED], child, (*path, name)) for name, child in value.items()
            }
        typed: dict[str, Any] = {}
        for name, child in node.items():
            if name == REST:
                rest = {key: item for key, item in value.items() if key not in node}
                typed[REST] = self.config(rest, path)
            elif name in value:
                typed[name] = self.node(child, value[name], (*path, name))
            else:
                typed[name] = self._absent(child, (*path, name))
        if REST not in node:
            self._unknown(node, value, path)
        return typed

    def node(self, node: Node, value: object, path: Path) -> Any:
        """Return the typed value of one key, table or array."""
        if isinstance(node, Key):
            return _READERS[node.type](self, node, value, path)
        if EACH in node:
            items = self._items(value, path, "an array of tables")
            return [self.node(node[EACH], item, (*path, str(i))) for i, item in enumerate(items)]
        return self.table(node, value, path)

    def _absent(self, node: Node, path: Path) -> Any:
        if isinstance(node, Key):
            if node.required:
                self._found.add(
                    node.missing,
                    path,
                    seen="nothing",
                    wanted=_wanted(node),
                    fix=f"add {path[-1]}: {_first_words(node.doc)}",
                )
            return node.default
        if EACH in node:
            return []
        return self.table(node, {}, path) if not _has_required(node) else None

    def _names(self, value: Mapping[str, object], path: Path) -> None:
        for name in value:
            if not KEY_PATTERN.match(name):
                self._found.add(
                    "KEY_NAME_INVALID",
                    (*path, name),
                    seen=shown(name),
                    wanted="letters, digits, _ and -, 64 at most",
                    fix="rename the key",
                )

    def _unknown(self, node: Mapping[str, Any], value: Mapping[str, object], path: Path) -> None:
        for name in value:
            if name not in node and KEY_PATTERN.match(name):
                self._found.add(
                    "KEY_UNKNOWN",
                    (*path, name),
                    seen=shown(name),
                    wanted=f"one of {', '.join(sorted(node))}",
                    fix=self._advice(name, node),
                    severity=self._found.unknown_at((*path, name)),
                )

    def _advice(self, name: str, known: Iterable[str]) -> str:
        """Return what to do about an unknown key; the nearest one is sought for the first few."""
        self._unknown_keys += 1
        many = self._unknown_keys > ADVICE_MAX
        otherwise = "delete it; it has no effect"
        return otherwise if many else did_you_mean(name, known, otherwise=otherwise)

    def _type(self, path: Path, value: object, wanted: str) -> None:
        self._found.add(
            "VALUE_TYPE",
            path,
            seen=f"{shown(value)} ({kind_of(value)})",
            wanted=wanted,
            fix=_type_fix(value, wanted),
        )

    def _items(self, value: object, path: Path, wanted: str) -> list[Any]:
        if isinstance(value, list):
            return value
        if isinstance(value, dict) and value and all(name.isdecimal() for name in value):
            places = sorted(int(name) for name in value)
            if places == list(range(len(places))):
                return [value[str(index)] for index in places]
            missing = next(i for i, place in enumerate([*places, -1]) if i != place)
            self._found.add(
                "KEY_INDEX_GAP",
                path,
                seen=f"{dotted(path)}.{places[missing]}",
                wanted=f"indices from 0 without gaps; {dotted(path)}.{missing} is missing",
                fix="number the elements 0, 1, 2 and so on",
            )
            return []
        self._type(path, value, wanted)
        return []

    def string(self, key: Key, value: object, path: Path) -> object:
        """Return a string, one of the key's choices where it has some."""
        if not isinstance(value, str):
            self._type(path, value, _wanted(key))
            return key.default
        value = str(value)
        if key.choices and value not in key.choices:
            self._found.add(
                "VALUE_CHOICE",
                path,
                seen=shown(value),
                wanted=f"one of {', '.join(key.choices)}",
                fix=did_you_mean(
                    value, key.choices, otherwise=f"choose one of {', '.join(key.choices)}"
                ),
            )
            return key.default
        if "\0" in value:
            self.malformed(path, value, "text without NUL", "leave the character out")
            return key.default
        return value

    def malformed(self, path: Path, value: object, wanted: str, fix: str) -> None:
        """Report a value of the right type that is not well formed."""
        self._found.add("VALUE_MALFORMED", path, seen=shown(value), wanted=wanted, fix=fix)

    def integer(self, key: Key, value: object, path: Path) -> object:
        """Return an integer within the key's range."""
        number = integer_of(value)
        if number is None:
            self._type(path, value, _wanted(key))
            return key.default
        if not key.minimum <= number <= key.maximum:
            self._found.add(
                "VALUE_RANGE",
                path,
                seen=shown(number),
                wanted=_wanted(key),
                fix=f"choose a value from {key.minimum} to {key.maximum}",
            )
            return key.default
        return number

    def boolean(self, key: Key, value: object, path: Path) -> object:
        """Return a boolean."""
        if isinstance(value, Bare) and value in ("true", "false"):
            return value == "true"
        if not isinstance(value, bool):
            self._type(path, value, _wanted(key))
            return key.default
        return value

    def integers(self, key: Key, value: object, path: Path) -> tuple[int, ...]:
        """Return an array of integers."""
        items = self._items(value, path, _wanted(key))
        read = (self.integer(key, item, (*path, str(i))) for i, item in enumerate(items))
        return tuple(item for item in read if isinstance(item, int))

    def strings(self, key: Key, value: object, path: Path) -> tuple[str, ...]:
        """Return an array of strings."""
        items = self._items(value, path, _wanted(key))
        read = (self.string(key, item, (*path, str(i))) for i, item in enumerate(items))
        return tuple(item for item in read if isinstance(item, str))

    def names(self, key: Key, value: object, path: Path) -> tuple[str, ...]:
        """Return an array of strings; one string alone is an array of one."""
        if isinstance(value, str):
            one = self.string(key, value, path)
            return (one,) if isinstance(one, str) else ()
        return self.strings(key, value, path)

    def byte_range(self, key: Key, value: object, path: Path) -> tuple[int, int] | None:
        """Return offset and length of a byte range."""
        typed = self.table(_RANGE, value, path)
        offset, length = typed["offset"], typed["length"]
        if self._found.is_bad(path) or not isinstance(offset, int) or not isinstance(length, int):
            return None
        del key
        return offset, length

    def byte_ranges(self, key: Key, value: object, path: Path) -> tuple[tuple[int, int], ...]:
        """Return byte ranges, sorted; `all` is the whole payload."""
        if value == "all":
            return ((0, 0),)
        items = self._items(value, path, _wanted(key))
        read = (self.byte_range(key, item, (*path, str(i))) for i, item in enumerate(items))
        return tuple(sorted({item for item in read if item is not None}))

    def pin(self, key: Key, value: object, path: Path) -> object:
        """Return a pinning mode or a list of CPUs."""
        if isinstance(value, str):
            return self.string(key, value, path)
        return self.integers(key, value, path)

    def settings(self, key: Key, value: object, path: Path) -> Flat:
        """Return the configuration table of a stage, flattened."""
        del key
        if isinstance(value, dict):
            self._names(value, path)
        return self.config(value, path)

    def config(self, value: object, path: Path) -> Flat:
        """Return opaque configuration flattened.

        Dotted keys, arrays by index; unquoted KV values stay `Bare`, for `byteord.spec.config`.
        """
        if not isinstance(value, dict):
            self._type(path, value, "a table")
            return {}
        flat: Flat = {}
        for name, child in value.items():
            self._flatten(flat, name, child, (*path, name))
        if len(flat) > CONFIG_KEYS_MAX:
            self._found.add(
                "VALUE_RANGE",
                path,
                seen=f"{len(flat)} keys and array elements",
                wanted=f"at most {CONFIG_KEYS_MAX}",
                fix="keep data in a file that the stage or adapter reads",
            )
            return {}
        return flat

    def _flatten(self, flat: Flat, name: str, value: object, path: Path) -> None:
        if isinstance(value, dict | list):
            self._names(value if isinstance(value, dict) else {}, path)
            children = value.items() if isinstance(value, dict) else enumerate(value)
            for part, child in children:
                self._flatten(flat, f"{name}.{part}", child, (*path, str(part)))
            if not value:
                self._found.add(
                    "VALUE_EMPTY",
                    path,
                    seen=shown(value) if isinstance(value, list) else "an empty table",
                    wanted="at least one element",
                    fix="leave the key out; an empty array or table says nothing here",
                )
            return
        scalar = self._scalar(value, path)
        if scalar is not None:
            flat[name] = scalar

    def _scalar(self, value: object, path: Path) -> str | int | bool | None:
        if isinstance(value, float) and math.isfinite(value):
            value = decimal_text(value)
        if isinstance(value, str) and "\0" in value:
            self.malformed(
                path, value, "text without NUL", "write the bytes as hex where the key allows it"
            )
            return None
        too_big = type(value) is int and integer_of(value) is None
        if too_big or not isinstance(value, str | int | bool):
            self._type(path, value, "a string, an integer of 64 bits, a fraction or a boolean")
            return None
        return value


_READERS: dict[str, Callable[[Reader, Key, object, Path], Any]] = {
    "string": Reader.string,
    "integer": Reader.integer,
    "boolean": Reader.boolean,
    "integers": Reader.integers,
    "strings": Reader.strings,
    "names": Reader.names,
    "range": Reader.byte_range,
    "ranges": Reader.byte_ranges,
    "pin": Reader.pin,
    "config": Reader.settings,
}

TYPE_WORDS = {
    "string": "a string",
    "integer": "an integer",
    "boolean": "true or false",
    "integers": "an array of integers",
    "strings": "an array of strings",
    "names": "a string or an array of strings",
    "range": "a table with offset and length",
    "ranges": '"all" or an array of tables with offset and length',
    "pin": "a string or an array of CPU numbers",
    "config": "a table",
}

_RANGE = compile_keys(
    (
        Key(
            "offset",
            "integer",
            "first byte of the payload",
            required=True,
            minimum=0,
            maximum=65_535,
        ),
        Key("length", "integer", "bytes; 0 is to the end", default=0, minimum=0, maximum=65_535),
    )
)


def decimal_text(value: float) -> str:
    """Return a finite fraction as its shortest decimal without an exponent: `0.5`, `1.0`."""
    text = repr(value)
    if "e" not in text:
        return text
    from decimal import Decimal

    return format(Decimal(text), "f")


def integer_of(value: object) -> int | None:
    """Return a 64-bit integer that a TOML value or a bare KV value stands for, else None."""
    if isinstance(value, Bare) and INTEGER_PATTERN.match(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if INTEGER_MIN <= value <= INTEGER_MAX else None


def kind_of(value: object) -> str:
    """Return what kind of value this is, in words."""
    kinds = (
        (bool, "boolean"),
        (Bare, "text"),
        (str, "string"),
        (int, "integer"),
        (float, "fraction"),
    )
    for kind, word in (*kinds, (dict, "table"), (list, "array")):
        if isinstance(value, kind):
            return word
    return "date or time"


def _wanted(key: Key) -> str:
    if key.choices and key.type == "string":
        return f"one of {', '.join(key.choices)}"
    words = TYPE_WORDS[key.type]
    if key.type == "integer" and (key.minimum, key.maximum) != (INTEGER_MIN, INTEGER_MAX):
        return f"{words} from {key.minimum} to {key.maximum}"
    return words


def _type_fix(value: object, wanted: str) -> str:
    if isinstance(value, str) and re.match(r"an integer|true or", wanted):
        return (
            "write it without quotes, in decimal" if "integer" in wanted else "write true or false"
        )
    if wanted.startswith("a string") and not isinstance(value, dict | list):
        return "put it in quotes"
    return f"write {wanted}"


def _first_words(doc: str) -> str:
    return doc.split(". ", maxsplit=1)[0].rstrip(".")


def _has_required(node: Mapping[str, Any]) -> bool:
    return any(isinstance(child, Key) and child.required for child in node.values())
