"""Clients that are stopped while they play an ingress of a merge by time, under a real daemon."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from byteord import client
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

SPEC = """
version = 1
name = "joined"
model = "lane_graph"
[[lanes]]
name = "a"
[[lanes]]
name = "b"
[[lanes]]
name = "b-passed"
[[lanes]]
name = "c"
[[roles]]
name = "pass"
kind = "stage"
stage = "identity"
rx = "b"
tx = "b-passed"
[[roles]]
name = "join"
kind = "merge"
mode = "ordered"
rx = ["a", "b-passed"]
tx = "c"
[[endpoints]]
name = "in"
kind = "ingress"
lane = "a"
[[endpoints]]
name = "people"
kind = "ingress"
lane = "b"
[[endpoints]]
name = "out"
kind = "egress"
lane = "c"
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "generator"
size = 8
rate = 500
count = 1_000_000_000
[adapters.people]
kind = "client"
[adapters.out]
kind = "discard"
[tuning]
fuse = "never"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """Provide a daemon with one run."""
    directory = tmp_path_factory.mktemp("joined")
    (directory / "spec.toml").write_text(SPEC)
    (directory / "deployment.toml").write_text(DEPLOYMENT)
    with running_daemon() as daemon:
        ctl(daemon, "run", "--detach", str(directory / "spec.toml"))
        yield daemon
        ctl(daemon, "stop", "joined")


def ctl(daemon: DaemonProcess, *arguments: str) -> bytes:
    """Run byteorctl against the daemon; it must succeed."""
    done = byteorctl("--address", daemon.address, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _status(daemon: DaemonProcess) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(ctl(daemon, "status", "joined", "-o", "json"))
    return shown


def _received(daemon: DaemonProcess, name: str = "out") -> int:
    return int(next(each for each in _status(daemon)["roles"] if each["name"] == name)["received"])


def _say_and_stop(directory: str, *, claims: bool) -> None:
    with client.attach(directory, "people") as publisher:
        publisher.publish(b"hello")
        if claims:
            with publisher.batch(4, 8):
                os.kill(os.getpid(), signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        publisher.publish(b"late")


@contextmanager
def _stopped_client(directory: Path, *, claims: bool) -> Iterator[int]:
    """Provide the process of a client that has stopped itself; afterwards it goes on to its end."""
    person = multiprocessing.get_context("fork").Process(
        target=_say_and_stop, args=(str(directory),), kwargs={"claims": claims}
    )
    person.start()
    pid = person.pid or 0
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield pid
    finally:
        while person.exitcode is None:
            os.kill(pid, signal.SIGCONT)
            person.join(0.05)
    assert person.exitcode == 0


@pytest.mark.timeout(90)
def test_a_merge_by_time_does_not_wait_for_a_client_that_is_stopped(daemon: DaemonProcess) -> None:
    """The run says for it that time passes; what it publishes when it goes on still comes."""
    (directory,) = daemon.run_directories()
    before = _received(daemon, "people")
    with _stopped_client(directory, claims=False):
        now = _received(daemon)
        until(lambda: _received(daemon) > now + 500, 30.0, "the merge goes on")
    until(lambda: _received(daemon, "people") == before + 2, 20.0, "both messages came")
    assert _status(daemon)["holds"] == []


@pytest.mark.timeout(90)
def test_a_client_that_is_stopped_with_a_claim_is_named(daemon: DaemonProcess) -> None:
    """Nobody knows the time of what it has begun: who waits for whom is said, and what to do."""
    (directory,) = daemon.run_directories()
    with _stopped_client(directory, claims=True) as pid:

        def held() -> dict[str, Any]:
            return next((each for each in _status(daemon)["holds"] if each["role"] == "join"), {})

        hold = until(held, 30.0, "the merge is held")
        assert (hold["lane"], hold["by"], hold["root"]) == ("b-passed", "people", "people")
        assert hold["message"].startswith("`join` waits for lane `b-passed` with ")
        assert f"the client of `people`, pid {pid} (stopped) has published" in hold["message"]
        assert f"let it go on (kill -CONT {pid}), or end it (kill -KILL {pid})" in hold["message"]
        first = json.loads(ctl(daemon, "snapshot", "joined", "-o", "json"))["regions"]["held"][
            "join"
        ]
        assert (first["pid"], first["stopped"], first["client"]) == (pid, True, True)
        assert first["silent_ns"] >= 1_000_000_000
        assert b"`join` waits for lane" in ctl(daemon, "status", "joined")
        assert b'"people" [shape=cds, fillcolor="#e05a4f"' in ctl(daemon, "dot", "joined", "--live")
        assert "`join` waits for lane" in ctl(daemon, "top", "joined", "--count", "1").decode()
    now = _received(daemon)
    until(lambda: _received(daemon) > now + 100, 30.0, "the merge goes on")
    until(lambda: _status(daemon)["holds"] == [], 20.0, "nobody is held")


@pytest.mark.timeout(90)
def test_a_worker_that_is_stopped_before_a_merge_is_named(daemon: DaemonProcess) -> None:
    """The silence of an idle branch is followed to the role that it begins at, and its process."""
    workers = _status(daemon)["workers"]
    pid = next(each["pid"] for each in workers if "pass" in each["roles"])
    os.kill(pid, signal.SIGSTOP)
    try:

        def held() -> dict[str, Any]:
            return next((each for each in _status(daemon)["holds"] if each["role"] == "join"), {})

        hold = until(held, 30.0, "the merge is held")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (hold["lane"], hold["by"]) == ("b-passed", "pass")
    assert f"`pass`, pid {pid} (stopped) has passed nothing on" in hold["message"]
    assert hold["message"].endswith(f"let it go on (kill -CONT {pid})")
    until(lambda: _status(daemon)["holds"] == [], 20.0, "nobody is held")
