"""TOML: what it means is tomllib's, where it stands is ours."""

from __future__ import annotations

import pytest

from byteord.spec import toml
from byteord.spec.document import Document
from byteord.spec.findings import Collector, Finding, Place

EVERYTHING = """\
# a comment = "with" [brackets]
name = "a # b"   # a comment
'quoted' = 'C:\\x'
a.b.c = [1, 2, # a comment
  [3, "]"], { k = "}" }]
[t]
long = \"\"\"
[not.a.table]
x = 1 \\\""" y""\"\"\"
lit = '''
[[neither]] '''
d = 1979-05-27 07:32:00
f = { g = { h = 1 }, i.j = [ { k = 2 } ] }
[[s]]
n = 1
[[s.u]]
v = 2
[[s.u]]
v = 3
[s.w]
x = 4
[[s]]
n = 5
[[s.u]]
v = 6
"""


def _read(text: str) -> tuple[Document, list[Finding]]:
    found = Collector("spec", {})
    return toml.parse(text, found), found.findings


def test_every_key_has_its_line_and_column() -> None:
    """Keys of tables, of arrays and of inline tables are found at their first character."""
    document, findings = _read(EVERYTHING)
    assert not findings
    wanted = {
        "name": (2, 1),
        "quoted": (3, 1),
        "a.b.c": (4, 1),
        "a.b.c.1": (4, 13),
        "a.b.c.2.1": (5, 7),
        "a.b.c.3.k": (5, 15),
        "t": (6, 1),
        "t.long": (7, 1),
        "t.lit": (10, 1),
        "t.d": (12, 1),
        "t.f.g.h": (13, 13),
        "t.f.i.j.0.k": (13, 32),
        "s.0.n": (15, 1),
        "s.0.u.1.v": (19, 1),
        "s.0.w.x": (21, 1),
        "s.1": (22, 1),
        "s.1.u.0.v": (25, 1),
    }
    places = {".".join(path): place for path, place in document.places.items()}
    assert {key: places[key] for key in wanted} == {
        key: Place(*place) for key, place in wanted.items()
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = 1\nb = 2\na = 3\n", 3, "a again"),
        ("[t]\nx = 1\n[u]\n[t]\n", 4, "t again"),
        ("[[s]]\nx = 1\nx = 2\n", 3, "s.0.x again"),
        ("a = { b = 1, b = 2 }\n", 1, "a.b again"),
        ("a.b = 1\n[a]\nc = 2\n", 2, ""),
        ("a = 1\n[a.b]\n", 2, ""),
    ],
)
def test_duplicate_keys_are_named(text: str, line: int, words: str) -> None:
    """A key that stands twice is an error at its second place that names it."""
    document, findings = _read(text)
    assert not document.readable
    assert [finding.code for finding in findings] == ["DOCUMENT_DUPLICATE_KEY"]
    assert findings[0].line == line
    assert words in findings[0].seen


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = \n", 2),
        ("a = 1\n[b\n", 2),
        ('a = "x\n', 1),
        ("a = [1, 2\n", 1),
        ("a = 1 b = 2\n", 1),
        ("= 1\n", 1),
        ("a = 99999999999999999999999999999999999\nb = ?\n", 2),
        (f"a = {'9' * 5000}\n", 1),
    ],
)
def test_syntax_errors_have_a_place(text: str, line: int) -> None:
    """Text that is not TOML is an error at the line where it goes wrong."""
    document, findings = _read(text)
    assert not document.readable
    assert [finding.code for finding in findings] == ["DOCUMENT_SYNTAX"]
    assert findings[0].line == line


@pytest.mark.parametrize(
    "text",
    [
        f"a = {'[' * 50_000}",
        f"a = {'{a=' * 50_000}",
        f"{'a.' * 50_000}b = 1",
        f"[{'a.' * 50_000}b]",
        f"a = {'[' * 17}{']' * 17}",
    ],
)
def test_absurd_nesting_is_refused_before_it_costs(text: str) -> None:
    """Nesting beyond the limit is one finding, whatever the parser behind would do with it."""
    document, findings = _read(text)
    assert not document.readable
    assert [finding.code for finding in findings] == ["DOCUMENT_TOO_DEEP"]
