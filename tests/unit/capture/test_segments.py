"""Reading recorded segments: ranges, gaps, and damage named by file and offset."""

from __future__ import annotations

from pathlib import Path

import pytest

from byteord.errors import DataError
from byteord.regions.segments import Range, Recording
from tests.support.recordings import FIRST_UNIX_NS, Frame, frames, write_segments

COUNT = 2000


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Provide a journal of several segments, without its messages 700 to 799."""
    whole = frames([b"message %05d" % index + bytes(40) for index in range(COUNT)])
    place = tmp_path / "journal"
    write_segments(place, whole[:700] + whole[800:])
    return place


def test_a_survey_counts_what_is_there_and_what_is_missing(recorded: Path) -> None:
    """Frames, gaps with their exact size, and the whole range."""
    recording = Recording(recorded)
    assert len(recording.paths) > 2
    found = recording.survey(Range(), by_rx=True)
    assert (found.frames, found.first, found.last) == (COUNT - 100, 0, COUNT - 1)
    assert (found.missing, found.gaps, found.chosen_missing) == (100, ((700, 100),), 100)
    assert (found.low, found.high, found.chosen) == (0, COUNT - 100, COUNT - 100)


@pytest.mark.parametrize(
    ("wanted", "sequences"),
    [
        (Range(from_sequence=900, to_sequence=999), (900, 999)),
        (Range(last=10), (COUNT - 10, COUNT - 1)),
        (Range(from_sequence=650, to_sequence=850), (650, 850)),
        (Range(to_unix_ns=FIRST_UNIX_NS + 5_000_000_000 + 9_500), (0, 9)),
        (Range(from_unix_ns=FIRST_UNIX_NS + 5_000_000_000 + 1_990_000), (1990, COUNT - 1)),
        (Range(from_sequence=COUNT), None),
    ],
)
def test_ranges_go_by_sequence_time_and_number(
    recorded: Path, wanted: Range, sequences: tuple[int, int] | None
) -> None:
    """Bounds are inclusive, by the sequence of the recorded stream."""
    found = Recording(recorded).survey(wanted, by_rx=True)
    if sequences is None:
        assert found.chosen == 0
        return
    first, last = sequences
    missing = 100 if first < 700 and last >= 800 else 0
    assert (found.low_sequence, found.high_sequence) == (first, last + 1)
    assert (found.chosen, found.chosen_missing) == (last - first + 1 - missing, missing)


def test_a_limit_of_bytes_cuts_before_the_message_that_would_pass_it(recorded: Path) -> None:
    """What is chosen never has more bytes than the limit."""
    found = Recording(recorded).survey(Range(), by_rx=True, bytes_max=53 * 7 + 52)
    assert (found.chosen, found.chosen_bytes, found.limited) == (7, 53 * 7, True)


def test_messages_are_found_by_count_sequence_and_time(recorded: Path) -> None:
    """The three ways to name a message agree."""
    segments = Recording(recorded).segments
    found = segments.find(rx=1500)
    assert found is not None
    own, rx, time_ns, _, payload = found
    assert (own, rx, payload[:13]) == (1400, 1500, b"message 01500")
    assert segments.find(own=own) == segments.find(time_ns=time_ns) == found
    assert segments.find(rx=750) is None


def test_a_torn_tail_ends_the_recording(tmp_path: Path) -> None:
    """Half a frame with nothing behind it is where the recording stopped."""
    write_segments(tmp_path, frames([b"one", b"two", b"three"]))
    path = next(iter(tmp_path.glob("*.seg")))
    data = bytearray(path.read_bytes())
    data[64 + 2 * 56 + 50] ^= 1  # in the payload of the third
    path.write_bytes(data)
    assert Recording(tmp_path).survey(Range(), by_rx=True).frames == 2


@pytest.mark.parametrize("damage", ["frame", "header", "version", "missing", "short", "foreign"])
def test_damage_is_told_by_file_and_offset(recorded: Path, damage: str) -> None:
    """A bad frame with good ones behind it, a foreign header, a segment that is not there."""
    second = sorted(recorded.glob("*.seg"))[1]
    data = bytearray(second.read_bytes())
    if damage == "missing":
        second.unlink()
    else:
        at = {"frame": 120, "header": 20, "version": 8, "foreign": 0}.get(damage, 0)
        data[at] ^= 0xFF
        second.write_bytes(data[:10] if damage == "short" else data)
    with pytest.raises(DataError, match="segment") as caught:
        Recording(recorded)
    assert caught.value.reason == "CAPTURE_DAMAGED"
    assert caught.value.details["file"].endswith(".seg")


def test_every_byte_of_a_small_one_may_be_damaged(tmp_path: Path) -> None:
    """Cut or changed anywhere: an error that names the file, or less of it."""
    whole = [Frame(b"payload %d" % index, index, index + 1) for index in range(3)]
    write_segments(tmp_path, whole)
    path = next(iter(tmp_path.glob("*.seg")))
    good = path.read_bytes()
    for at in range(64 + 3 * 64):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :]):
            path.write_bytes(bad)
            try:
                found = Recording(tmp_path).segments
            except DataError as error:
                assert error.details["file"] == str(path)  # noqa: PT017 - or it is whole
                continue
            seen = [each[4] for own in range(3) if (each := found.find(own=own)) is not None]
            assert seen == [frame.payload for frame in whole][: len(seen)]
