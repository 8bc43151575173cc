"""The README tells the truth: its commands exist and every verb is in it."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache

import pytest

from byteorctl.exit_codes import Exit
from tests.support.tree import TOP

README = (TOP / "README.md").read_text()


def _block(name: str) -> str:
    found = re.search(rf"<!-- gate: {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md: no block <!-- gate: {name} -->"
    return found[1]


@cache
def _verbs() -> list[str]:
    command = [sys.executable, "-m", "byteorctl", "--help"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    section = text.split("Verbs:\n", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^  ([a-z][a-z-]*)", section, re.MULTILINE)


@pytest.mark.parametrize(("name", "lines"), [("setup", 2), ("job", 1), ("tests", 1)])
def test_commands_of_the_first_screen(name: str, lines: int) -> None:
    """Two commands set up, one runs the main job, one runs the tests; the gate runs these texts."""
    text = re.sub(r"\\\n", " ", _block(name))
    assert len(text.strip().splitlines()) == lines


def test_every_verb_is_documented() -> None:
    """Every verb of `byteorctl --help` is in the README."""
    missing = [verb for verb in _verbs() if f"`{verb}`" not in README]
    assert missing == []


def test_every_verb_of_the_readme_exists() -> None:
    """No command line in the README uses a verb that byteorctl does not have."""
    used = set(re.findall(r"byteorctl (?:-\S+ \S+ )?([a-z][a-z-]+)", README))
    assert used - set(_verbs()) == set()


def test_every_linked_file_exists() -> None:
    """Every relative link of the README leads to a file of the tree."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (TOP / target).exists()] == []


def test_every_exit_code_is_documented() -> None:
    """The README's table of exit codes is the one of the client."""
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert rows == {int(code) for code in Exit}
