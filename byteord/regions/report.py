"""The report that a stage keeps in its state area: counters that its plan has names for.

Owns where they lie: 8 words that no undone batch takes back, 8 that one does, then one word for
each further name. A counter among the first 8 is the sum of both.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

COUNTERS_MAX, FURTHER_MAX = 8, 32
AREA_BYTES_MIN = 8 * (2 * COUNTERS_MAX + FURTHER_MAX)


def read_report(area: bytes, names: Sequence[str]) -> dict[str, int]:
    """Return the counters by name; nothing when the area cannot hold them."""
    if not names or len(area) < AREA_BYTES_MIN or len(names) > COUNTERS_MAX + FURTHER_MAX:
        return {}
    words = struct.unpack_from(f"<{2 * COUNTERS_MAX + FURTHER_MAX}Q", area)
    lasting, counted = words[:COUNTERS_MAX], words[COUNTERS_MAX:]
    return {
        name: counted[index] + (lasting[index] if index < COUNTERS_MAX else 0)
        for index, name in enumerate(names)
    }
