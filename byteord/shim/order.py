"""What a shim is told once: which run is its own. One packet, with the run's descriptors.

A shim is started before its run is known, so that what it imports costs the run nothing; it waits
here. Owns the form of that packet, for both sides, and the process's looks (`ps`). It must import
nothing that costs time: the daemon loads it before anything else.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import NamedTuple

ORDER_BYTES_MAX = 8 << 10
_DESCRIPTORS_MAX = 3
WAITING = "(waiting)"
"""Stands where `ps` shows the run's directory once there is one."""
_RUN_ID_BYTES_MAX = 64
_ARG_START = 48 - 3
"""Place of `arg_start` in `/proc/PID/stat` after the command's name; `arg_end` follows."""


class Order(NamedTuple):
    """One run for one shim; descriptors are -1 where there is none."""

    directory: str
    bound: bool = False
    """The run ends with its daemon."""
    log_fd: int = -1
    """Where the shim and its workers print."""
    input_fd: int = -1
    output_fd: int = -1


def send_order(channel: socket.socket, order: Order) -> None:
    """Tell a waiting shim; OSError when it has gone."""
    descriptors = {
        "log": order.log_fd,
        "input": order.input_fd,
        "output": order.output_fd,
    }
    given = {name: descriptor for name, descriptor in descriptors.items() if descriptor >= 0}
    packet = {"directory": order.directory, "bound": order.bound, "given": list(given)}
    socket.send_fds(channel, [json.dumps(packet).encode()], list(given.values()))


def receive_order(channel: socket.socket) -> Order | None:
    """Wait to be told; None when the daemon goes without a word."""
    try:
        packet, descriptors, _, _ = socket.recv_fds(channel, ORDER_BYTES_MAX, _DESCRIPTORS_MAX)
    except ConnectionError:
        return None
    if not packet:
        return None
    said = json.loads(packet)
    given = dict(zip(said["given"], descriptors, strict=True))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return Order(
        said["directory"],
        bound=said["bound"],
        log_fd=given.get("log", -1),
        input_fd=given.get("input", -1),
        output_fd=given.get("output", -1),
    )


def waiting_place(runs_directory: str) -> str:
    """Return the argument of a shim without a run, as long as that of any run beneath it."""
    place = os.path.join(runs_directory, WAITING)
    return place.ljust(len(runs_directory) + 1 + _RUN_ID_BYTES_MAX)


def show_directory(place: str, directory: str) -> None:
    """Let the process's own arguments name its run instead of `place`, for `ps` and adoption.

    Nothing happens where the kernel does not tell where they lie, or where it does not fit.
    """
    import ctypes

    old, new = os.fsencode(place), os.fsencode(directory)
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
        begin, end = (int(word) for word in words[_ARG_START : _ARG_START + 2])
        at = ctypes.string_at(begin, end - begin).index(b"\0" + old + b"\0") + 1
        if len(new) <= len(old):
            ctypes.memmove(begin + at, new.ljust(len(old), b"\0"), len(old))
