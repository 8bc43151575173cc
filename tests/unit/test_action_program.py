"""Programs of actions: the bytes that run are the ones that were admitted, whoever writes when."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from byteord.deployment.model import ActionLimits
from byteord.stages.actions.program import RunProgram

SCRIPT = b'#!/bin/sh\nread line\necho "$line $2" >> "$1"\n'
OTHER = b'#!/bin/sh\necho other >> "$1"\n'


def _program(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    path.chmod(0o755)
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _by_rename(path: Path, content: bytes) -> None:
    beside = path.with_name("beside")
    _program(beside, content)
    beside.rename(path)


def _before_start(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let `act` happen once, at the last moment before the next process is started."""
    todo = [act]

    class Racing(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            while todo:
                todo.pop()()
            super().__init__(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", Racing)


@pytest.mark.parametrize("change", [_in_place, _by_rename])
def test_a_write_between_check_and_start_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, bytes], None]
) -> None:
    """The admitted script runs; the next time the change is seen, and undone it runs again."""
    path, out = tmp_path / "program", tmp_path / "out"
    digest = _program(path, SCRIPT)
    runner = RunProgram([str(path), str(out), "x y"], ActionLimits(), digest)
    _before_start(monkeypatch, lambda: change(path, OTHER))
    assert runner.act(b"one\n", "k").ok
    assert out.read_text() == "one x y\n"
    refused = runner.act(b"two\n", "k")
    assert not refused.ok
    assert f"was admitted with {digest}" in refused.text
    change(path, SCRIPT)
    assert runner.act(b"three\n", "k").ok
    assert out.read_text() == "one x y\nthree x y\n"
    runner.close()


def test_a_binary_runs_from_its_sealed_copy_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no script is not written over either, and is given no descriptor."""
    path, made = tmp_path / "find", tmp_path / "made"
    content = Path(shutil.which("find") or "").read_bytes()
    words = [str(path), "/proc/self/fd", "-lname", "*byteor*", "-fprint", str(made)]
    runner = RunProgram(words, ActionLimits(), _program(path, content))
    other = Path(shutil.which("true") or "").read_bytes()
    _before_start(monkeypatch, lambda: _in_place(path, other))
    assert runner.act(b"", "k").ok
    assert made.read_text() == "", "the copy is not left open in it"
    runner.close()


def test_programs_started_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Children that are being started never keep another copy from being executed."""
    runners = []
    for number in range(4):
        path = tmp_path / f"program{number}"
        digest = _program(path, SCRIPT + b"#" * number)
        runners.append(RunProgram([str(path), str(tmp_path / "out"), "x"], ActionLimits(), digest))
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda at: runners[at % 4].act(b"m\n", "k"), range(32)))
    assert [each.text for each in done] == ["exit 0"] * 32
    assert (tmp_path / "out").read_text() == "m x\n" * 32
    for each in runners:
        each.close()


def test_a_program_that_may_no_longer_be_executed_does_not_run(tmp_path: Path) -> None:
    """Its copy could; the file's own mode counts. Nothing stays open behind it."""
    path, out = tmp_path / "program", tmp_path / "out"
    before = set(os.listdir("/proc/self/fd"))
    runner = RunProgram([str(path), str(out), "x"], ActionLimits(), _program(path, SCRIPT))
    assert runner.act(b"one\n", "k").ok
    path.chmod(0o644)
    assert "may not be executed" in runner.act(b"two\n", "k").text
    path.chmod(0o755)
    assert runner.act(b"three\n", "k").ok
    runner.close()
    assert set(os.listdir("/proc/self/fd")) == before
    assert out.read_text() == "one x\nthree x\n"
