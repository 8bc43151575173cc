"""Slices of captures: which messages are in them, and that they are whole journals again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from byteord._cext import journal
from byteord.capture.slice import Leaving, Slice, SliceWanted, slice_of
from byteord.capture.spec_view import SpecView
from tests.support.captures import SEGMENT_BYTES, capture, segment

LEAVING = Leaving(SpecView, payload=True)


def messages(found: Slice, place: str = "capture/in/in/") -> list[tuple[int, bytes]]:
    """Return (sequence, payload) of a slice, read by the journal's own reader; ids must chain."""
    out: list[tuple[int, bytes]] = []
    for entry in found.entries:
        if entry.name.startswith(place):
            data = b"".join(entry.pieces())
            assert len(data) == entry.size
            scanned = journal.scan(data)
            assert scanned["end_offset"] == len(data)
            assert entry.name.endswith(f"/{scanned['id']:020d}.seg")
            assert not out or out[-1][0] + 1 == scanned["id"]
            out += [(sequence, payload) for sequence, _, _, payload in journal.frames(data)]
    return out


def expected(first: int, last: int = 100) -> list[tuple[int, bytes]]:
    """Return what the messages from `first` on are."""
    return [(number, b"message %d" % number) for number in range(first, last)]


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        (SliceWanted(), 0),
        (SliceWanted(last_messages=1), 99),
        (SliceWanted(last_messages=20), 80),
        (SliceWanted(last_messages=21), 79),
        (SliceWanted(last_messages=1000), 0),
        (SliceWanted(last_ns=5_000), 94),
        (SliceWanted(from_sequence=0), 0),
        (SliceWanted(from_sequence=37), 37),
        (SliceWanted(from_sequence=40), 40),
        (SliceWanted(last_messages=50, from_sequence=70), 70),
    ],
)
def test_a_slice_has_exactly_what_was_asked(
    tmp_path: Path, wanted: SliceWanted, first: int
) -> None:
    """From the first wanted message to the last, with the sequences that they had."""
    found = slice_of(str(capture(tmp_path / "r")), wanted, LEAVING)
    assert messages(found) == expected(first)
    said = json.loads(content(found, "capture/slice.json"))
    assert said["journals"]["in/in"]["first_sequence"] == first
    assert said["journals"]["in/in"]["next_sequence"] == 100
    assert messages(found, "capture/choices/merge/") == [(0, b"choice")]


def content(found: Slice, name: str) -> bytes:
    """Return a file of a slice."""
    return next(b"".join(each.pieces()) for each in found.entries if each.name == name)


def test_nothing_is_wanted_behind_the_end(tmp_path: Path) -> None:
    """A position that no message has reached gives an empty slice that says where it would be."""
    found = slice_of(str(capture(tmp_path / "r")), SliceWanted(from_sequence=5000), LEAVING)
    assert messages(found) == []
    said = json.loads(content(found, "capture/slice.json"))["journals"]["in/in"]
    assert (said["segments"], said["next_sequence"]) == (0, 100)


def test_without_permission_no_payload_leaves(tmp_path: Path) -> None:
    """Counts, digests and choices are there; the messages are not, and the manifest says why."""
    found = slice_of(str(capture(tmp_path / "r")), SliceWanted(), Leaving(SpecView))
    everything = b"".join(b"".join(entry.pieces()) for entry in found.entries)
    assert b"message" not in everything.replace(b"last_messages", b"")
    assert "[bundle] payload = true" in found.left_out["capture/in/in"]
    assert json.loads(content(found, "capture/out/out.json"))["count"] == 100


def test_unknown_words_of_the_head_stay(tmp_path: Path) -> None:
    """Of capture.json only what is known to be harmless leaves."""
    found = slice_of(str(capture(tmp_path / "r")), SliceWanted(), LEAVING)
    assert b"planted" not in content(found, "capture/capture.json")


def test_what_does_not_fit_is_left_out_from_the_old_end(tmp_path: Path) -> None:
    """With a bound the newest segments stay and the cut is said."""
    wanted = SliceWanted(bytes_max=2 * SEGMENT_BYTES)
    found = slice_of(str(capture(tmp_path / "r")), wanted, LEAVING)
    assert messages(found) == expected(60)
    assert "capture/in/in before frame 60" in found.left_out


def test_a_run_that_writes_on_is_cut_at_a_whole_frame(tmp_path: Path) -> None:
    """A frame that is half written, or was torn by a crash, is not in the slice."""
    top = capture(tmp_path / "r", messages=50)
    last = top / "in" / "in" / f"{40:020d}.seg"
    data = bytearray(last.read_bytes())
    end = journal.scan(bytes(data))["end_offset"]
    data[end : end + 60] = segment(50, [b"torn"])[64:124]
    last.write_bytes(bytes(data))
    assert messages(slice_of(str(top), SliceWanted(), LEAVING)) == expected(0, 50)


def test_damage_is_taken_along_and_said(tmp_path: Path) -> None:
    """A segment with a bad frame before good ones is in the bundle as it is, its offset named."""
    top = capture(tmp_path / "r")
    path = top / "in" / "in" / f"{20:020d}.seg"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(bytes(data))
    found = slice_of(str(top), SliceWanted(), LEAVING)
    said = json.loads(content(found, "capture/slice.json"))["journals"]["in/in"]
    assert said["damaged"] == [{"segment": path.name, "offset": 192}]
    assert content(found, f"capture/in/in/{path.name}") == bytes(data)


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link in a capture's directory leads nowhere."""
    top = capture(tmp_path / "r")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / f"{0:020d}.seg").write_bytes(segment(0, [b"planted"]))
    os.symlink(tmp_path / "secret", top / "in" / "linked")
    os.symlink(tmp_path / "secret" / f"{0:020d}.seg", top / "in" / "in" / f"{100:020d}.seg")
    found = slice_of(str(top), SliceWanted(), LEAVING)
    assert messages(found) == expected(0)
    assert not any("linked" in entry.name for entry in found.entries)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (SliceWanted(), True),
        (SliceWanted(from_sequence=5), True),
        (SliceWanted(from_sequence=70), False),
        (SliceWanted(last_messages=10), False),
        (SliceWanted(last_messages=1000), True),
    ],
)
def test_what_retention_took_is_missing_by_name(
    tmp_path: Path, wanted: SliceWanted, *, told: bool
) -> None:
    """Who wants older messages than there are is told from where on they are there."""
    directory = capture(tmp_path / "r")
    first, second, *_ = sorted((directory / "in" / "in").glob("*.seg"))
    first.unlink()
    found = slice_of(str(directory), wanted, LEAVING)
    name = f"capture/in/in before position {int(second.stem)}"
    assert (name in found.left_out) is told
    assert messages(found)[-1] == expected(99)[0]
