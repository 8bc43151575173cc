"""`tap` in scripts, on lanes that do not move, and on those whose messages change in place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byteord import client
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

SPEC = """
version = 1
name = "in-place"
model = "lane_graph"
allow_lanes = ["sequenced_slots"]
[[lanes]]
name = "first"
[[lanes]]
name = "work"
kind = "sequenced_slots"
capacity = 64
[[roles]]
name = "move"
kind = "bridge"
rx = "first"
tx = "work"
[[roles]]
name = "shout"
kind = "stage"
rx = "work"
tx = "work"
stage = "python:shout:Shout"
mutates = "all"
effects = []
[[endpoints]]
name = "in"
kind = "ingress"
lane = "first"
[[endpoints]]
name = "out"
kind = "egress"
lane = "work"
"""
CODE = """
class Shout:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        for payload in batch:
            payload[:] = bytes(payload).upper()
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "client"
[adapters.out]
kind = "discard"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """Provide a daemon with a run that moves when a client of it says something."""
    code = tmp_path_factory.mktemp("shout")
    (code / "shout.py").write_text(CODE)
    (code / "spec.toml").write_text(SPEC)
    (code / "deployment.toml").write_text(DEPLOYMENT)
    with running_daemon(config={"allow.code_dirs": [str(code)]}) as daemon:
        done = byteorctl("--address", daemon.address, "run", "--detach", code / "spec.toml")
        assert done.returncode == 0, done.stderr
        yield daemon
        assert byteorctl("--address", daemon.address, "stop", "in-place").returncode == 0


def _directory(daemon: DaemonProcess) -> Path:
    (found,) = daemon.run_directories()
    return found


def test_a_lane_that_does_not_move_is_left_in_time(daemon: DaemonProcess) -> None:
    """124 says that fewer came than were asked for; without a number whatever came is right."""
    tap = ("--address", daemon.address, "tap", "in-place", "work", "--timeout", "0.3")
    done = byteorctl(*tap, "--limit", "1")
    assert (done.returncode, done.stdout) == (124, b"")
    assert b"0 shown, 0 skipped, 0 filtered out" in done.stderr
    assert byteorctl(*tap).returncode == 0


def test_messages_are_shown_behind_the_stage_that_changes_them(daemon: DaemonProcess) -> None:
    """Of a lane whose stages work in place; a filter that nothing passes counts what it saw."""
    tap = [sys.executable, "-m", "byteorctl", "--address", daemon.address, "tap", "in-place"]
    shown = [*tap, "work", "--limit", "20", "--timeout", "30"]
    none = [*tap, "work", "--contains", "whisper", "--limit", "1", "--timeout", "2"]
    with (
        client.attach(str(_directory(daemon)), "in") as publisher,
        subprocess.Popen(shown, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first,
        subprocess.Popen(none, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as second,
    ):

        def over() -> bool:
            publisher.publish(b"whisper")
            return first.poll() is not None and second.poll() is not None

        until(over, 40.0, "both taps have ended")
        said, _ = first.communicate()
        nothing, counted = second.communicate()
    assert (first.returncode, second.returncode) == (0, 124)
    assert [line.split()[1] for line in said.splitlines()] == [b"WHISPER"] * 20
    assert nothing == b""
    assert b", 0 filtered out" not in counted
