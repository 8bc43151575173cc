"""Sizes, durations and byte strings: what each spelling means, and the one that is kept."""

from __future__ import annotations

import pytest

from byteord.spec.quantity import (
    bytes_of,
    canonical_bytes,
    canonical_duration,
    canonical_size,
    duration_ns_of,
    size_of,
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("1", 1),
        ("1s", 1),
        ("1000 ms", 1),
        ("0.5", "500ms"),
        ("1500ms", "1500ms"),
        ("1.5s", "1500ms"),
        ("2 m", 120),
        ("1h", 3600),
        ("0.0005s", "0.0005s"),
        ("0.5ms", "0.0005s"),
        ("1 fortnight", "1 fortnight"),
    ],
)
def test_durations(text: str, kept: int | str) -> None:
    """Whole seconds, else milliseconds, else decimals; the kept spelling means the same."""
    assert canonical_duration(text) == kept
    assert duration_ns_of(str(kept)) == duration_ns_of(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("4096", 4096), ("4 KiB", 4096), ("1MB", 1_000_000), ("7B", 7), ("1 parsec", "1 parsec")],
)
def test_sizes(text: str, kept: int | str) -> None:
    """Bytes as an integer; the kept spelling means the same."""
    assert canonical_size(text) == kept
    assert size_of(str(kept)) == size_of(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Failed", "Failed"),
        ("hex:4661696C6564", "Failed"),
        ("hex:FF", "hex:ff"),
        ("hex:00", "hex:00"),
        ("hex:6865783a41", "hex:6865783a41"),
        ("hex:xyz", "hex:xyz"),
    ],
)
def test_byte_strings(text: str, kept: str) -> None:
    """Text where the bytes are text that does not itself begin with `hex:`; else hex digits."""
    assert canonical_bytes(text) == kept
    assert bytes_of(kept) == bytes_of(text)
