"""What holds for every test: the signals that a person's shell would give it."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Undo what a shell does to a command that it runs in the background: deafness to SIGINT.

    Processes of tests inherit it, and some are to be interrupted.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
