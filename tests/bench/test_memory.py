"""Bounded memory: nothing in daemon, shim or workers grows with the number of messages."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from byteord.regions.reader import RunReader
from tests.bench.runs import DaemonUnderTest, Shape
from tests.support.poll import until

FEW = 1_000_000
TIMES = 10
RATE = 3_000_000
"""Messages a second: so few that there is a moment to look at the first million."""
GROWTH_BYTES_MAX = 256 * 1024
"""What an allocator or a lazily touched page may add; a leak of one byte a message is over it."""
CPUS = (0, 1)


def resident(daemon: DaemonUnderTest) -> dict[int, int]:
    """Return the private resident bytes of the daemon and of each process below it.

    Shared memory is left out: its size is fixed by the plan, and pages count once touched.
    """
    root = psutil.Process(daemon.process.pid)
    found = {}
    for process in [root, *root.children(recursive=True)]:
        info = process.memory_info()
        found[process.pid] = info.rss - info.shared
    return found


@pytest.mark.parametrize("fuse", ["never", "always"])
def test_memory_after_many_messages_is_what_it_was_after_few(fuse: str) -> None:
    """Ten times the messages leave daemon, shim and workers as large as they were."""
    with DaemonUnderTest() as daemon:
        shape = Shape(stages=2, wait="backoff", fuse=fuse, rate=RATE)
        directory: Path = daemon.start(f"memory-{fuse}", shape, CPUS)
        reader = RunReader(str(directory))

        def moved() -> int:
            return int(reader.read()["roles"][-1]["received"])

        until(lambda: moved() >= FEW, 60.0, f"{FEW} messages")
        daemon.ctl("status", directory.name)
        before = resident(daemon)
        many = TIMES * moved()
        until(lambda: moved() >= many, 110.0, f"{many} messages")
        daemon.ctl("status", directory.name)
        after = resident(daemon)
        reader.close()
        daemon.ctl("stop", directory.name)
    assert len(before) >= 3, before
    assert before.keys() == after.keys()
    grown = {name: after[name] - before[name] for name in before}
    assert max(grown.values()) <= GROWTH_BYTES_MAX, grown
