"""Recorded choices taken apart for a replay, held against a plain reading of them."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from byteord.capture.recorded import Recorded
from byteord.regions.captures import read_choices
from byteord.regions.journals import names
from byteord.regions.segments import Recording
from tests.support.recordings import Frame, write_segments

_CHOICE = struct.Struct("<IIQ")
_KINDS = ("take", "route", "keep", "drop", "batch", "miss", "fail")
Choice = tuple[int, int, int]


def _write(directory: Path, batches: Sequence[Sequence[Choice]]) -> None:
    payloads = [b"".join(_CHOICE.pack(*each) for each in batch) for batch in batches]
    write_segments(directory, [Frame(data, 10 * at, 10) for at, data in enumerate(payloads)])


def _plain(
    directory: Path,
) -> tuple[bytes, bytes, bytes, dict[int, bytes], dict[int, list[tuple[int, int]]]]:
    """Take choices apart one by one, as the page of captures describes them."""
    made = [each for batch in read_choices(directory) for each in batch.made]
    parts: dict[str, bytes] = defaultdict(bytes)
    outputs: dict[int, bytes] = defaultdict(bytes)
    missed: dict[int, set[int]] = defaultdict(set)
    places: dict[int, int] = defaultdict(int)
    for kind, source, count in made:
        record = _CHOICE.pack(_KINDS.index(kind) + 1, source, count)
        if kind in ("keep", "drop"):
            outputs[source] += record
        elif kind != "miss":
            parts["batch" if kind == "fail" else kind] += record
        if kind == "miss":
            missed[source].update(range(places[source], places[source] + count))
        if kind in ("take", "miss"):
            places[source] += count
    lost = {source: _runs(sorted(those)) for source, those in missed.items() if those}
    return parts["take"], parts["route"], parts["batch"], dict(outputs), lost


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as (first, how many) of those that follow each other."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and sum(found[-1]) == number:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((number, 1))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_choices_are_taken_apart_as_they_were_made(tmp_path: Path, seed: int) -> None:
    """Any mixture of kinds over several segments: in order, by output, by input what it lost."""
    chance = random.Random(seed)
    batches = [
        [
            (chance.randint(1, 7), chance.randrange(5), chance.randrange(4))
            for _ in range(chance.randrange(1, 200))
        ]
        for _ in range(60)
    ]
    _write(tmp_path, batches)
    assert len(names(tmp_path)) > 1
    take, route, calls, outputs, lost = Recording(tmp_path).segments.scripts()
    there = {at: list(struct.iter_unpack("<QQ", records)) for at, records in lost.items()}
    assert (take, route, calls, outputs, there) == _plain(tmp_path)


@pytest.mark.parametrize(
    "data",
    [_CHOICE.pack(8, 0, 1), _CHOICE.pack(0, 0, 1), _CHOICE.pack(1, 1 << 20, 1), b"short"],
    ids=["kind", "no-kind", "source", "length"],
)
def test_what_is_no_choice_is_told_by_its_frame(tmp_path: Path, data: bytes) -> None:
    """A kind, an input or a length that cannot be: the frame is named, nothing is made of it."""
    good = _CHOICE.pack(1, 0, 1)
    write_segments(tmp_path, [Frame(good, 0, 1), Frame(good, 1, 1), Frame(data, 2, 1)])
    with pytest.raises(ValueError, match="frame 2 holds no choices"):
        Recording(tmp_path).segments.scripts()


def test_choices_without_their_first_ones_are_not_followed(tmp_path: Path) -> None:
    """Retention took the first segment of one role: its choices would be made at wrong places."""
    for name in ("whole", "begun", "lossy"):
        _write(tmp_path / name, [[(1, 0, 1)] * 200 for _ in range(60)])
    (tmp_path / "idle").mkdir()
    min((tmp_path / "begun").iterdir()).unlink()
    choices = {name: str(tmp_path / name) for name in ("whole", "begun", "lossy", "idle")}
    facts = {"choosers": [{"name": "lossy", "lost": 3}, {"name": "whole", "lost": 0}]}
    recorded = Recorded("capture", str(tmp_path), {}, choices=choices, facts=facts)
    assert list(recorded.whole_choices) == ["whole", "idle"]
