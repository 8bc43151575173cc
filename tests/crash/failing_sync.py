"""Runs a journal whose syncs fail from the third on: the kernel gives EIO, as after a lost disk.

A seccomp filter hands each fdatasync of this process and its children to a thread here, which lets
it go on or answers. Prints, as JSON, what the run says and what was synced. `failing_sync DIR
POLICY`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import struct
import sys
import threading
from pathlib import Path

from byteord.regions.journals import read
from tests.crash.test_journal_lanes import journal_of, journal_plan
from tests.support.run import run_to_end

GOOD_SYNCS = 3
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
answered: list[int] = []


def listen() -> int:
    """Install the filter for what this process starts; return the listener."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    code = ctypes.create_string_buffer(FILTER, len(FILTER))
    program = struct.pack("HxxxxxxP", len(FILTER) // 8, ctypes.addressof(code))
    listener = int(libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def answer(listener: int) -> None:
    """Let the first syncs go on, then say that the disk is gone."""
    while True:
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, NOTIF_RECV, asked)
        except OSError:
            return
        good = len(answered) < GOOD_SYNCS
        answered.append(0 if good else errno.EIO)
        (number,) = struct.unpack_from("Q", asked)
        reply = struct.pack("Qqii", number, 0, 0 if good else -errno.EIO, CONTINUE if good else 0)
        fcntl.ioctl(listener, NOTIF_SEND, reply)


def main(directory: str, policy: str) -> None:
    """Run until it fails."""
    threading.Thread(target=answer, args=(listen(),), daemon=True).start()
    where = Path(directory, "j")
    where.mkdir()
    plan = journal_plan(None, journal_of(where, sync="every_batch"), count=30_000, policy=policy)
    status, seen = run_to_end(plan)
    taken = next(role["received"] for role in seen["roles"] if role["name"] == "write")
    kept = [number for number, *_ in read(where)]
    said = {**status, "taken": taken, "kept": kept, "syncs": answered}
    sys.stdout.write(json.dumps(said))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
