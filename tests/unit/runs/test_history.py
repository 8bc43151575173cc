"""The history of ended runs."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest

from byteord.runs.history import History
from byteord.runs.state import RunState
from byteord.runs.view import (
    ConditionView,
    ErrorView,
    FailureView,
    JitterView,
    RoleView,
    RunView,
    WorkerView,
)
from byteord.tuning.knobs import DEGRADED, Knob
from tests.unit.runs.support import view


def full_view() -> RunView:
    """Return a view with something in every field."""
    error = ErrorView("E", 3, 7, "text")
    role = RoleView("s", "stage", "filter", "failed", 1, rejected={"oversize": 2}, errors=(error,))
    return dataclasses.replace(
        view("full", RunState.FAILED, revision=9, ended=5),
        conditions=(ConditionView("Ready", "false", "Failed", "why", 1),),
        failure=FailureView("STAGE_RAISED", "s", "filter", 7, "ab", "boom"),
        workers=(
            WorkerView(
                1,
                2,
                "exited",
                ("s",),
                (0, 1),
                1,
                2,
                3,
                "exit 1",
                4,
                (Knob("affinity", "1", "0-1", DEGRADED, "r", "e", "f", 5),),
                JitterView(1, 2, 3),
            ),
        ),
        roles=(role,),
        code_digests={"s": "sha256:00"},
    )


@pytest.mark.parametrize("kept", [True, False], ids=["directory", "memory"])
def test_gives_back_what_it_was_given(tmp_path: Path, *, kept: bool) -> None:
    """A view and its snapshot come back equal, also from another history on the same directory."""
    directory = str(tmp_path / "runs") if kept else None
    history = History(directory)
    history.add(full_view(), b'{"snapshot_version":1}')
    for each in [history, History(directory)] if kept else [history]:
        assert each.get("full") == full_view()
        assert each.views() == [full_view()]
        assert json.loads(each.snapshot("full") or b"") == {"snapshot_version": 1}
        assert each.get("other") is None
        assert each.snapshot("other") is None


def test_is_bounded_in_memory_and_on_disk(tmp_path: Path) -> None:
    """Only the newest are kept, in order of their end, and the files of the others are gone."""
    history = History(str(tmp_path), runs_max=3)
    for index in range(5):
        history.add(view(f"r{index}", RunState.COMPLETED, ended=index), b"{}")
    assert [each.id for each in history.views()] == ["r2", "r3", "r4"]
    assert sorted(os.listdir(tmp_path)) == ["r2.json", "r3.json", "r4.json"]
    assert [each.id for each in History(str(tmp_path), runs_max=2).views()] == ["r3", "r4"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\x00" * 100, b'{"version":2}', b'{"version":1,"view":{"id":"x"}}']
)
def test_a_damaged_file_is_reported_and_left_alone(tmp_path: Path, damage: bytes) -> None:
    """A file that is not a whole history of this version is named; the others are read."""
    history = History(str(tmp_path))
    history.add(view("good", RunState.STOPPED, ended=1), b"{}")
    bad = tmp_path / "bad.json"
    bad.write_bytes(damage)
    again = History(str(tmp_path))
    assert [each.id for each in again.views()] == ["good"]
    assert len(again.unreadable) == 1
    assert str(bad) in again.unreadable[0]
    assert bad.read_bytes() == damage


def test_a_file_under_another_name_is_refused(tmp_path: Path) -> None:
    """A file that claims to be another run, and a run that has not ended, are not believed."""
    history = History(str(tmp_path))
    history.add(view("good", RunState.STOPPED, ended=1), b"{}")
    (tmp_path / "good.json").rename(tmp_path / "evil.json")
    again = History(str(tmp_path))
    assert again.views() == []
    assert "good" in again.unreadable[0]


def test_leftovers_of_a_crash_are_swept(tmp_path: Path) -> None:
    """A half-written file from a crashed daemon disappears at the next start."""
    (tmp_path / ".tmpabc").write_bytes(b"{")
    assert History(str(tmp_path)).unreadable == []
    assert os.listdir(tmp_path) == []


def test_files_are_private(tmp_path: Path) -> None:
    """Directory 0700, files 0600: a failure's message may quote a payload."""
    directory = tmp_path / "state"
    History(str(directory)).add(view("a", RunState.FAILED, ended=1), b"{}")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "a.json").stat().st_mode) == 0o600


def test_a_run_whose_file_cannot_be_written_is_still_remembered(tmp_path: Path) -> None:
    """A full or missing disk costs the file, not the answer."""
    directory = tmp_path / "state"
    history = History(str(directory))
    directory.rmdir()
    with pytest.raises(OSError, match="state"):
        history.add(view("a", RunState.FAILED, ended=1), b"{}")
    assert history.get("a") is not None
