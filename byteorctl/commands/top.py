"""`byteorctl top`: a live table of runs."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from byteorctl.app import CALL_TIMEOUT_S, App, example, shared_options
from byteorctl.errors import CallError, Plain
from byteorctl.exit_codes import Exit
from byteorctl.output.formats import Format, render, write
from byteorctl.output.screen import Screen
from byteorctl.output.top_view import Rates, fitted, show

if TYPE_CHECKING:
    from byteorctl.client import Client

HOME_AND_CLEAR = "\x1b[H\x1b[2J"
OWN_SCREEN, BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
BELOW = 2
"""Lines under the tables: an empty one, and which key leaves."""
LEAVE = ("q", "Q", "\x03")


@click.command("top", epilog=example("byteorctl top", "byteorctl top market-fanout --interval 0.5"))
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    metavar="SECONDS",
    help="Time between two looks [default: 1].",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many looks.")
@shared_options
def command(app: App, runs: tuple[str, ...], *, interval: float, count: int | None) -> int:
    """Watch rates, depths and latencies of live runs.

    All live runs, or those named. On a terminal it fills the screen until q, and tells how many
    lines have no room; elsewhere, and with -o, it prints one look after the other. Rates are those
    of the last interval; p50 and p99 are ages of messages since the run began (service times where
    there is no age).
    """
    rates = Rates()
    last = time.monotonic()
    with app.connect() as client, _terminal(app.format) as keys:
        for number in range(sys.maxsize if count is None else count):
            if number and keys.wait(interval):
                break
            seen = _seen(client, runs)
            now = time.monotonic()
            rates.look(seen, now - last if number else 0.0)
            last = now
            _show(app.format, seen, rates, keys)
            if runs and not seen:
                break
    return Exit.OK


def _seen(client: Client, names: tuple[str, ...]) -> list[Plain]:
    wanted = names or tuple(
        str(run["id"]) for run in client.list_runs(include_ended=False, timeout_s=CALL_TIMEOUT_S)
    )
    found = []
    for name in wanted:
        try:
            run = client.get_run(name, timeout_s=CALL_TIMEOUT_S)
        except CallError as error:
            if names or error.exit_code is not Exit.NO_INPUT:
                raise
            continue  # it ended between the two calls
        if run["ended_at"] is None or names:
            found.append(run)
    return [run for run in found if run["ended_at"] is None]


def _show(chosen: Format, runs: list[Plain], rates: Rates, keys: Keys) -> None:
    if not chosen.for_people:
        write(render(Format("jsonl") if chosen.kind == "json" else chosen, {"runs": runs}))
        return
    if not keys.owns_screen:
        show(Screen(), runs, rates)
        sys.stdout.flush()
        return
    drawn = _Drawn()
    show(Screen(drawn), runs, rates)
    rows = os.get_terminal_size(sys.stdout.fileno()).lines
    text = fitted(drawn.getvalue(), rows - BELOW)
    sys.stdout.write(f"{HOME_AND_CLEAR}{text}\nq leaves")
    sys.stdout.flush()


class _Drawn(io.StringIO):
    """What is to be shown on a terminal, drawn for it."""

    def isatty(self) -> bool:
        """Return that it is one in the end."""
        return True


class Keys:
    """Keys of the terminal, if there is one."""

    def __init__(self, fd: int, *, owns_screen: bool) -> None:
        """Read from `fd`; -1: nobody presses anything."""
        self._fd = fd
        self.owns_screen = owns_screen

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until a key says leave; tell which."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self._fd] if self._fd >= 0 else [], [], [], left)
            if ready and sys.stdin.read(1) in (*LEAVE, ""):
                return True
        return False


@contextlib.contextmanager
def _terminal(chosen: Format) -> Iterator[Keys]:
    """Take the whole screen of a terminal and give it back; elsewhere do nothing."""
    if not (chosen.for_people and sys.stdout.isatty() and sys.stdin.isatty()):
        yield Keys(-1, owns_screen=False)
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    sys.stdout.write(OWN_SCREEN)
    try:
        yield Keys(fd, owns_screen=True)
    finally:
        sys.stdout.write(BACK)
        sys.stdout.flush()
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
