"""Syncs that fail from some point on: the kernel gives EIO, as after a lost disk.

A seccomp filter hands each fdatasync of this process and its children to a thread here, which lets
it go on or answers.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
import threading

FDATASYNC, SECCOMP = 75, 317  # of x86-64
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
SET_MODE_FILTER, NEW_LISTENER, CONTINUE = 1, 8, 1
FILTER = struct.pack(
    "HBBIHBBIHBBIHBBI",
    *(0x20, 0, 0, 0),  # load the number of the call
    *(0x15, 0, 1, FDATASYNC),
    *(0x06, 0, 0, 0x7FC00000),  # tell the listener
    *(0x06, 0, 0, 0x7FFF0000),  # allow
)


def _listen() -> int:
    """Install the filter for what this process starts; return the listener."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    code = ctypes.create_string_buffer(FILTER, len(FILTER))
    program = struct.pack("HxxxxxxP", len(FILTER) // 8, ctypes.addressof(code))
    listener = int(libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def fail_syncs(*, good: int) -> list[int]:
    """Let the first `good` syncs go on, then say that the disk is gone.

    Returns the list to which each answer is added: 0 or the number of an error.
    """
    answered: list[int] = []
    thread = threading.Thread(target=_answer, args=(_listen(), good, answered), daemon=True)
    thread.start()
    return answered


def _answer(listener: int, good_syncs: int, answered: list[int]) -> None:
    while True:
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, NOTIF_RECV, asked)
        except OSError:
            return
        good = len(answered) < good_syncs
        answered.append(0 if good else errno.EIO)
        (number,) = struct.unpack_from("Q", asked)
        reply = struct.pack("Qqii", number, 0, 0 if good else -errno.EIO, CONTINUE if good else 0)
        fcntl.ioctl(listener, NOTIF_SEND, reply)
