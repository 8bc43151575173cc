"""A run of which all was killed, as a user sees it: without its daemon, then with the next one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, processes_naming, running_daemon
from tests.support.poll import until

SPEC = """
version = 1
name = "killed"
model = "lane_graph"
[[lanes]]
name = "all"
kind = "fanout_broadcast"
capacity = 256
[[lanes]]
name = "passed"
[[roles]]
name = "enrich"
kind = "stage"
stage = "identity"
rx = "all"
tx = "passed"
[[endpoints]]
name = "in"
kind = "ingress"
lane = "all"
[[endpoints]]
name = "out"
kind = "egress"
lane = "passed"
[[endpoints]]
name = "side"
kind = "egress"
lane = "all"
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "generator"
size = 16
rate = 5000
count = 1_000_000_000
[adapters.out]
kind = "discard"
[adapters.side]
kind = "discard"
[tuning]
fuse = "never"
"""


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    """Provide a daemon that may be killed."""
    with running_daemon() as daemon:
        yield daemon


def _ctl(daemon: DaemonProcess, *arguments: str | Path) -> bytes:
    done = byteorctl("--address", daemon.address, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _start(daemon: DaemonProcess, directory: Path) -> str:
    (directory / "spec.toml").write_text(SPEC)
    (directory / "deployment.toml").write_text(DEPLOYMENT)
    return _ctl(daemon, "run", "--detach", directory / "spec.toml").decode().strip()


def _moved(daemon: DaemonProcess, run: str) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(_ctl(daemon, "status", run, "-o", "json"))
    return status if status["roles"][-1]["received"] > 100 else {}


def _check(shown: dict[str, Any]) -> None:
    """Everything that moved is there, and nothing is said to run."""
    assert shown["state"] == "failed"
    assert shown["failure"]["reason"] == "SHIM_DIED"
    assert {each["state"] for each in shown["workers"]} == {"exited"}
    assert {each["exit"] for each in shown["workers"]} == {"unknown: its shim died first"}
    assert {each["state"] for each in shown["roles"]} == {"stopped"}
    lanes = {each["name"]: each for each in shown["lanes"]}
    assert lanes["all"]["published"] > 100
    assert {each["role"] for each in lanes["all"]["consumers"]} == {"enrich", "side"}


@pytest.mark.timeout(90)
def test_a_run_of_which_everything_was_killed_can_still_be_seen(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """Shim, workers, daemon: `snapshot` reads what lies there; the next daemon tells the rest."""
    run = _start(daemon, tmp_path)
    status = until(lambda: _moved(daemon, run), 20.0, "messages flow")
    daemon.kill()
    for pid in (status["shim_pid"], *(each["pid"] for each in status["workers"])):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not processes_naming(run), 10.0, "all are gone")
    offline = ("snapshot", run, "--offline", "--config", daemon.config, "-o", "json")
    left = json.loads(_ctl(daemon, *offline))
    _check(left["run"])
    assert left["regions"]["lanes"][0]["published"] > 100
    daemon.start()
    shown = json.loads(_ctl(daemon, "status", run, "-o", "json"))
    _check(shown)
    assert json.loads(_ctl(daemon, "snapshot", run, "-o", "json"))["regions"]["lanes"]
    assert b"SHIM_DIED" in _ctl(daemon, "list", "--all")
    drawn = _ctl(daemon, "dot", run, "--live").decode()
    assert drawn.count("\\nstopped, ") == len(shown["roles"])
    assert "running" not in drawn
    assert "#bfe3c0" not in drawn  # of what runs; who held whom when it was killed stays red
    tap = byteorctl("--address", daemon.address, "tap", run, "all")
    assert (tap.returncode, b"has ended: failed" in tap.stderr) == (1, True)
    assert _ctl(daemon, "top", "--count", "1") == b"no live runs\n"
