"""Processes of the user's own as ends of a run, under a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from byteor.v1 import documents_pb2 as documents_pb
from byteor.v1 import runs_pb2 as runs_pb
from byteord.client import attach
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.rpc import request_id, stub_of

SPEC = """
version = 1
name = "ends"
model = "single_ring"
[ring]
capacity = 64
slot_bytes = 64
{ring}
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
CLIENTS = '[adapters.in]\nkind = "client"\n[adapters.out]\nkind = "client"\n'


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    """Provide a daemon that serves, whose runs must all have ended at the end."""
    with running_daemon() as daemon:
        yield daemon


def start(stub: Any, deployment: str, ring: str = "", **fields: Any) -> Any:
    """Start a run and return it."""
    spec = SPEC.format(ring=ring).encode()
    request = runs_pb.StartRunRequest(
        request_id=request_id(),
        spec=documents_pb.Document(name="spec.toml", content=spec),
        deployment=documents_pb.Document(
            name="deployment.toml", content=f"version = 1\n{deployment}".encode()
        ),
        **fields,
    )
    return stub.StartRun(request, timeout=60).run


def ended(stub: Any, run_id: str) -> Any:
    """Return a run once it has ended."""
    request = runs_pb.GetRunRequest(run_id=run_id)

    def over() -> Any:
        run = stub.GetRun(request, timeout=10).run
        return run if run.HasField("ended_at") else None

    return until(over, 30.0, "the run has ended")


@pytest.mark.parametrize("single_process", [False, True], ids=["processes", "sp"])
def test_clients_at_both_ends(daemon: DaemonProcess, *, single_process: bool) -> None:
    """What one process publishes another consumes, in order; no worker is said to host them."""
    data = [b"message %d" % number for number in range(500)]
    with stub_of(daemon) as stub:
        run = start(stub, CLIENTS, single_process=single_process)
        hosted = {role.name: role.HasField("worker") for role in run.roles}
        assert hosted == {"in": False, "same": True, "out": False}
        with (
            attach(run.region_directory, "in") as publisher,
            attach(run.region_directory, "out") as consumer,
        ):
            taken = []
            for message in data:
                publisher.publish(message)
                taken += consumer.take_many(64, timeout_s=0)
            publisher.end()
            taken += list(consumer)
        assert taken == data
        last = ended(stub, run.id)
        assert last.state == runs_pb.RUN_STATE_COMPLETED
        counts = {role.name: role.received for role in last.roles}
        assert counts == {"in": 500, "same": 500, "out": 500}
