"""Processes of the user's own as ends of a run, under a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from byteor.v1 import documents_pb2 as documents_pb
from byteor.v1 import runs_pb2 as runs_pb
from byteord._cext.stages import crc32c
from byteord.client import ClosedError, attach
from byteord.errors import UnavailableError
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


@pytest.fixture(scope="module")
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


def feed(run_id: str, data: bytes) -> Iterator[runs_pb.FeedInputRequest]:
    """Yield an input in one chunk and its end mark."""
    yield runs_pb.FeedInputRequest(run_id=run_id, data=data)
    yield runs_pb.FeedInputRequest(
        offset=len(data), end=True, total_bytes=len(data), crc32c=crc32c(data)
    )


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
        with attach(run.region_directory, "in") as publisher:
            pass  # free again at once, although the handle lives
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


SHARDS = 'shards = 4\nordering = "per_key"\nshard_key = { offset = 8, length = 2 }'


def sharded_messages() -> list[bytes]:
    """Return messages of 23 keys, so many that each ring is lapped."""
    return [b"message %02d %05d" % (number % 23, number) for number in range(3000)]


@pytest.mark.parametrize("wait", ["backoff", "park"])
def test_clients_of_a_sharded_run(daemon: DaemonProcess, wait: str) -> None:
    """They spread by key over all rings, and join in the order of publishing."""
    data = sharded_messages()
    with stub_of(daemon) as stub:
        run = start(stub, f'{CLIENTS}[tuning]\nwait = "{wait}"\n', SHARDS)
        with (
            attach(run.region_directory, "in") as publisher,
            attach(run.region_directory, "out") as consumer,
        ):
            taken: list[bytes] = []
            for at in range(0, len(data), 50):
                part = data[at : at + 50]
                if at % 100:
                    assert publisher.publish_many(part) == len(part)
                else:
                    assert publisher.publish_buffer(b"".join(part), len(part[0])) == len(part)
                while len(taken) < at + 50:
                    taken += consumer.take_many(64)
            assert publisher.end()
            assert consumer.take() is None
            assert consumer.ended
        assert taken == data
        last = ended(stub, run.id)
        assert last.state == runs_pb.RUN_STATE_COMPLETED
        counts = {role.name: role.received for role in last.roles}
        assert counts["in"] == counts["out"] == len(data)
        stages = [counts[f"same#{shard}"] for shard in range(4)]
        assert sum(stages) == len(data)
        assert min(stages) > 0


def test_a_sharded_client_spreads_as_an_ingress(daemon: DaemonProcess) -> None:
    """The same messages go to the same shards whoever spreads them, and a native egress joins them.

    The publisher goes in the middle and another process's place is free: nothing is lost.
    """
    data = sharded_messages()
    with stub_of(daemon) as stub:
        lines = '[adapters.{}]\nkind = "{}"\nframing = "lines"\n'
        fed = start(
            stub,
            lines.format("in", "stdin") + lines.format("out", "stdout"),
            SHARDS,
            client_input=True,
            client_output=True,
        )
        output = stub.TakeOutput(runs_pb.TakeOutputRequest(run_id=fed.id))
        stub.FeedInput(feed(fed.id, b"".join(message + b"\n" for message in data)))
        assert b"".join(chunk.data for chunk in output).split() == b" ".join(data).split()
        one = {role.name: role.received for role in ended(stub, fed.id).roles}
        run = start(
            stub,
            '[adapters.in]\nkind = "client"\n' + lines.format("out", "stdout"),
            SHARDS,
            client_output=True,
        )
        output = stub.TakeOutput(runs_pb.TakeOutputRequest(run_id=run.id))
        for half in (data[:1500], data[1500:]):
            with attach(run.region_directory, "in") as publisher:
                for message in half:
                    assert publisher.publish(message)
        abandon = runs_pb.StopRunRequest(
            request_id=request_id(), run_id=run.id, mode=runs_pb.STOP_MODE_DRAIN
        )
        stub.StopRun(abandon, timeout=30)
        assert b"".join(chunk.data for chunk in output).split() == b" ".join(data).split()
        other = {role.name: role.received for role in ended(stub, run.id).roles}
        assert other == one


def test_an_end_of_a_sharded_run_is_one_process_at_a_time(daemon: DaemonProcess) -> None:
    """A second publisher is refused while the first holds the end, and nothing of it is kept."""
    with stub_of(daemon) as stub:
        run = start(stub, CLIENTS, SHARDS)
        with attach(run.region_directory, "in") as publisher:
            with pytest.raises(UnavailableError, match="played by another process"):
                attach(run.region_directory, "in")
            with pytest.raises(ValueError, match=r"49 bytes: a message of this run has at most 48"):
                publisher.publish(bytes(49))
            publisher.end()
            with pytest.raises(ClosedError, match="has ended its input"):
                publisher.publish(b"late")
        with pytest.raises(ClosedError, match="the session is over"):
            publisher.publish(b"later")
        with pytest.raises(ClosedError, match="the input of these rings has ended"):
            attach(run.region_directory, "in")
        with attach(run.region_directory, "out") as consumer:
            assert list(consumer) == []
        assert ended(stub, run.id).state == runs_pb.RUN_STATE_COMPLETED
