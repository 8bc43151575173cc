"""A capture that is cut or changed at any byte: told, and never taken for what it was not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from byteord.capture.recorded import read_recorded
from byteord.errors import DataError, NotFoundError, RegionError
from byteord.regions.captures import SELF, Entry, read_stream, write_json
from byteord.regions.captures_check import check_capture
from tests.support.captured import recorded
from tests.support.recordings import Frame, write_segments
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
STREAMS = ("in/in", "out/out", "choices/s")
FILES = (
    "capture.json",
    "spec.kv",
    "deployment.kv",
    "out/out.json",
    *(f"{stream}/{0:020d}.seg" for stream in STREAMS),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the capture of a small run, with choices, and conditions that are quickly read."""
    top = tmp_path_factory.mktemp("captured")
    spec = spec_text('[[stages]]\nname = "s"\nstage = "identity"')
    plan = make_test_plan(spec, DEPLOYMENT, directories=[str(top)])
    plan, directory = recorded(plan, top / "captures", segment_bytes=1 << 17)
    status, _ = run_to_end(plan)
    assert status["state"] == "completed"
    about = json.loads((directory / "capture.json").read_text())
    for name, key in (("spec.kv", "spec_sha256"), ("deployment.kv", "deployment_sha256")):
        about[key] = _digest((directory / name).read_bytes())
    about["conditions"] = {"python": about["conditions"]["python"], "pythonhashseed": 7}
    about["choosers"] = [{"name": "s", "role": "stage", "kept": 2, "seen": 8, "lost": 0}]
    write_segments(directory / "choices" / "s", [Frame(b"c" * 16, 0, 4), Frame(b"d" * 16, 4, 4)])
    path = directory / FILES[-1]
    path.write_bytes(path.read_bytes()[: 64 + 2 * (48 + 16)])
    write_json(directory / "capture.json", about)
    yield directory
    shutil.rmtree(top)


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


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


@dataclass(frozen=True)
class _Content:
    """Everything that a replay takes from a capture."""

    facts: Any
    live: Any
    documents: tuple[bytes, bytes]
    frames: tuple[tuple[Entry, ...], ...]


def _for_replay(directory: Path) -> _Content | str:
    """Return what a replay is given, or why it is refused."""
    try:
        found = read_recorded(str(directory))
    except (DataError, NotFoundError) as error:
        return error.message
    facts = {key: value for key, value in found.facts.items() if not _is_self(key)}
    frames = tuple(tuple(read_stream(directory / stream)) for stream in STREAMS)
    assert set(found.inputs) == {"in"}
    assert set(found.choices) == {"s"}
    live = found.live["out"]
    return _Content(
        facts,
        (live.count, live.sha256, live.checkpoints, live.lost),
        (found.spec_kv, found.deployment_kv),
        frames,
    )


def _is_self(key: str) -> bool:
    """Tell whether a key is, or was before one byte of it changed, that of a document's digest."""
    return len(key) == len(SELF) and sum(a != b for a, b in zip(key, SELF, strict=True)) <= 1


def _damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the data cut at every byte, and changed at every byte."""
    for at in range(len(data)):
        yield f"cut at {at}", data[:at]
        yield f"changed at {at}", data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]


def test_a_whole_capture_has_nothing_to_say(kept: Path) -> None:
    """The capture itself is whole, and has what went through the run."""
    assert check_capture(kept) == []
    assert len(list(read_stream(kept / "in" / "in"))) == 8
    content = _for_replay(kept)
    assert isinstance(content, _Content)
    assert [len(frames) for frames in content.frames] == [8, 8, 2]
    found = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert found == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_replay_takes_no_damaged_capture(kept: Path, tmp_path: Path, name: str) -> None:
    """Each file, cut or changed at each byte: refused by its name, or it is as it was."""
    copy = Path(shutil.copytree(kept, tmp_path / "copy"))
    whole = _for_replay(copy)
    data = (copy / name).read_bytes()
    refused = 0
    for how, bad in _damaged(data):
        (copy / name).write_bytes(bad)
        found = _for_replay(copy)
        if isinstance(found, str):
            refused += 1
            assert any(part in found for part in (name, name.rpartition("/")[0] or name)), how
        else:
            assert found == whole, how
    assert refused > len(data) * 1.9


@pytest.mark.parametrize("name", FILES)
def test_the_check_tells_of_every_damage(kept: Path, tmp_path: Path, name: str) -> None:
    """Reading it through never fails, and nothing but what makes no difference is passed over."""
    copy = Path(shutil.copytree(kept, tmp_path / "copy"))
    data = (copy / name).read_bytes()
    passed = []
    for how, bad in _damaged(data):
        (copy / name).write_bytes(bad)
        if not check_capture(copy):
            passed.append(how)
            assert isinstance(_for_replay(copy), _Content), how
    assert len(passed) < len(data) * 0.1, passed


def test_a_segment_cut_at_any_byte_is_told(kept: Path, tmp_path: Path) -> None:
    """Every prefix of what was written: the frames before the cut, and that some are missing."""
    copy = Path(shutil.copytree(kept, tmp_path / "copy"))
    whole = list(read_stream(kept / "in" / "in"))
    path = copy / "in" / "in" / f"{0:020d}.seg"
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
    path = copy / "in" / "in" / f"{0:020d}.seg"
    data = bytearray(path.read_bytes())
    for at in range(USED):
        data[at] ^= 0x41
        path.write_bytes(data)
        assert _judge(copy, whole), at
        data[at] ^= 0x41
