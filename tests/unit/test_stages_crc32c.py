"""CRC32C: known vectors, the incremental law, and the instruction against the table."""

from __future__ import annotations

import random

import pytest

from byteord._cext.stages import crc32c, crc32c_portable

VECTORS = [
    (b"", 0),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
]
"""RFC 3720 appendix B.4, and the usual check value."""


@pytest.mark.parametrize(("data", "wanted"), VECTORS)
def test_known_vectors(data: bytes, wanted: int) -> None:
    """Both ways give the published value."""
    assert crc32c(data) == wanted
    assert crc32c_portable(data) == wanted


def test_incremental_and_portable_agree_at_any_split() -> None:
    """Continuing from the first part's checksum gives the whole's, at any length and alignment."""
    draw = random.Random(7)
    whole = draw.randbytes(3000)
    for length in (*range(64), *range(180, 400, 7), *range(760, 2500, 97)):
        start, cut = draw.randrange(200), draw.randrange(length + 1)
        data = memoryview(whole)[start : start + length]
        assert crc32c(data) == crc32c_portable(data)
        assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)
