"""KV: grammar, canonical order and typing."""

from __future__ import annotations

import pytest

from byteord.spec import kv
from byteord.spec.document import Bare, Document, Source
from byteord.spec.findings import Collector, Place
from byteord.spec.model import Spec
from tests.unit.spec.documents import check, errors


def _read(text: str) -> Document:
    found = Collector("spec", {})
    document = kv.parse(text, found)
    assert not found.findings, found.findings
    return document


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-42, "-42"),
        ((), "[]"),
        ("", '""'),
        ("T", "T"),
        ("Failed password", "Failed password"),
        ("a=b#c", "a=b#c"),
        ("42", '"42"'),
        ("-0", "-0"),
        ("007", "007"),
        ("9223372036854775808", "9223372036854775808"),
        ("true", '"true"'),
        ("True", "True"),
        ("[]", '"[]"'),
        (" x", '" x"'),
        ("x ", '"x "'),
        ('"x', '"\\"x"'),
        ('a"b', 'a"b'),
        ("back\\slash", "back\\slash"),
        ("a\nb", '"a\\nb"'),
        ("caf\xe9", '"caf\\u00e9"'),
        ("\U0001f600", '"\\ud83d\\ude00"'),
        ("\x7f", '"\\u007f"'),
        ("0.5", "0.5"),
    ],
)
def test_each_value_has_one_text_that_reads_back(value: str | int | tuple[()], text: str) -> None:
    """A value has one canonical text, ASCII on one line, and reads back as the same value."""
    assert kv.write({"k": value}) == f"k={text}\n".encode("ascii")
    leaf = _read(f"k={text}\n").tree["k"]
    read = kv.infer(leaf) if isinstance(leaf, Bare) else leaf
    assert read == (list(value) if isinstance(value, tuple) else value)
    assert type(read) is (list if isinstance(value, tuple) else type(value))


def test_lines_are_sorted_by_path_with_indices_as_numbers() -> None:
    """Order depends on the keys alone: parts one by one, decimal ones as numbers and first."""
    keys = ["b", "a.10.x", "a.2.x", "a.2", "a-b", "a.b", "Z"]
    text = kv.write(dict.fromkeys(keys, 1)).decode()
    assert [line.partition("=")[0] for line in text.splitlines()] == [
        "Z",
        "a.2",
        "a.2.x",
        "a.10.x",
        "a.b",
        "a-b",
        "b",
    ]


def test_every_key_and_every_table_around_it_has_its_line() -> None:
    """Findings can point at a key and at the table it is the first of."""
    places = _read("a.x=1\na.y=2\nb=3\n").places
    assert places["a", "y"] == Place(2, 1)
    assert places["a",] == Place(1, 1)
    assert places["b",] == Place(3, 1)


def test_a_missing_last_newline_is_accepted() -> None:
    """A text without the last newline means the same."""
    assert _read("a=1").tree == _read("a=1\n").tree


def test_order_of_lines_does_not_matter() -> None:
    """KV in any order is the same document."""
    text = check().spec_kv.decode()
    shuffled = "".join(f"{line}\n" for line in reversed(text.splitlines()))
    assert check(shuffled).spec_kv == text.encode()


def test_all_wrong_lines_are_reported() -> None:
    """Every wrong line of a text gets a finding, not only the first."""
    report = check(Source("x.kv", "model =x\nname=a\nname=b\nmessage\nu=\xfc\n".encode()))
    assert errors(report) == [
        "DOCUMENT_WHITESPACE",
        "DOCUMENT_DUPLICATE_KEY",
        "DOCUMENT_SYNTAX",
        "DOCUMENT_NOT_ASCII",
    ]
    assert [finding.line for finding in report.findings] == [1, 3, 4, 5]


@pytest.mark.parametrize(
    "line",
    ['a="x', 'a="x"y', 'a="\\q"', 'a="\\ud800"', "=1", "a..b=1", ".a=1", "a.=1", "a=1\r", "#a=1"],
)
def test_lines_outside_the_grammar_are_refused(line: str) -> None:
    """What the grammar does not have is an error with its line, never a guess."""
    found = Collector("spec", {})
    assert not kv.parse(f"ok=1\n{line}\n", found).readable
    assert [finding.line for finding in found.findings] == [2]


def test_a_string_key_takes_digits_as_text() -> None:
    """Where the schema says string, an unquoted number is that text."""
    text = (
        check()
        .spec_kv.decode()
        .replace("name=orders", "name=A1")
        .replace("name=in\n", "name=true\n")
    )
    report = check(text)
    assert isinstance(report.spec, Spec)
    assert report.spec.ingress.name == "true"
    assert b'endpoints.0.name="true"\n' in report.spec_kv
    assert check(report.spec_kv).spec == report.spec
