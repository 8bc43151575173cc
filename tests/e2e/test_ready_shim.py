"""A shim that waits for the next run of a real daemon: taken, replaced, and never left behind."""

from __future__ import annotations

import os
import signal
from typing import Any

from byteor.v1 import documents_pb2 as documents_pb
from byteor.v1 import runs_pb2 as runs_pb
from byteord.runs.leftovers import runs_shim_of
from byteord.shim.order import WAITING
from tests.support.daemon import DaemonProcess, processes_naming, running_daemon
from tests.support.poll import until
from tests.support.rpc import request_id, stub_of

SPEC = b"""
version = 1
name = "short"
model = "single_ring"
[[stages]]
name = "same"
stage = "identity"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = b"""
version = 1
[adapters.in]
kind = "generator"
rate = 100
[adapters.out]
kind = "discard"
"""


def waiting(daemon: DaemonProcess) -> list[int]:
    """Return the shims of a daemon that wait for a run."""
    found = processes_naming(f"{daemon.regions}/")
    return [int(line.split()[0]) for line in found if WAITING in line]


def start(stub: Any) -> Any:
    """Start an endless run and return it."""
    request = runs_pb.StartRunRequest(
        request_id=request_id(),
        spec=documents_pb.Document(name="spec.toml", content=SPEC),
        deployment=documents_pb.Document(name="deployment.toml", content=DEPLOYMENT),
    )
    return stub.StartRun(request, timeout=60).run


def stop(stub: Any, run: Any) -> None:
    """Stop it."""
    mode = runs_pb.STOP_MODE_ABORT
    request = runs_pb.StopRunRequest(request_id=request_id(), run_id=run.id, mode=mode)
    stub.StopRun(request, timeout=30)


def test_a_run_takes_the_shim_that_waits_and_the_next_one_waits() -> None:
    """The process that waited is the run's shim, seen as such, in its own directory with its log.

    One that was killed while it waited costs no run: that starts with a shim of its own.
    """
    with running_daemon() as daemon, stub_of(daemon) as stub:
        [ready] = until(lambda: waiting(daemon), 30.0, "a shim waits")
        run = start(stub)
        assert run.shim_pid == ready
        assert runs_shim_of(ready, run.region_directory)
        assert os.readlink(f"/proc/{ready}/cwd") == run.region_directory
        for descriptor in (1, 2):
            log = os.readlink(f"/proc/{ready}/fd/{descriptor}")
            assert log == f"{run.region_directory}/shim.log"
        [second] = until(lambda: waiting(daemon), 30.0, "another shim waits")
        assert second != ready
        os.kill(second, signal.SIGKILL)
        other = start(stub)
        assert other.state == runs_pb.RUN_STATE_RUNNING
        assert other.shim_pid not in (ready, second)
        for each in (run, other):
            stop(stub, each)


def test_kill_9_of_the_daemon_leaves_runs_and_no_waiting_shim() -> None:
    """The shim that waits ends with its daemon; that of a run goes on and is adopted."""
    with running_daemon() as daemon:
        with stub_of(daemon) as stub:
            run = start(stub)
        until(lambda: waiting(daemon), 30.0, "another shim waits")
        daemon.kill()
        until(lambda: not waiting(daemon), 30.0, "no shim waits")
        assert runs_shim_of(run.shim_pid, run.region_directory)
        daemon.start()
        with stub_of(daemon) as stub:
            adopted = stub.GetRun(runs_pb.GetRunRequest(run_id=run.id), timeout=30).run
            assert (adopted.shim_pid, adopted.state) == (run.shim_pid, runs_pb.RUN_STATE_RUNNING)
            stop(stub, run)


def test_no_shim_waits_where_that_is_not_wanted() -> None:
    """With `shims.keep_ready = false` a shim is started with its run, and none before or after."""
    config = {"shims.keep_ready": False}
    with running_daemon(config=config) as daemon, stub_of(daemon) as stub:
        assert waiting(daemon) == []
        run = start(stub)
        assert waiting(daemon) == []
        stop(stub, run)
