"""An ingress that streams small batches is killed at each of its stores; its successor goes on."""

from __future__ import annotations

import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.stress.test_native_stress import HEADERS, HERE

POINTS = (2, 3, 4, 8)
PASSES = (0, 7, 33)
AT_ONCE = (1, 3)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="stress programs need gcc")


def build(target: Path, headers: Path) -> Path:
    """Compile the program with its kill points."""
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wshadow", "-DBYTEOR_KILL_POINTS"]
    command = ["gcc", *flags, f"-I{headers}", f"-I{HEADERS}", str(HERE / "stream_kill.c")]
    subprocess.run([*command, "-o", str(target)], check=True, timeout=60)
    return target


def outcome(program: Path, point: int, passes: int, at_once: int) -> tuple[int, str, str]:
    """Return exit status, output and errors of one way to be killed."""
    command = [str(program), str(point), str(passes), str(at_once)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_stream_survives_kills_at_any_store(tmp_path: Path) -> None:
    """Every message comes once, whole, in order, with growing times; the records are exact."""
    program = build(tmp_path / "kill", HEADERS)
    for way in product(POINTS, PASSES, AT_ONCE):
        assert outcome(program, *way) == (0, "killed\n", ""), way


def test_a_commit_that_forgets_a_count_is_found(tmp_path: Path) -> None:
    """The test is able to fail: without one word of the record, the successor counts wrong."""
    headers = tmp_path / "cext"
    shutil.copytree(HEADERS, headers, ignore=shutil.ignore_patterns("*.pyx", "*.c"))
    stages = Path("byteord/stages/include")
    shutil.copytree(HEADERS.parent / stages, tmp_path / stages)
    text = (headers / "unit_source.h").read_text()
    word = "    byteor_store_relaxed64(&record->member[0].received, position + s->received);\n"
    assert word in text
    (headers / "unit_source.h").write_text(text.replace(word, ""))
    status, _, errors = outcome(build(tmp_path / "kill", headers), 3, 7, 1)
    assert (status, "the record says" in errors) == (1, True)
