"""Stage keys."""

from __future__ import annotations

import pytest

from byteord.spec.stage_key import StageKey, StageKeyError, parse_key


@pytest.mark.parametrize(
    ("text", "key", "covers"),
    [
        ("filter", StageKey("builtin", "filter"), ""),
        ("python:vwap:Vwap", StageKey("python", "", "vwap", "Vwap"), "vwap"),
        ("python:a.b.c:D", StageKey("python", "", "a.b.c", "D"), "a"),
        ("numba:kernels:fast", StageKey("numba", "", "kernels", "fast"), "kernels"),
        ("cabi:libx.so:open_x", StageKey("cabi", "", "libx.so", "open_x"), "libx.so"),
        ("cabi:lib/x-1.so.2:f", StageKey("cabi", "", "lib/x-1.so.2", "f"), "lib/x-1.so.2"),
    ],
)
def test_keys_are_taken_apart(text: str, key: StageKey, covers: str) -> None:
    """A key gives its kind, module or library, symbol, and what its code digest covers."""
    assert parse_key(text) == key
    assert parse_key(text).top_package == covers
    assert parse_key(text).is_builtin is (key.kind == "builtin")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "Filter",
        "filter ",
        "filter:x",
        "python",
        "python:",
        "python:mod",
        "python:mod:",
        "python::Cls",
        "python:mod:Cls:x",
        "python:../mod:Cls",
        "python:mod.:Cls",
        "cabi:/abs/x.so:f",
        "cabi:../x.so:f",
        "cabi:a/../x.so:f",
        "cabi:x.dll:f",
        "cabi:x.so:f()",
        "ruby:a:b",
        "python:m\n:C",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    """Anything else is an error that says what was wanted; `python` alone is a built-in name."""
    if text == "python":
        assert parse_key(text).is_builtin
        return
    with pytest.raises(StageKeyError) as error:
        parse_key(text)
    assert error.value.wanted
