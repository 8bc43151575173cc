"""Lengths and words of the house."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.tree import TOP, project_files, sources

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
CODE = (".py", ".pyi", ".pyx", ".pxd", ".c", ".h")
DIRECTIVES = {
    "language_level=3",
    "boundscheck=False",
    "wraparound=False",
    "initializedcheck=False",
    "cdivision=True",
    "auto_pickle=False",
    "autotestdict=False",
}


def _relative(path: Path) -> str:
    return str(path.relative_to(TOP))


def test_files_are_short() -> None:
    """No source file has more than 500 lines: one idea each."""
    lengths = {_relative(path): len(path.read_text().splitlines()) for path in sources(*CODE)}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_python_functions_are_short() -> None:
    """No Python function has more than 70 lines."""
    long = {}
    for path in sources(".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long[f"{_relative(path)}:{node.name}"] = lines
    assert long == {}


def test_c_functions_are_short() -> None:
    """No C function has more than 70 lines (from `{` at a line's end to `}` at a line's begin)."""
    long = {}
    for path in sources(".c", ".h"):
        begin = 0
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.match(r"^\w[^;=]*\)\s*\{$", line):
                begin = number
            elif line.startswith("}") and begin:
                if number - begin + 1 > FUNCTION_LINES_MAX:
                    long[f"{_relative(path)}:{begin}"] = number - begin + 1
                begin = 0
    assert long == {}


def test_cython_functions_are_short() -> None:
    """No Cython function has more than 70 lines (from its `def` to the next line as far left)."""
    long = {}
    head = re.compile(r"^(\s*)(cdef|cpdef|def)\b(?! class).*\(.*:\s*$")
    for path in sources(".pyx"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if found := head.match(line):
                indent = len(found[1])
                length = 1
                for later in lines[number + 1 :]:
                    if later.strip() and len(later) - len(later.lstrip()) <= indent:
                        break
                    length += 1
                if length > FUNCTION_LINES_MAX:
                    long[f"{_relative(path)}:{number + 1}"] = length
    assert long == {}


def test_every_pyx_has_the_directives() -> None:
    """Every Cython module sets the same compiler directives in its first lines."""
    for path in sources(".pyx"):
        found: set[str] = set()
        for line in path.read_text().splitlines():
            if not line.startswith("# cython:"):
                break
            found |= {item.strip() for item in line.removeprefix("# cython:").split(",")}
        assert found >= DIRECTIVES, f"{_relative(path)}: wanted {sorted(DIRECTIVES - found)}"


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "X" * 3])
def test_nothing_is_left_for_later(word: str) -> None:
    """No source holds a reminder instead of the work."""
    found = [
        _relative(path)
        for path in sources(*CODE, ".toml", ".proto", ".md", ".sh", ".yml")
        if re.search(rf"\b{word}\b", path.read_text())
    ]
    assert found == []


def test_no_path_of_one_machine() -> None:
    """Nothing in the tree names a directory of the machine that it was written on."""
    home = re.compile(r"/(?:home/\w+|root|Users/\w+|tmp/wt|work)/[\w.]")
    found = [
        f"{_relative(path)}: {hit[0]}"
        for path in project_files()
        if path.suffix in {*CODE, ".toml", ".md", ".proto", ".service", ".conf", ".yml", ""}
        if (hit := home.search(path.read_text(errors="replace")))
    ]
    assert found == []


def test_every_test_says_what_it_checks() -> None:
    """Every test function has a docstring, the promise it checks."""
    silent = [
        f"{_relative(path)}:{node.name}"
        for path in sources(".py", under="tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_nothing_sleeps_to_wait() -> None:
    """No test sleeps for a length of time: it polls a condition with a deadline."""
    sleeper = "time" + ".sleep("
    found = [
        _relative(path) for path in sources(".py", under="tests") if sleeper in path.read_text()
    ]
    assert found == []
