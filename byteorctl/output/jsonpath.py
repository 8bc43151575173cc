r"""A small JSONPath for `-o jsonpath=EXPR`, with kubectl's templates.

`EXPR` is either one path (`$.runs[*].id`, `.runs[*].id`), whose values are printed one a line, or
text with paths and string literals in braces (`{.runs[*].id}{"\n"}`), whose values are separated
by spaces as kubectl does.

A path is made of `.name`, `['name']`, `[0]`, `[-1]`, `[0:2]`, `[*]`, `.*` and filters
`[?(@.state=="running")]` with `==`, `!=`, `<`, `<=`, `>`, `>=` or nothing (the field exists and is
not empty). A missing field gives nothing. Strings are printed as they are, everything else as JSON.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Step = Callable[[Any], Iterator[Any]]
Template = Callable[[Any], str]

_TOKEN = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | \.(?P<all>\*)
      | \[(?P<each>\*)\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<slice>-?\d*:-?\d*)\]
      | \[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]
      | \[\?\((?P<filter>.*?)\)\]""",
    re.VERBOSE,
)
_FILTER = re.compile(
    r"\s*@(?P<path>[^=!<>\s]*)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*\Z"
)
_PART = re.compile(r"\{(?P<inside>(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^{}\"'])*)\}")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compile_template(expression: str) -> Template:
    """Return a function from data to text; raises ValueError that shows what is wrong."""
    if "{" not in expression:
        path = compile_path(expression)
        return lambda data: "\n".join(_texts(path(data)))
    parts: list[Template] = []
    end = 0
    for match in _PART.finditer(expression):
        parts += [_literal(expression[end : match.start()]), _braces(match["inside"])]
        end = match.end()
    parts.append(_literal(expression[end:]))
    return lambda data: "".join(part(data) for part in parts)


def compile_path(path: str) -> Step:
    """Return a function from data to the values that `path` selects."""
    rest = path.strip().removeprefix("$")
    if rest and rest[0] not in ".[":
        rest = f".{rest}"
    steps: list[Step] = []
    position = 0
    while position < len(rest) and rest != ".":
        match = _TOKEN.match(rest, position)
        if match is None:
            raise ValueError(
                f"jsonpath {path!r}: not understood from {rest[position:]!r}; "
                "wanted .name, ['name'], [0], [0:2], [*] or [?(@.name==value)]"
            )
        steps.append(_step(match))
        position = match.end()
    return lambda data: _walk(data, steps)


def _walk(data: Any, steps: list[Step]) -> Iterator[Any]:
    values: Iterable[Any] = [data]
    for step in steps:
        values = [found for value in values for found in step(value)]
    yield from values


def _step(match: re.Match[str]) -> Step:
    name = match["name"] or match["key"]
    if name is not None:
        return lambda value: iter(
            [value[name]] if isinstance(value, dict) and name in value else []
        )
    if match["all"] or match["each"]:
        return _each
    if match["filter"] is not None:
        keep = _filter(match["filter"])
        return lambda value: (element for element in _each(value) if keep(element))
    return _position(match["index"], match["slice"])


def _position(index: str | None, bounds: str | None) -> Step:
    if bounds is not None:
        first, _, last = bounds.partition(":")
        part = slice(int(first) if first else None, int(last) if last else None)
        return lambda value: iter(value[part] if isinstance(value, list) else [])
    at = int(index or 0)
    return lambda value: iter(
        [value[at]] if isinstance(value, list) and -len(value) <= at < len(value) else []
    )


def _each(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _filter(text: str) -> Callable[[Any], bool]:
    match = _FILTER.match(text)
    if match is None:
        raise ValueError(f"jsonpath filter {text!r}: wanted @.name, or @.name==value")
    path = compile_path(match["path"])
    if match["op"] is None:
        return lambda element: any(bool(found) for found in path(element))
    compare = _COMPARE[match["op"]]
    wanted = _value(match["value"])
    return lambda element: any(_compares(compare, found, wanted) for found in path(element))


def _compares(compare: Callable[[Any, Any], bool], found: Any, wanted: Any) -> bool:
    try:
        return compare(found, wanted)
    except TypeError:
        return False


def _value(text: str) -> Any:
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"jsonpath filter value {text!r}: wanted a number, true, false, null or a quoted string"
        ) from error


def _braces(inside: str) -> Template:
    text = inside.strip()
    if text[:1] in {'"', "'"}:
        return _literal(_value(text))
    path = compile_path(text)
    return lambda data: " ".join(_texts(path(data)))


def _literal(text: str) -> Template:
    return lambda _: text


def _texts(values: Iterable[Any]) -> list[str]:
    return [
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for value in values
    ]
