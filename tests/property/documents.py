"""Strategies of documents and an independent writer of TOML and KV for them."""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import strategies as st

from byteord.spec import kv

NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=5)
KEYS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=6)


def values() -> st.SearchStrategy[str | int | bool]:
    """Return scalars, the awkward ones among them often."""
    awkward = st.sampled_from(
        [
            "",
            "true",
            "false",
            "[]",
            "{}",
            "0",
            "-1",
            "007",
            '"',
            '"x"',
            " ",
            "a b ",
            "=",
            "#",
            "0.5",
        ]
    )
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    whole = st.integers(-(1 << 63), (1 << 63) - 1)
    return st.one_of(awkward, text, whole, st.booleans())


def trees() -> st.SearchStrategy[dict[str, Any]]:
    """Return nested tables and arrays of any shape that TOML can have."""
    inner = st.one_of(
        values(), st.lists(values(), max_size=2), st.dictionaries(KEYS, values(), max_size=2)
    )
    outer = st.one_of(inner, st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3))
    return st.dictionaries(KEYS, outer, max_size=4)


def _configs() -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(["a", "b-c", "D_1", "password_hint"])
    inner = st.one_of(values(), st.lists(values(), min_size=1, max_size=2))
    outer = st.one_of(inner, st.dictionaries(names, inner, min_size=1, max_size=2))
    return st.dictionaries(names, outer, max_size=3)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """Return a valid spec as a tree: a chain or fan of user stages with any configuration."""
    count = draw(st.integers(1, 4))
    names = [f"{draw(NAMES)}{index}" for index in range(count + 2)]
    stages = [_stage(draw, index, names[index]) for index in range(count)]
    tree: dict[str, Any] = {
        "name": draw(NAMES),
        "model": "single_ring",
        "stages": stages,
        "endpoints": [
            {"name": names[-2], "kind": "ingress"},
            {"name": names[-1], "kind": "egress"},
        ],
    }
    if draw(st.booleans()):
        tree["ring"] = {
            "capacity": 1 << draw(st.integers(3, 20)),
            "slot_bytes": 64 * draw(st.integers(1, 32)),
        }
    return tree


def _stage(draw: st.DrawFn, index: int, name: str) -> dict[str, Any]:
    stage: dict[str, Any] = {
        "name": name,
        "stage": draw(st.sampled_from(["python:m:C", "cabi:x.so:f"])),
    }
    if index:
        stage["depends_on"] = [index - 1]
    config = draw(_configs())
    if config:
        stage["config"] = config
    for key in ("drops", "resizes", "deterministic"):
        if draw(st.booleans()):
            stage[key] = draw(st.booleans())
    if draw(st.booleans()):
        stage["effects"] = draw(st.lists(st.sampled_from(["http", "exec", "mail"]), max_size=2))
    if draw(st.booleans()):
        stage["mutates"] = draw(
            st.sampled_from([[], "all", [{"offset": 4, "length": 8}], [{"offset": 0}]])
        )
    return stage


def toml_text(tree: dict[str, Any]) -> str:
    """Return a tree as TOML, tables as headers where they can be."""
    lines: list[str] = []
    _table(lines, tree, ())
    return "\n".join(lines) + "\n"


def _table(lines: list[str], table: dict[str, Any], path: tuple[str, ...]) -> None:
    nested = {
        key: value
        for key, value in table.items()
        if isinstance(value, dict)
        or (isinstance(value, list) and value and all(isinstance(item, dict) for item in value))
    }
    lines.extend(f"{key} = {_inline(value)}" for key, value in table.items() if key not in nested)
    for key, value in nested.items():
        here = (*path, key)
        if isinstance(value, dict):
            lines.append(f"[{'.'.join(here)}]")
            _table(lines, value, here)
        else:
            for item in value:
                lines.append(f"[[{'.'.join(here)}]]  # an element")
                _table(lines, item, here)


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        plain = json.dumps(value, ensure_ascii=False)
        return plain.replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value)}]"
    return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"


def kv_text(tree: dict[str, Any]) -> str:
    """Return a tree as KV, in the order of the tree."""
    lines: list[str] = []
    _lines(lines, tree, "")
    return "".join(lines)


def _lines(lines: list[str], node: Any, path: str) -> None:
    if isinstance(node, dict | list) and node:
        children = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in children:
            _lines(lines, child, f"{path}.{key}" if path else str(key))
    else:
        lines.append(f"{path}={kv.write_value(() if isinstance(node, list) else node)}\n")
