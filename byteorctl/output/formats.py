"""Which output a person asked for, and printing data in it.

Cheap to import: the formats themselves are imported when used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byteorctl.output.screen import Screen

KINDS = ("table", "json", "yaml", "jsonl", "jsonpath")


@dataclass(frozen=True, slots=True)
class Format:
    """`table` (for people), `json`, `yaml`, `jsonl` (a line per item), `jsonpath`."""

    kind: str = "table"
    expression: str = ""

    @property
    def for_people(self) -> bool:
        """Tables rather than data."""
        return self.kind == "table"


def parse_format(text: str) -> Format:
    """Parse the value of `-o`; raises ValueError with what was wanted."""
    kind, separator, expression = text.partition("=")
    if kind not in KINDS or bool(separator) != (kind == "jsonpath"):
        raise ValueError(
            f"{text!r} is not an output format; wanted table, json, yaml, jsonl or jsonpath=EXPR"
        )
    if kind == "jsonpath":
        from byteorctl.output.jsonpath import compile_template

        compile_template(expression)
    return Format(kind, expression)


def emit(
    chosen: Format, data: Any, people: Callable[[Screen], None], *, items: str | None = None
) -> None:
    """Print `data` on standard output as `chosen` says; `people` draws the tables.

    `items` names the field of `data` whose elements are the lines of `jsonl`; without it the whole
    is one line.
    """
    if chosen.for_people:
        from byteorctl.output.screen import Screen

        people(Screen())
        return
    elements = data[items] if items is not None else [data]
    if chosen.kind == "jsonl":
        for element in elements:
            write(render(chosen, element))
    else:
        write(render(chosen, data))


def render(chosen: Format, data: Any) -> str:
    """Return `data` in a machine format, ending in a newline unless it is empty."""
    if chosen.kind == "yaml":
        from byteorctl.output.yaml import to_yaml

        return to_yaml(data)
    if chosen.kind == "jsonpath":
        from byteorctl.output.jsonpath import compile_template

        text = compile_template(chosen.expression)(data)
        return text + "\n" if text and not text.endswith("\n") else text
    import json

    indent = 2 if chosen.kind == "json" else None
    return json.dumps(data, indent=indent, ensure_ascii=False) + "\n"


def write(text: str) -> None:
    """Write to standard output at once, so that a reader of a stream sees each element."""
    sys.stdout.write(text)
    sys.stdout.flush()
