"""Running CRC32C of a stream. Imported inside the verbs that stream."""

from __future__ import annotations

import google_crc32c


class Running:
    """CRC32C and length of everything that was added."""

    __slots__ = ("crc32c", "total_bytes")

    def __init__(self) -> None:
        """Start with nothing."""
        self.crc32c = 0
        self.total_bytes = 0

    def add(self, data: bytes) -> None:
        """Continue with `data`."""
        self.crc32c = google_crc32c.extend(self.crc32c, data)
        self.total_bytes += len(data)


def crc32c_of(data: bytes) -> int:
    """Return the CRC32C of some bytes."""
    return int(google_crc32c.value(data))
