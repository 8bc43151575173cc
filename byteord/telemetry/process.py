"""What the kernel says of a process, read from `/proc`."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from functools import lru_cache

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """One process at one moment; `open_fds` and `max_fds` only of our own."""

    cpu_s: float = 0.0
    resident_bytes: int = 0
    virtual_bytes: int = 0
    major_faults: int = 0
    involuntary_switches: int = 0
    """Of all its threads that still exist."""
    threads: int = 0
    start_unix_s: float = 0.0
    open_fds: int = 0
    max_fds: int = 0


def process_stats(pid: int, *, own: bool = False) -> ProcessStats | None:
    """Return the figures of a process; None when there is none, or it is only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # fields from the third on, as proc(5) counts them: the name may hold anything
            fields = file.read().rpartition(b")")[2].split()
        switches = sum(_switches(pid, thread) for thread in os.listdir(f"/proc/{pid}/task"))
        open_fds = len(os.listdir(f"/proc/{pid}/fd")) if own else 0
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return ProcessStats(
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        resident_bytes=int(fields[21]) * _PAGE_BYTES,
        virtual_bytes=int(fields[20]),
        major_faults=int(fields[9]),
        involuntary_switches=switches,
        threads=int(fields[17]),
        start_unix_s=_boot_unix_s() + int(fields[19]) / _TICKS,
        open_fds=open_fds,
        max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0] if own else 0,
    )


def _switches(pid: int, thread: str) -> int:
    try:
        with open(f"/proc/{pid}/task/{thread}/status", "rb") as file:
            return int(file.read().rpartition(b"nonvoluntary_ctxt_switches:")[2])
    except (OSError, ValueError):
        return 0


@lru_cache(maxsize=1)
def _boot_unix_s() -> int:
    with open("/proc/stat", "rb") as file:
        return int(file.read().partition(b"btime ")[2].split(maxsplit=1)[0])
