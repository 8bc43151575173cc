"""The native loops never touch Python: the annotated HTML of Cython says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import TOP, sources

MODULES = sources(".pyx", under="cext")
_FUNCTION = re.compile(r"^\s*(cdef|cpdef)\b[^#]*\)[^#]*\bnogil\s*:")
_LINE = re.compile(r'class="cython line score-(\d+)"[^>]*>[^<]*<span class="">(\d+)</span>')


def _nogil_lines(text: str) -> set[int]:
    """Return the numbers of the lines that run without the GIL.

    Lines below `with gil` are not among them: taking it is said in so many words.
    """
    lines = text.splitlines()
    within: set[int] = set()
    without: set[int] = set()
    for number, line in enumerate(lines, 1):
        if _FUNCTION.match(line) or re.match(r"^\s*with nogil\s*:", line):
            within |= _block(lines, number)
        elif re.match(r"^\s*with gil\s*:", line):
            without |= {number} | _block(lines, number)
    return within - without


def _block(lines: list[str], number: int) -> set[int]:
    """Return the numbers of the lines that are indented below a line."""
    head = lines[number - 1]
    indent = len(head) - len(head.lstrip())
    found = set()
    for later, body in enumerate(lines[number:], number + 1):
        if body.strip() and len(body) - len(body.lstrip()) <= indent:
            break
        found.add(later)
    return found


def _scores(module: Path, directory: Path) -> dict[int, int]:
    """Return how much C code of the Python API Cython makes of each line."""
    target = directory / f"{module.stem}.c"
    command = [sys.executable, "-m", "cython", "-a", "-I", str(TOP / "cext"), "-o", str(target)]
    subprocess.run([*command, str(module)], check=True, capture_output=True, timeout=100)
    html = target.with_suffix(".html").read_text()
    return {int(line): int(score) for score, line in _LINE.findall(html)}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_python_without_the_gil(module: Path, tmp_path: Path) -> None:
    """Not one line inside a nogil function or block calls into Python."""
    text = module.read_text()
    lines = _nogil_lines(text)
    if not lines:
        pytest.skip(f"{module.name} has no nogil code of its own; its loops are in C")
    scores = _scores(module, tmp_path)
    assert len(scores) == len(text.splitlines())
    assert {line: scores[line] for line in lines if scores[line]} == {}


def test_every_nogil_function_is_noexcept() -> None:
    """A nogil function of ours returns a status: it never has an exception to check for."""
    careless = [
        f"{module.name}:{number}"
        for module in MODULES
        for number, line in enumerate(module.read_text().splitlines(), 1)
        if _FUNCTION.match(line) and "noexcept" not in line
    ]
    assert careless == []
