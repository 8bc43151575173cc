"""`tap`, `top`, `dot --live` and back-pressure in `status`, on a real run."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

SPEC = """
version = 1
name = "live"
model = "single_ring"
[ring]
capacity = 64
slot_bytes = 64
[[stages]]
name = "keep"
stage = "filter"
config = { offset = 0, type = "u8", op = "ge", value = VALUE }
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "generator"
size = 16
count = 1_000_000_000
rate = 2000
[adapters.out]
kind = "discard"
[tuning]
fuse = "never"
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """Provide a daemon."""
    with running_daemon() as daemon:
        yield daemon


def ctl(daemon: DaemonProcess, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run byteorctl against the daemon."""
    return byteorctl("--address", daemon.address, *arguments)


@pytest.fixture
def run(daemon: DaemonProcess, tmp_path: Path) -> Iterator[str]:
    """Provide a run that goes on until it is stopped."""
    (tmp_path / "spec.toml").write_text(SPEC.replace("VALUE", "128"))
    (tmp_path / "deployment.toml").write_text(DEPLOYMENT)
    done = ctl(daemon, "run", str(tmp_path / "spec.toml"), "--detach")
    assert done.returncode == 0, done.stderr
    run = done.stdout.decode().strip()
    yield run
    assert ctl(daemon, "stop", run).returncode == 0


def status(daemon: DaemonProcess, run: str) -> dict[str, Any]:
    """Return the run as data."""
    shown: dict[str, Any] = json.loads(ctl(daemon, "status", run, "-o", "json").stdout)
    return shown


def tapped(daemon: DaemonProcess, run: str, *more: str) -> list[dict[str, Any]]:
    """Return what a tap of the ring shows."""
    done = ctl(daemon, "tap", run, "ring-0", "-o", "jsonl", *more)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_tap_shows_messages_that_passed_the_last_changer(daemon: DaemonProcess, run: str) -> None:
    """Sequences grow, payloads are those of their sequence, dropped messages are not shown."""
    found = tapped(daemon, run, "--limit", "200", "--as", "struct:<Q")
    sequences = [each["sequence"] for each in found]
    assert len(found) == 200
    assert sequences == sorted(set(sequences))
    assert all(int(each["payload"]) == each["sequence"] for each in found)
    assert all(each["sequence"] & 0xFF >= 128 for each in found)


def test_a_tap_filters_by_content(daemon: DaemonProcess, run: str) -> None:
    """Only messages with the bytes asked for."""
    found = tapped(daemon, run, "--limit", "3", "--contains", "hex:c8", "--as", "hex")
    assert len(found) == 3
    assert all("c8" in each["payload"] for each in found)


def test_a_tap_leaves_the_cpus_to_the_run(daemon: DaemonProcess, run: str) -> None:
    """Every thread of it has the lowest priority once it shows messages; the daemon has its own."""
    command = [sys.executable, "-m", "byteorctl", "--address", daemon.address, "tap", run, "ring-0"]
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tap:
        assert tap.stdout is not None
        assert tap.stdout.readline()
        until(lambda: priorities(tap.pid) == {19}, 10.0, "every thread stepped back")
        assert priorities(daemon.pid) == {own}
        tap.send_signal(signal.SIGINT)
        _, said = tap.communicate(timeout=30)
    assert b" skipped, " in said


def priorities(pid: int) -> set[int]:
    """Return the nice values of the threads of a process."""
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with suppress(ProcessLookupError):
            found.add(os.getpriority(os.PRIO_PROCESS, int(task)))
    return found


def test_a_stopped_stage_is_named_as_the_one_that_holds(daemon: DaemonProcess, run: str) -> None:
    """With its worker stopped the ring fills, and status, dot and top say whose fault it is."""
    worker = next(each for each in status(daemon, run)["workers"] if "keep" in each["roles"])["pid"]
    os.kill(worker, signal.SIGSTOP)
    try:
        until(lambda: status(daemon, run)["lanes"][0]["full"], 10.0, "the ring is full")
        shown = status(daemon, run)
        assert shown["holds"][0]["message"] == (
            "`in` is held by lane `ring-0`, full because `keep` is 64 behind"
        )
        assert shown["lanes"][0]["held_by"] == "keep"
        assert b"`in` is held by lane" in ctl(daemon, "status", run).stdout
        assert b"#e05a4f" in ctl(daemon, "dot", run, "--live").stdout
        top = ctl(daemon, "top", run, "--count", "1").stdout.decode()
        assert "########## 64/64" in top
    finally:
        os.kill(worker, signal.SIGCONT)
    until(lambda: not status(daemon, run)["lanes"][0]["full"], 10.0, "the ring drains")


def test_top_shows_rates_of_the_interval(daemon: DaemonProcess, run: str) -> None:
    """Two looks half a second apart give a rate near the generator's."""
    done = ctl(daemon, "top", "--count", "2", "--interval", "0.5")
    assert done.returncode == 0, done.stderr
    second = done.stdout.decode().split(run)[2]
    row = next(line.split() for line in second.splitlines() if line.startswith("in "))
    assert row[2] != "-"


def test_what_cannot_be_tapped_is_said(daemon: DaemonProcess, run: str) -> None:
    """An unknown lane, an unknown run, a bad form: named, with their codes."""
    done = ctl(daemon, "tap", run, "nolane")
    assert (done.returncode, b"there are ring-0" in done.stderr) == (66, True)
    assert ctl(daemon, "tap", "norun", "ring-0").returncode == 66
    assert ctl(daemon, "tap", run, "ring-0", "--as", "xml").returncode == 2


def test_top_keeps_to_the_terminal_and_leaves_on_q(daemon: DaemonProcess, run: str) -> None:
    """On a low terminal the heading and the first roles stay, the rest is counted."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 7, 100, 0, 0))
    command = [sys.executable, "-m", "byteorctl", "--address", daemon.address, "top", run]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as top:
        os.close(theirs)
        drawn = b""
        while b"q leaves" not in drawn:
            drawn += os.read(ours, 4096)
        os.write(ours, b"q")
        with suppress(OSError):  # the terminal is gone with its last process
            while os.read(ours, 4096):
                pass
        assert top.wait(20) == 0
    os.close(ours)
    screen = drawn.partition(b"\x1b[2J")[2].decode().splitlines()
    assert run in screen[0]
    assert "more lines" in screen[-3]
    assert len(screen) <= 7
