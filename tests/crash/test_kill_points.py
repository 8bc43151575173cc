"""A worker of a LaneGraph that is killed between any two stores: no message is owed to anybody.

The native headers are compiled with their kill points (`killpoint.h`), which no other build has.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crash.test_kill_rings import POINTS as RING_POINTS
from tests.stress.test_native_stress import HEADERS, compile_program, run_program

PROGRAM = Path(__file__).resolve().parents[1] / "stress" / "graph_kill.c"
POINTS = {
    1: "the undo copy of a stage in place is whole",
    2: "the inactive record is filled",
    3: "the commit point",
    5: "a cell of stages in place is released",
    7: "a stage in place has been called",
    8: "its batch is counted",
    9: "one stamp is stored",
    20: "a stage has been called",
    21: "the source has filled slots",
    22: "the sink has taken messages",
    23: "one output is shown",
    24: "one input is released",
    25: "the inactive words are written",
    26: "a turn is done, nothing of it committed",
    27: "the end of an output is known, its slot is not",
    28: "half a frame of a journal is written",
    29: "a segment is whole and has no name",
    30: "a segment has its name",
}
"""Kill points that a unit of a LaneGraph passes, and what has just been stored there."""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the program needs gcc")


def _build(target: Path, headers: Path = HEADERS) -> Path:
    compile_program(PROGRAM, "plain", target, headers, "-O1", "-DBYTEOR_KILL_POINTS")
    return target


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the program."""
    return _build(tmp_path_factory.mktemp("kill") / "graph_kill")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("way", ["alone", "fused"])
def test_a_kill_at_each_pass_of_each_point_changes_no_output(
    killer: Path, tmp_path: Path, point: int, way: str
) -> None:
    """`kill -9` at every single pass, then again while recovering, then with the others ahead.

    A router, stages with both kinds of state, several outputs of one message, dead letters, a
    journal, an ordered merge, a stage in place: each output is what plain code works out.
    """
    done = run_program(killer, point, way, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok ")


def test_every_kill_point_of_the_headers_is_known() -> None:
    """A new one is taken too, here or where units of a SingleRing are killed."""
    text = "".join(path.read_text() for path in HEADERS.glob("*.[ch]"))
    found = {int(number) for number in re.findall(r"BYTEOR_KILL_POINT\((\d+)\)", text)}
    assert found == {*POINTS, *RING_POINTS["ring"], *RING_POINTS["shards"]}


@pytest.mark.parametrize(
    ("right", "wrong", "point"),
    [
        (
            "u->unit->undo.valid_for == u->work.commits + 1) byteor_graph_log_undo(u, 0);",
            "0) {}",
            20,
        ),
        (
            "byteor_words_store(u);\n    BYTEOR_KILL_POINT(25);\n    byteor_commit(u);",
            "byteor_commit(u);\n    BYTEOR_KILL_POINT(25);\n    byteor_words_store(u);",
            25,
        ),
    ],
    ids=["logged-state-not-taken-back", "words-after-the-commit"],
)
def test_planted_faults_are_found(tmp_path: Path, right: str, wrong: str, point: int) -> None:
    """The kills are able to fail: a commit in the wrong order, a recovery that forgets."""
    headers = tmp_path / "cext"
    shutil.copytree(HEADERS, headers, ignore=shutil.ignore_patterns("*.pyx"))
    text = (headers / "graph_commit.h").read_text()
    assert right in text
    (headers / "graph_commit.h").write_text(text.replace(right, wrong))
    planted = _build(tmp_path / "planted", headers)
    done: subprocess.CompletedProcess[str] = run_program(planted, point, "alone", tmp_path)
    assert done.returncode != 0
    assert "killed at pass" in done.stderr
