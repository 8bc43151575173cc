"""A capture that is cut or changed at any byte: told, and never taken for what it was not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from byteord.errors import RegionError
from byteord.regions.captures import Entry, read_stream
from byteord.regions.captures_check import check_capture
from byteord.regions.journals import segment_path
from tests.support.captured import recorded
from tests.support.run import make_test_plan, run_to_end, spec_text

DEPLOYMENT = """
[adapters.in]
kind = "generator"
size = 24
count = 8
content = "checksummed"
[adapters.out]
kind = "discard"
"""
USED = 64 + 8 * (48 + 24)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the capture of a small run."""
    top = tmp_path_factory.mktemp("captured")
    spec = spec_text('[[stages]]\nname = "s"\nstage = "identity"')
    plan = make_test_plan(spec, DEPLOYMENT, directories=[str(top)])
    plan, directory = recorded(plan, top / "captures", segment_bytes=1 << 17)
    status, _ = run_to_end(plan)
    assert status["state"] == "completed"
    about = json.loads((directory / "capture.json").read_text())
    for name, key in (("spec.kv", "spec_sha256"), ("deployment.kv", "deployment_sha256")):
        about[key] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (directory / "capture.json").write_text(json.dumps(about))
    yield directory
    shutil.rmtree(top)


def _read(directory: Path) -> tuple[list[Entry], str]:
    """Return what can be read, and what was said of the rest."""
    found: list[Entry] = []
    try:
        found += read_stream(directory / "in" / "in")
    except RegionError as error:
        return found, error.message
    return found, ""


def _judge(directory: Path, whole: list[Entry]) -> bool:
    """Tell whether damage was told; what is read in any case are frames as they were written."""
    found, said = _read(directory)
    told = bool(check_capture(directory)) or bool(said)
    assert not said or ("offset" in said and ".seg" in said)
    assert found == whole[: len(found)]
    assert told or found == whole
    return told


def test_a_whole_capture_has_nothing_to_say(kept: Path) -> None:
    """The capture itself is whole, and has what went through the run."""
    assert check_capture(kept) == []
    assert len(list(read_stream(kept / "in" / "in"))) == 8


def test_a_segment_cut_at_any_byte_is_told(kept: Path, tmp_path: Path) -> None:
    """Every prefix of what was written: the frames before the cut, and that some are missing."""
    copy = Path(shutil.copytree(kept, tmp_path / "copy"))
    whole = list(read_stream(kept / "in" / "in"))
    path = segment_path(copy / "in" / "in", 0)
    data = path.read_bytes()
    for length in range(USED):
        path.write_bytes(data[:length])
        assert _judge(copy, whole), length
    assert len(data) == USED
    for zeros in (0, 1, 8, 4096):  # what a run that was lost keeps free behind its frames
        path.write_bytes(data + bytes(zeros))
        assert not _judge(copy, whole), zeros


def test_a_segment_changed_at_any_byte_is_told_or_makes_no_difference(
    kept: Path, tmp_path: Path
) -> None:
    """Every byte of what was written, turned over; every such change is told."""
    copy = Path(shutil.copytree(kept, tmp_path / "copy"))
    whole = list(read_stream(kept / "in" / "in"))
    path = segment_path(copy / "in" / "in", 0)
    data = bytearray(path.read_bytes())
    for at in range(USED):
        data[at] ^= 0x41
        path.write_bytes(data)
        assert _judge(copy, whole), at
        data[at] ^= 0x41


@pytest.mark.parametrize("name", ["capture.json", "spec.kv", "deployment.kv", "out/out.json"])
def test_a_document_cut_at_any_byte_is_told(kept: Path, tmp_path: Path, name: str) -> None:
    """No prefix of a document passes for the whole, and none makes the check itself fail."""
    copy = Path(shutil.copytree(kept, tmp_path / "copy"))
    data = (copy / name).read_bytes()
    text = data.rstrip(b"\n")
    for length in range(0, len(text), max(len(text) // 300, 1)):
        (copy / name).write_bytes(data[:length])
        assert check_capture(copy), length
