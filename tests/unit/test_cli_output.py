"""Output formats: YAML, JSONPath, tables, findings, quantities."""

from __future__ import annotations

import io
import json

import pytest
import yaml

from byteorctl.output.findings import finding_line, summary
from byteorctl.output.formats import Format, emit, parse_format, render
from byteorctl.output.jsonpath import compile_template
from byteorctl.output.quantities import count, duration, size
from byteorctl.output.replay_view import show_egresses
from byteorctl.output.screen import Screen, column_groups
from byteorctl.output.tree import show_tree
from byteorctl.output.yaml import to_yaml

RUNS = {
    "runs": [
        {"id": "a1", "state": "running", "roles": [{"received": 5}], "it's": 1},
        {"id": "b2", "state": "failed", "roles": [{"received": 7}, {"received": 8}], "failure": {}},
    ],
    "next": None,
}


@pytest.mark.parametrize(
    "text",
    ["no", "On", "null", "~", "1e3", "2026-01-01", "a: b", "- x", "", "#c", "0x1"],
)
def test_yaml_quotes_strings_that_look_like_something_else(text: str) -> None:
    """Strings stay strings."""
    assert yaml.safe_load(to_yaml({"key": text, text: 1})) == {"key": text, text: 1}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("{.runs[*].id}", "a1 b2"),
        ("$.runs[*].id", "a1\nb2"),
        (".runs[*].id", "a1\nb2"),
        ("runs[0].id", "a1"),
        ("{.runs[-1].id}", "b2"),
        ("{.runs[0:1].id}", "a1"),
        ("{.runs[5].id}", ""),
        ("{.missing.id}", ""),
        ("{.next}", "null"),
        ("{.runs[0].roles}", '[{"received": 5}]'),
        ("{.runs[*].roles[*].received}", "5 7 8"),
        ('{.runs[?(@.state=="failed")].id}', "b2"),
        ("{.runs[?(@.state!='failed')].id}", "a1"),
        ("{.runs[?(@.roles[0].received>5)].id}", "b2"),
        ("{.runs[?(@.state>5)].id}", ""),
        ("{.runs[?(@.failure)].id}", ""),
        ("{.runs[?(@.roles)].id}", "a1 b2"),
        ('first={.runs[0].id}{"\\t"}last={.runs[-1].id}', "first=a1\tlast=b2"),
        ("{.runs[0]['id']}", "a1"),
        ('{.runs[0]["it\'s"]}', "1"),
        ("{.runs[0].*}", 'a1 running [{"received": 5}] 1'),
        ("$", json.dumps(RUNS)),
    ],
)
def test_jsonpath_selects(expression: str, wanted: str) -> None:
    """The documented subset means what it means in kubectl."""
    assert compile_template(expression)(RUNS) == wanted


@pytest.mark.parametrize(
    "expression",
    ["{.runs[}", "$.a..b", "{.runs[?(state)]}", "{.runs[?(@.a==b)]}"],
)
def test_bad_jsonpath_says_what_was_wanted(expression: str) -> None:
    """A path that is not understood is refused with the forms that are."""
    with pytest.raises(ValueError, match="wanted"):
        compile_template(expression)


@pytest.mark.parametrize("text", ["xml", "jsonpath", "json=3", ""])
def test_bad_formats_are_refused(text: str) -> None:
    """`-o` takes the five formats and nothing else."""
    with pytest.raises(ValueError, match="wanted table, json, yaml, jsonl or jsonpath=EXPR"):
        parse_format(text)


def test_jsonl_prints_a_line_per_item(capsys: pytest.CaptureFixture[str]) -> None:
    """A list verb gives one JSON object a line."""
    emit(Format("jsonl"), RUNS, lambda _: None, items="runs")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a1", "b2"]


def test_json_keeps_unicode_and_ends_in_a_newline() -> None:
    """JSON is for people's eyes too."""
    assert render(Format("json"), {"a": "ä"}) == '{\n  "a": "ä"\n}\n'


def test_tables_without_a_terminal_are_plain_and_aligned() -> None:
    """Nothing but text reaches a pipe: numbers to the right, no escapes, no trailing space."""
    stream = io.StringIO()
    Screen(stream).table(["name", "#count"], [["a", "1,000"], ["long-name", "2"]])
    assert stream.getvalue() == "NAME       COUNT\na          1,000\nlong-name      2\n"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize("no_color", [False, True])
def test_tables_on_a_terminal_are_coloured_unless_no_color(
    monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    """`NO_COLOR` takes the colour and leaves the table."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    Screen(stream).table(["run", "state"], [["a1", "failed"]])
    assert "failed" in stream.getvalue()
    assert ("31m" in stream.getvalue()) is not no_color


def test_wide_tables_are_split_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal every cell is still there, with the first column leading each part."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    columns = ["role", *(f"#number {n}" for n in range(12)), "said"]
    row = ["records", *(f"{n},000,000" for n in range(12)), "word " * 20]
    stream = Terminal()
    Screen(stream).table(columns, [row])
    lines = stream.getvalue().splitlines()
    assert max(len(line) for line in lines if "\x1b" not in line) <= 60
    for n in range(12):
        assert f"{n},000,000" in stream.getvalue()
    assert stream.getvalue().count("records") == len(column_groups(columns, [row], 60)) > 1


def test_what_a_terminal_would_obey_is_escaped() -> None:
    """Text of stages and samples of input cannot move the cursor or set colours."""
    stream = io.StringIO()
    Screen(stream).table(["said"], [["a\x1b[31m\nb\x07"]])
    Screen(stream).line("x\x9b1m\ny")
    assert stream.getvalue() == "SAID\na\\x1b[31m\\nb\\x07\nx\\x9b1m\ny\n"


def test_tree_shows_scalars_and_tables() -> None:
    """Any JSON object is readable: fields first, lists of objects as tables under their path."""
    stream = io.StringIO()
    show_tree(
        Screen(stream), {"name": "x", "ring": {"capacity": 64, "rows": [{"a": 1, "b": None}]}}
    )
    assert stream.getvalue() == "name  x\n\nring\ncapacity  64\n\nring.rows\nA\n1\n"


def test_finding_names_place_seen_wanted_and_fix() -> None:
    """A finding is one line with all its parts."""
    finding = {
        "code": "SPEC_DEPENDENCY_FORWARD",
        "severity": "error",
        "document": "spec",
        "path": "stages.2.depends_on.0",
        "seen": "3",
        "wanted": "an earlier stage",
        "fix": "name a stage above",
        "line": 12,
        "column": 0,
    }
    assert finding_line(finding) == (
        "error SPEC_DEPENDENCY_FORWARD stages.2.depends_on.0 (line 12): "
        "seen 3, wanted an earlier stage; name a stage above"
    )


def test_finding_leaves_out_what_is_empty() -> None:
    """No empty words are printed."""
    finding = {
        "code": "X",
        "severity": "note",
        "document": "host",
        "path": "",
        "fix": "none needed",
    }
    assert finding_line(finding) == "note X host: none needed"


def test_summary_counts_by_severity() -> None:
    """The worst comes first."""
    assert (
        summary([{"severity": "warning"}, {"severity": "error"}, {"severity": "error"}])
        == "2 errors, 1 warning"
    )
    assert not summary([])


def test_quantities_are_readable() -> None:
    """Numbers carry their unit; an unknown time is a dash."""
    assert [duration(ns) for ns in (0, 7, 1_500, 84_000_000, 2_000_000_000)] == [
        "-",
        "7 ns",
        "1.5 us",
        "84 ms",
        "2 s",
    ]
    assert count(1234567) == "1,234,567"
    assert [size(n) for n in (5, 4 << 20)] == ["5 bytes", "4 MiB"]


@pytest.mark.parametrize(
    ("now", "then", "verdict", "said"),
    [
        (100, 100, "equal", ""),
        (120, 100, "equal", "out: equal as far as the run came; 20 more leave now"),
        (80, 100, "equal", "out: equal as far as it was replayed; 20 followed live"),
        (80, 100, "different", ""),
        (80, None, "not_comparable", ""),
    ],
)
def test_an_egress_that_is_equal_in_part_says_so(
    now: int, then: int | None, verdict: str, said: str
) -> None:
    """A verdict is no more than what was compared: the difference in number stands below it."""
    stream = io.StringIO()
    sides = {"count": now, "live_count": then, "bytes": 1, "sha256": "ab"}
    show_egresses(Screen(stream), [{"name": "out", "verdict": verdict, **sides}])
    assert ("equal as far" in stream.getvalue()) is bool(said)
    assert said in stream.getvalue()
