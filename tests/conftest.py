"""What holds for every test: the signals of a person's shell, and an end that tidies."""

from __future__ import annotations

import os
import signal
from types import FrameType


def pytest_configure() -> None:
    """Undo what a shell does to a command that it runs in the background: deafness to SIGINT.

    Processes of tests inherit it, and some are to be interrupted. A test run that is told to end
    ends as if interrupted: its daemons and regions go with it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tests = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == tests:
            signal.default_int_handler(number, frame)
        signal.signal(number, signal.SIG_DFL)  # a process that a test forked
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
