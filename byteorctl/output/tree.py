"""Any JSON object for people: scalars as fields, lists of objects as tables, the rest indented."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from byteorctl.output.screen import Screen


def show_tree(screen: Screen, data: Mapping[str, Any], title: str = "") -> None:
    """Draw `data`: its scalars first, then each nested part under its name."""
    flat = [pair for key, value in data.items() for pair in _pairs(key, value)]
    if title and (flat or not data):
        screen.line(f"\n{title}")
    screen.fields(flat)
    for key, value in data.items():
        name = f"{title}.{key}" if title else key
        if isinstance(value, Mapping) and value:
            show_tree(screen, value, name)
        elif _is_table(value):
            screen.line(f"\n{name}")
            _show_rows(screen, value)


def _pairs(key: str, value: Any) -> list[tuple[str, str]]:
    """Return the fields of a scalar; a list of sentences has one line each."""
    if _is_part(value):
        return []
    if isinstance(value, list) and any(" " in str(each) for each in value):
        return [("" if number else key, str(each)) for number, each in enumerate(value)]
    return [(key, _text(value))]


def _show_rows(screen: Screen, rows: list[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    shown = [column for column in columns if any(_text(row.get(column)) for row in rows)]
    heads = [f"#{column}" if _is_numeric(rows, column) else column for column in shown]
    screen.table(heads, [[_text(row.get(column)) for column in shown] for row in rows])


def _is_numeric(rows: list[Mapping[str, Any]], column: str) -> bool:
    values = [row.get(column) for row in rows]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)
    )


def _is_part(value: Any) -> bool:
    return (isinstance(value, Mapping) and bool(value)) or _is_table(value)


def _text(value: Any) -> str:
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(
            f"[{_text(each)}]" if isinstance(each, list) else _text(each) for each in value
        )
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_text(each)}" for key, each in value.items() if _text(each))
    return json.dumps(value, ensure_ascii=False)
