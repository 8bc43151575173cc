"""How many actions a replay may attempt, over all of its workers.

Owns one small file in the run directory that all of them map: what was taken of it, and whether it
was spent.
"""

from __future__ import annotations

import mmap
import os
import struct

from byteord._cext.replay import take_action

COUNT = "actions.count"
_WORDS = struct.Struct("<QQ")
BYTES = _WORDS.size


class ActionBudget:
    """Attempts left: one count for all of a run, stages and egresses."""

    def __init__(self, directory: str, most: int) -> None:
        """Map the count in the run's directory; OSError."""
        self.most = most
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(os.path.join(directory, COUNT), flags)
        try:
            self.area = mmap.mmap(descriptor, BYTES)
        finally:
            os.close(descriptor)

    def take(self) -> bool:
        """Take one attempt; False when none is left, which is noted."""
        return take_action(self.area, self.most)


def read_budget(data: bytes) -> tuple[int, bool]:
    """Return how many attempts were taken, and whether one more was wanted than there were."""
    used, spent = _WORDS.unpack_from(data)
    return used, bool(spent)
