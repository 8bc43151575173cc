"""The API over a real socket: documents, mutations with request ids, runs, streams, metrics."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from byteor.v1 import control_service_pb2 as control_pb
from byteor.v1 import documents_pb2 as documents_pb
from byteor.v1 import runs_pb2 as runs_pb
from byteord._cext.stages import crc32c
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.rpc import detail_of, reason_of, request_id, stub_of

SPEC = b"""
version = 1
name = "pass"
model = "single_ring"
[ring]
capacity = 64
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
ENDLESS = b"""
version = 1
[adapters.in]
kind = "generator"
rate = 100
[adapters.out]
kind = "discard"
"""


@pytest.fixture
def daemon() -> Iterator[DaemonProcess]:
    """Provide a daemon that serves, whose runs must all have ended at the end."""
    with running_daemon() as daemon:
        yield daemon


def document(content: bytes, name: str = "spec.toml") -> documents_pb.Document:
    """Return a document."""
    return documents_pb.Document(name=name, content=content)


def start_request(deployment: bytes = b"", **fields: Any) -> runs_pb.StartRunRequest:
    """Return a StartRunRequest for `SPEC`; without a deployment its client serves both ends."""
    request = runs_pb.StartRunRequest(
        request_id=request_id(), spec=document(SPEC), single_process=True
    )
    if deployment:
        request.deployment.CopyFrom(document(deployment, "deployment.toml"))
    else:
        request.client_input = request.client_output = True
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def abort(stub: Any, run_id: str) -> Any:
    """Abort a run and return it."""
    request = runs_pb.StopRunRequest(
        request_id=request_id(), run_id=run_id, mode=runs_pb.STOP_MODE_ABORT
    )
    return stub.StopRun(request, timeout=30).run


def feed(run_id: str, data: bytes) -> Iterator[runs_pb.FeedInputRequest]:
    """Yield an input in one chunk and its end mark."""
    yield runs_pb.FeedInputRequest(run_id=run_id, data=data)
    yield runs_pb.FeedInputRequest(
        offset=len(data), end=True, total_bytes=len(data), crc32c=crc32c(data)
    )


def test_bytes_go_through_a_run(daemon: DaemonProcess) -> None:
    """What is fed comes out whole, the run completes, and what remains of it can be asked for."""
    data = b"one\ntwo\nthree\n"
    with stub_of(daemon) as stub:
        run = stub.StartRun(start_request(), timeout=60).run
        assert run.state == runs_pb.RUN_STATE_RUNNING
        assert run.principal == f"uid:{os.getuid()}"
        output = stub.TakeOutput(runs_pb.TakeOutputRequest(run_id=run.id))
        assert stub.FeedInput(feed(run.id, data)).accepted_bytes == len(data)
        chunks = list(output)
        assert b"".join(chunk.data for chunk in chunks) == data
        assert (chunks[-1].end, chunks[-1].total_bytes, chunks[-1].crc32c) == (
            True,
            len(data),
            crc32c(data),
        )
        ended = list(stub.WatchRuns(runs_pb.WatchRunsRequest(run_id=run.id), timeout=30))[-1]
        assert ended.kind == runs_pb.WATCH_KIND_ENDED
        assert ended.run.state == runs_pb.RUN_STATE_COMPLETED
        assert not stub.ListRuns(runs_pb.ListRunsRequest(), timeout=10).runs
        [known] = stub.ListRuns(runs_pb.ListRunsRequest(include_ended=True), timeout=10).runs
        assert known.id == run.id


def test_a_bad_spec_starts_nothing_and_says_every_error(daemon: DaemonProcess) -> None:
    """StartRun validates first: INVALID_ARGUMENT with each finding as a field violation."""
    bad = SPEC.replace(b"capacity = 64", b"capacity = 1000\nslot_bytes = 100")
    request = start_request()
    request.spec.content = bad
    with stub_of(daemon) as stub:
        with pytest.raises(grpc.RpcError) as caught:
            stub.StartRun(request, timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        details = detail_of(caught.value, error_details_pb2.BadRequest)
        assert details is not None
        fields = {violation.field: violation for violation in details.field_violations}
        assert {"spec.ring.capacity", "spec.ring.slot_bytes"} <= set(fields)
        assert fields["spec.ring.capacity"].reason
        assert "1000" in fields["spec.ring.capacity"].description
        assert not stub.ListRuns(runs_pb.ListRunsRequest(include_ended=True), timeout=10).runs
        answer = stub.Validate(documents_pb.ValidateRequest(spec=document(bad)), timeout=30)
        assert not answer.ok
        assert len(answer.findings) >= 2
    assert daemon.run_directories() == []


def test_many_findings_fit_into_a_status(daemon: DaemonProcess) -> None:
    """A spec with hundreds of errors is refused with a status that a default client accepts."""
    request = start_request()
    request.spec.content = SPEC + b"".join(b"[unknown_%d]\na = 1\n" % n for n in range(500))
    request.spec.content = request.spec.content.replace(b"capacity = 64", b"capacity = 1000")
    more = b'[[stages]]\nname = "same"\nstage = "nonsense"\n' * 300
    request.spec.content += more
    with stub_of(daemon) as stub, pytest.raises(grpc.RpcError) as caught:
        stub.StartRun(request, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "INVALID_DOCUMENT"


def test_validate_only_changes_nothing(daemon: DaemonProcess) -> None:
    """A run that would start is shown without an id, and does not exist."""
    with stub_of(daemon) as stub:
        run = stub.StartRun(start_request(validate_only=True), timeout=30).run
        assert (run.id, run.name) == ("", "pass")
        assert len(run.spec_sha256) == 64
        assert not stub.ListRuns(runs_pb.ListRunsRequest(include_ended=True), timeout=10).runs


def test_a_retry_starts_no_second_run_even_after_a_restart() -> None:
    """The same request id and body is one run, also when the daemon is killed in between."""
    with running_daemon() as daemon:
        request = start_request(ENDLESS)
        with stub_of(daemon) as stub:
            first = stub.StartRun(request, timeout=60).run
            assert stub.StartRun(request, timeout=60).run.id == first.id
        daemon.kill()
        daemon.start()
        with stub_of(daemon) as stub:
            assert stub.StartRun(request, timeout=60).run.id == first.id
            [live] = stub.ListRuns(runs_pb.ListRunsRequest(), timeout=10).runs
            assert live.id == first.id
            other = runs_pb.StartRunRequest()
            other.CopyFrom(request)
            other.single_process = False
            with pytest.raises(grpc.RpcError) as caught:
                stub.StartRun(other, timeout=60)
            assert reason_of(caught.value) == "REQUEST_ID_REUSED"
            assert abort(stub, first.id).state == runs_pb.RUN_STATE_STOPPED


def test_a_start_interrupted_by_a_crash_is_settled_by_the_next_daemon() -> None:
    """A request written down whose answer was lost is answered with the run it started."""
    with running_daemon() as daemon:
        request = start_request(ENDLESS)
        with stub_of(daemon) as stub:
            run = stub.StartRun(request, timeout=60).run
        daemon.kill()
        journal = daemon.directory / "state" / "requests"
        lines = [line for line in journal.read_bytes().split(b"\n") if b'"answer":null' in line]
        journal.write_bytes(b"".join(line + b"\n" for line in lines))
        daemon.start()
        with stub_of(daemon) as stub:
            assert stub.StartRun(request, timeout=60).run.id == run.id
            abort(stub, run.id)


def test_runs_outlive_the_daemon_and_watches_hear_of_it() -> None:
    """SIGTERM leaves runs alone: watches get GOING_DOWN as last word, the next daemon adopts."""
    with running_daemon() as daemon:
        with stub_of(daemon) as stub:
            run = stub.StartRun(start_request(ENDLESS), timeout=60).run
            watch = stub.WatchRuns(runs_pb.WatchRunsRequest(), timeout=60)
            assert next(watch).kind == runs_pb.WATCH_KIND_SNAPSHOT
            os.kill(daemon.pid, signal.SIGTERM)
            kinds = [event.kind for event in watch]
        assert kinds[-1] == runs_pb.WATCH_KIND_GOING_DOWN
        assert daemon.wait() == 0
        assert len(daemon.run_directories()) == 1
        daemon.start()
        with stub_of(daemon) as stub:
            adopted = stub.GetRun(runs_pb.GetRunRequest(run_id="pass"), timeout=10).run
            assert (adopted.id, adopted.shim_pid) == (run.id, run.shim_pid)
            received = adopted.roles[-1].received
            until(
                lambda: (
                    stub.GetRun(runs_pb.GetRunRequest(run_id=run.id), timeout=10)
                    .run.roles[-1]
                    .received
                    > received
                ),
                20,
                "messages flow on",
            )
            abort(stub, run.id)


def test_a_daemon_told_to_drain_takes_its_runs_along() -> None:
    """`on_stop = drain`: SIGTERM lets out what is inside, and nothing is left."""
    with running_daemon(config={"on_stop": "drain"}) as daemon:
        with stub_of(daemon) as stub:
            stub.StartRun(start_request(ENDLESS), timeout=60)
        assert daemon.stop() == 0
        assert daemon.run_directories() == []
        [ended] = daemon.events("run.ended")
        assert ended["state"] == "stopped"


def test_a_snapshot_is_checked_by_chunk_and_as_a_whole(daemon: DaemonProcess) -> None:
    """Chunks of at most 1 MiB, a running CRC32C, the SHA-256 at the end; JSON inside."""
    with stub_of(daemon) as stub:
        run = stub.StartRun(start_request(ENDLESS), timeout=60).run
        whole, crc, digest = b"", 0, b""
        for chunk in stub.SnapshotRun(runs_pb.SnapshotRunRequest(run_id=run.id), timeout=30):
            assert len(chunk.data) <= 1 << 20
            whole += chunk.data
            crc = crc32c(chunk.data, crc)
            assert chunk.crc32c == crc
            digest = chunk.sha256
        assert hashlib.sha256(whole).digest() == digest
        assert json.loads(whole)["run"]["id"] == run.id
        abort(stub, run.id)


def test_what_does_not_exist_is_not_found(daemon: DaemonProcess) -> None:
    """Every method that names a run says which one it did not find."""
    with stub_of(daemon) as stub:
        calls = (
            lambda: stub.GetRun(runs_pb.GetRunRequest(run_id="absent"), timeout=10),
            lambda: abort(stub, "absent"),
            lambda: list(stub.WatchRuns(runs_pb.WatchRunsRequest(run_id="absent"), timeout=10)),
            lambda: list(stub.TakeOutput(runs_pb.TakeOutputRequest(run_id="absent"), timeout=10)),
            lambda: stub.FeedInput(feed("absent", b"x"), timeout=10),
            lambda: list(stub.SnapshotRun(runs_pb.SnapshotRunRequest(run_id="absent"), timeout=10)),
        )
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert reason_of(caught.value) == "RUN_NOT_FOUND"
            assert "absent" in str(caught.value.details())


def watch_code(stub: Any) -> grpc.StatusCode:
    """Return how a watch on all runs ends within a second."""
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.WatchRuns(runs_pb.WatchRunsRequest(), timeout=1))
    code: grpc.StatusCode = caught.value.code()
    return code


def test_one_watch_too_many_is_refused() -> None:
    """Beyond `watches_max` a watch is RESOURCE_EXHAUSTED."""
    with running_daemon(config={"ceilings.watches_max": 1}) as daemon, stub_of(daemon) as stub:
        first = stub.WatchRuns(runs_pb.WatchRunsRequest(), timeout=60)
        first.initial_metadata()
        assert watch_code(stub) is grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()


def test_a_message_above_the_limit_is_refused(daemon: DaemonProcess) -> None:
    """More than 4 MiB at once is RESOURCE_EXHAUSTED."""
    huge = documents_pb.ValidateRequest(spec=document(bytes(5 << 20)))
    with stub_of(daemon) as stub, pytest.raises(grpc.RpcError) as caught:
        stub.Validate(huge, timeout=30)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_documents_are_described_drawn_and_compared(daemon: DaemonProcess) -> None:
    """Describe, Dot and Diff answer for a good spec, and refuse a bad one with its findings."""
    with stub_of(daemon) as stub:
        said = stub.Describe(documents_pb.DescribeRequest(spec=document(SPEC)), timeout=30)
        description = json.loads(said.description_json)
        assert description["name"] == "pass"
        assert {"roles", "workers", "memory", "wait", "notes"} <= set(description)
        dot = stub.Dot(documents_pb.DotRequest(spec=document(SPEC)), timeout=30).dot
        assert dot.startswith("digraph")
        changed = SPEC.replace(b"capacity = 64", b"capacity = 128")
        request = documents_pb.DiffRequest(old=document(SPEC), new=document(changed))
        diff = stub.Diff(request, timeout=30)
        [change] = diff.changes
        assert (change.path, change.old, change.new) == ("ring.capacity", "64", "128")
        bad = document(SPEC.replace(b"identity", b"identiti"))
        for call, wanted in (
            (stub.Describe, documents_pb.DescribeRequest(spec=bad)),
            (stub.Dot, documents_pb.DotRequest(spec=bad)),
            (stub.Diff, documents_pb.DiffRequest(old=bad, new=bad)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(wanted, timeout=30)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "identity" in str(caught.value.details())


def test_it_tells_what_it_can(daemon: DaemonProcess) -> None:
    """Capabilities list the catalogues, compatibility every version."""
    with stub_of(daemon) as stub:
        can = stub.GetCapabilities(control_pb.GetCapabilitiesRequest(), timeout=30)
        stages = {stage.name: stage for stage in can.stages}
        assert {"identity", "filter", "python:module:Class"} <= set(stages)
        assert stages["filter"].keys
        assert {"file", "generator"} <= {adapter.kind for adapter in can.adapters}
        assert set(can.waits) == {"spin", "backoff", "park"}
        versions = stub.GetCompatibility(control_pb.GetCompatibilityRequest(), timeout=30)
        assert list(versions.spec_versions) == [1]
        assert list(versions.api_packages) == ["byteor.v1"]


def test_calls_are_counted_where_metrics_are_served(daemon: DaemonProcess) -> None:
    """The address in the ready event serves a page that counts the calls of the API."""
    with stub_of(daemon) as stub:
        stub.GetVersion(control_pb.GetVersionRequest(), timeout=10)
    [ready] = daemon.events("daemon.ready")
    with urllib.request.urlopen(f"http://{ready['metrics']}/metrics", timeout=10) as page:
        text = page.read().decode()
    assert "byteor_build_info" in text
    assert any("GetVersion" in line and line.endswith(" 1") for line in text.splitlines())


def test_a_metrics_port_in_use_is_named(daemon: DaemonProcess) -> None:
    """A second daemon on the same port ends with 75, names the address, and leaves nothing."""
    [ready] = daemon.events("daemon.ready")
    second = DaemonProcess(config={"metrics.address": ready["metrics"]})
    try:
        second.start(wait=False)
        assert second.wait() == 75
        assert ready["metrics"] in second.stderr
        assert not second.socket.exists()
        assert list(second.regions.iterdir()) == []
    finally:
        second.close()
