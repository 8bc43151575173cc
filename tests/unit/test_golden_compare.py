"""Differences between outputs as people read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from byteorctl.golden.compare import LINES_SHOWN_MAX, difference, first_difference


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_equal_means_no_lines_and_the_first_difference_is_exact(old: bytes, new: bytes) -> None:
    """Nothing is said of equal outputs; of others the offset is where they part."""
    lines = difference(old, new)
    assert (lines == []) == (old == new)
    at = first_difference(old, new)
    assert old[:at] == new[:at]
    assert old[at : at + 1] != new[at : at + 1] or old == new


def test_text_differs_by_line_and_stays_short() -> None:
    """Ten thousand lines with one changed show that one, its neighbours, and the counts."""
    old = [f"line {number}" for number in range(10_000)]
    new = [*old[:5_000], "changed", *old[5_001:]]
    lines = difference("\n".join(old).encode(), "\n".join(new).encode())
    assert lines[0].startswith("line 5001 ")
    assert "-line 5000" in lines
    assert "+changed" in lines
    assert len(lines) <= LINES_SHOWN_MAX + 1


def test_a_missing_newline_is_said() -> None:
    """Two texts that look alike differ visibly."""
    assert any("no newline" in line for line in difference(b"a\n", b"a"))


def test_bytes_differ_by_offset_with_both_rows() -> None:
    """Binary output shows the offset and the rows of both sides."""
    old = bytes(range(64))
    lines = difference(old, old[:20] + b"\xff" + old[21:])
    assert lines[0].startswith("byte 20 differs (64 bytes expected, 64 seen)")
    assert any(line.startswith("-00000010") for line in lines)
    assert any(line.startswith("+00000010") and " ff " in line for line in lines)
