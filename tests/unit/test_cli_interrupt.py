"""Ctrl-C ends the client whatever it interrupts."""

from __future__ import annotations

import signal
import subprocess
import sys

STUCK = """
import sys, threading
from byteorctl.interrupt import ending_on_interrupt
lock = threading.Lock()
with ending_on_interrupt(way_out_s=0.05):
    try:
        print("here", flush=True)
        threading.Event().wait()
    finally:
        lock.acquire()
        lock.acquire()
"""

ORDERLY = """
import signal, threading
from byteorctl.interrupt import ending_on_interrupt
with ending_on_interrupt(way_out_s=30):
    try:
        print("here", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
print(signal.getitimer(signal.ITIMER_REAL)[0], signal.getsignal(signal.SIGINT).__name__)
"""

IGNORED = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from byteorctl.interrupt import ending_on_interrupt
with ending_on_interrupt():
    print("here", flush=True)
    input()
print("went on")
"""


def _interrupted(script: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate("\n", timeout=60)
        finally:
            process.kill()
        return process.returncode, out, err


def test_a_way_out_that_never_ends_is_cut_short() -> None:
    """A lock that the interrupt left taken does not keep the client: 130, and it says so."""
    assert _interrupted(STUCK) == (130, "", "byteorctl: interrupted\n")


def test_an_orderly_end_is_left_alone() -> None:
    """The deadline goes with the interrupt that was dealt with, and the handlers are as before."""
    code, out, err = _interrupted(ORDERLY)
    assert (code, out) == (0, "0.0 default_int_handler\n"), err


def test_a_client_that_was_started_deaf_to_interrupts_stays_so() -> None:
    """What a shell runs in the background is not ended by the terminal's Ctrl-C."""
    code, out, err = _interrupted(IGNORED)
    assert (code, out) == (0, "went on\n"), err


def test_the_command_line_uses_it() -> None:
    """The handlers are in force while a verb runs."""
    script = (
        "import signal, byteorctl.cli as c\n"
        "c.cli.main = lambda *a, **k: print(signal.getsignal(signal.SIGINT).__module__)\n"
        "c.run(['watch'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "byteorctl.interrupt\n"
