"""A bundle goes through daemon and client in pieces, however large the capture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bundle_bench import measure

MIB = 1 << 20
CAPTURE_MIB = 192
MEMORY_MIB_MAX = 180


@pytest.mark.parametrize("guarded", [False, True])
def test_memory_does_not_grow_with_the_capture(tmp_path: Path, *, guarded: bool) -> None:
    """Of a capture of 192 MiB neither side ever holds as much as 180 MiB, all of Python included.

    Whoever held the capture once would have more. The same where its messages go through rules.
    """
    for cost in measure(CAPTURE_MIB, tmp_path, guarded=guarded):
        assert cost.out_bytes > CAPTURE_MIB * MIB * 9 // 10, cost
        assert cost.daemon_bytes < MEMORY_MIB_MAX * MIB, cost
        assert cost.client_bytes < MEMORY_MIB_MAX * MIB, cost
