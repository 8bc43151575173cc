"""Ctrl-C ends the client, also where the interrupt itself gets lost.

Owns the two signal handlers of a command line. Must not know any verb.

An interrupt is raised wherever the main thread happens to be. Inside gRPC that can be between the
taking of a lock and the block that gives it back, or in a callback whose exceptions are dropped:
the orderly way out then waits for ever. So it has a deadline.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from byteorctl.exit_codes import Exit

WORDS = "byteorctl: interrupted"
WAY_OUT_S = 5.0
"""How long what was interrupted has to close what it opened."""


@contextmanager
def ending_on_interrupt(way_out_s: float = WAY_OUT_S) -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, and exit with 130 where nothing came of it in time.

    For the main thread. A verb may set a handler of its own meanwhile.
    """

    def interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
        interrupt(way_out_s)

    previous = {signal.SIGALRM: signal.signal(signal.SIGALRM, _end)}
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a shell starts what runs beside it so
        previous[signal.SIGINT] = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def interrupt(way_out_s: float = WAY_OUT_S) -> NoReturn:
    """Raise KeyboardInterrupt; end the process where it is still there after `way_out_s`."""
    signal.setitimer(signal.ITIMER_REAL, way_out_s)
    raise KeyboardInterrupt


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    os.write(sys.stderr.fileno(), f"{WORDS}\n".encode())
    os._exit(Exit.INTERRUPTED)
