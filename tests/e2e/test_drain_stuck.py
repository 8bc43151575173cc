"""Branches that cannot drain in time, under a real daemon: `stop` says what is stuck where."""

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
name = "branches"
model = "lane_graph"
[[lanes]]
name = "all"
kind = "fanout_broadcast"
capacity = 256
[[lanes]]
name = "passed"
capacity = 64
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
count = 1_000_000_000
[adapters.out]
kind = "client"
[adapters.side]
kind = "discard"
[tuning]
fuse = "never"
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """Provide a daemon."""
    with running_daemon() as daemon:
        yield daemon


def _status(daemon: DaemonProcess, run: str) -> dict[str, Any]:
    done = byteorctl("--address", daemon.address, "status", run, "-o", "json")
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def _start(daemon: DaemonProcess, directory: Path, deployment: str = DEPLOYMENT) -> str:
    (directory / "spec.toml").write_text(SPEC)
    (directory / "deployment.toml").write_text(deployment)
    spec = str(directory / "spec.toml")
    done = byteorctl("--address", daemon.address, "run", "--detach", spec)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def _consume(directory: str) -> None:
    with client.attach(directory, "out") as consumer:
        while True:
            consumer.take_many(64, timeout_s=1)


@contextmanager
def _consumer(daemon: DaemonProcess, run: str) -> Iterator[int]:
    """Provide the process of a client that consumes; it is killed at the end."""
    (directory,) = (path for path in daemon.run_directories() if path.name == run)
    person = multiprocessing.get_context("fork").Process(target=_consume, args=(str(directory),))
    person.start()
    try:
        yield person.pid or 0
    finally:
        person.kill()
        person.join(10)


def _lane(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(each) for each in status["lanes"] if each["name"] == name)


def _stop_in_vain(daemon: DaemonProcess, run: str) -> str:
    done = byteorctl("--address", daemon.address, "stop", run, "--timeout", "1")
    assert done.returncode == 124, done.stderr
    return done.stderr.decode()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("who", ["client", "worker"])
def test_a_branch_that_cannot_drain_is_named(
    daemon: DaemonProcess, tmp_path: Path, who: str
) -> None:
    """A lossless edge whose consumer is stopped: who holds whom by which lane, who is to blame.

    The other branch has all that was published when the run is ended.
    """
    run = _start(daemon, tmp_path)
    with _consumer(daemon, run) as person:
        until(lambda: _lane(_status(daemon, run), "passed")["consumed"] > 100, 20.0)
        workers = _status(daemon, run)["workers"]
        worker = next(each["pid"] for each in workers if "enrich" in each["roles"])
        os.kill(person if who == "client" else worker, signal.SIGSTOP)
        until(lambda: _lane(_status(daemon, run), "all")["full"], 20.0, "the fan-out is full")
        said = _stop_in_vain(daemon, run)
        last = _status(daemon, run)
    blamed = "out" if who == "client" else "enrich"
    assert "`in` is held by lane `all`, full because `enrich` is 256 behind" in said
    assert "lane all holds 256" in said
    assert "it was aborted" in said
    stuck = "`enrich` is held by lane `passed`, full because `out` is 64 behind"
    assert (stuck in said) == (who == "client")
    assert last["state"] == "failed"
    assert (last["failure"]["reason"], last["failure"]["role"]) == ("DRAIN_TIMEOUT", blamed)
    assert "`in` is held by lane `all`" in last["failure"]["message"]
    everything = _lane(last, "all")
    side = next(each for each in everything["consumers"] if each["role"] == "side")
    assert side["consumed"] == everything["published"]
    assert not daemon.run_directories()


def _publish_and_stop(directory: str) -> None:
    with client.attach(directory, "in") as publisher:
        publisher.publish(b"hello")
        os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.timeout(60)
def test_a_client_that_does_not_end_its_input_is_named(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """A drain waits for what it may still publish; which process that is stands in the failure."""
    text = DEPLOYMENT.replace('kind = "client"', 'kind = "discard"')
    made = 'kind = "generator"\nsize = 16\ncount = 1_000_000_000\n'
    assert made in text
    run = _start(daemon, tmp_path, text.replace(made, 'kind = "client"\n'))
    (directory,) = (path for path in daemon.run_directories() if path.name == run)
    context = multiprocessing.get_context("fork")
    person = context.Process(target=_publish_and_stop, args=(str(directory),))
    person.start()
    try:
        os.waitid(os.P_PID, person.pid or 0, os.WSTOPPED | os.WNOWAIT)
        said = _stop_in_vain(daemon, run)
        last = _status(daemon, run)
    finally:
        person.kill()
        person.join(10)
    named = f"the client of `in` (pid {person.pid}, stopped) is there and has not ended its input"
    assert named in said
    assert named in last["failure"]["message"]
    assert (last["failure"]["reason"], last["failure"]["role"]) == ("DRAIN_TIMEOUT", "in")
