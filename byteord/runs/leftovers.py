"""Workers that outlived their shim: found by what they map, stopped, and waited for.

A pid is believed only while its process maps files of the run directory: a number that was given to
someone else since does not. Blocks; not for the event loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable

from byteord.shim.order import waiting_place

WAIT_S = 10.0


def stop_leftovers(directory: str, pids: Iterable[int]) -> tuple[list[int], list[int]]:
    """Kill those of `pids` that map files beneath `directory`.

    Return (killed and gone, killed and still there).
    """
    watched: list[tuple[int, int]] = []
    for pid in sorted(set(pids)):
        descriptor = _open_if_mapping(pid, directory)
        if descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            watched.append((pid, descriptor))
    deadline = time.monotonic() + WAIT_S
    gone = [pid for pid, descriptor in watched if _ends(descriptor, deadline)]
    for _, descriptor in watched:
        os.close(descriptor)
    return gone, [pid for pid, _ in watched if pid not in gone]


def mapping_pids(directory: str) -> list[int]:
    """Return every process but this one that maps files beneath `directory`.

    For a run whose regions cannot be read, and so do not say who worked on them.
    """
    entries = (name for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in map(int, entries) if pid != os.getpid() and _maps(pid, directory)]


def runs_shim_of(pid: int, directory: str) -> bool:
    """Tell whether that process is a shim of this run directory, or waits to become one.

    A shim that was told to, a moment ago, may not show it yet.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    places = {directory, waiting_place(os.path.dirname(directory))}
    return b"byteord.shim" in words and any(os.fsencode(place) in words for place in places)


def _open_if_mapping(pid: int, directory: str) -> int:
    """Return a pidfd of a process that maps files of the directory, else -1."""
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError):
        return -1
    if _maps(pid, directory):
        return descriptor
    os.close(descriptor)
    return -1


def _maps(pid: int, directory: str) -> bool:
    beneath = os.fsencode(directory.rstrip("/") + "/")
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return any(beneath in line for line in file)
    except OSError:
        return False


def _ends(descriptor: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    left_ms = max(0, int((deadline - time.monotonic()) * 1000))
    return bool(poll.poll(left_ms))
