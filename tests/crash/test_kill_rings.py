"""A worker of a recorded SingleRing killed between any two stores: output and tapes are whole.

The native headers are compiled with their kill points (`killpoint.h`), which no other build has.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.stress.test_native_stress import HEADERS, compile_program, run_program

PROGRAM = Path(__file__).resolve().parents[1] / "stress" / "ring_kill.c"
EVERYWHERE = {
    1: "the undo copy is whole",
    2: "the inactive record is filled",
    3: "the commit point",
    5: "a cell of stages is released",
    7: "a stage has been called",
    8: "its batch is counted",
    9: "one stamp is stored",
    31: "messages are on the tape, not committed",
    32: "a tape is shown to the recorder",
}
POINTS = {
    "ring": {**EVERYWHERE, 4: "the cursor of the ingress is stored"},
    "shards": {**EVERYWHERE, 6: "one ring of a unit of several is shown or released"},
}
"""Kill points that units of a SingleRing pass, and what has just been stored there."""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the program needs gcc")


def _build(target: Path, headers: Path = HEADERS) -> Path:
    compile_program(PROGRAM, "plain", target, headers, "-O1", "-DBYTEOR_KILL_POINTS")
    return target


@pytest.mark.parametrize("way", POINTS)
def test_a_kill_at_each_pass_of_each_point_changes_nothing(tmp_path: Path, way: str) -> None:
    """`kill -9` at every single pass, at times again while recovering: each message once, in order.

    That holds for what comes out, and for what the tapes of ingress and egress hand to a recorder.
    """
    program = _build(tmp_path / "ring_kill")
    for point in POINTS[way]:
        done = run_program(program, point, way)
        assert done.returncode == 0, (point, done.stderr)
        assert done.stdout.startswith("ok "), point


@pytest.mark.parametrize(
    ("file", "right", "wrong", "point"),
    [
        ("capture.h", " || (head->count && head->first >= *t->committed)", "", 31),
        ("unit.h", "    byteor_publish_record(u);\n    byteor_show_counters(u);", "", 3),
    ],
    ids=["tape-keeps-what-was-not-committed", "recovery-shows-nothing"],
)
def test_planted_faults_are_found(
    tmp_path: Path, file: str, right: str, wrong: str, point: int
) -> None:
    """The kills are able to fail."""
    headers = tmp_path / "cext"
    shutil.copytree(HEADERS, headers, ignore=shutil.ignore_patterns("*.pyx"))
    text = (headers / file).read_text()
    assert right in text
    (headers / file).write_text(text.replace(right, wrong))
    done = run_program(_build(tmp_path / "planted", headers), point, "shards")
    assert done.returncode != 0
    assert "ring_kill.c" in done.stderr
