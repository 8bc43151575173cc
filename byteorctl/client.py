"""The daemon over gRPC: the one module that imports grpc and the generated API.

Requests are made from plain values and answers come back as plain data (`byteorctl.plain`), so that
no verb knows of protobuf. Every unary call has a deadline. Every failure is a `CallError` with the
exit code of the one table.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from byteor.v1 import (
    bundles_pb2,
    control_service_pb2,
    control_service_pb2_grpc,
    doctor_pb2,
    documents_pb2,
    governance_pb2,
    replays_pb2,
    runs_pb2,
)
from byteorctl.address import Address
from byteorctl.checksum import Running, crc32c_of
from byteorctl.client_values import (
    OutputChunk,
    ReplayEvent,
    SnapshotChunk,
    StartRequest,
    TapBatch,
    TappedMessage,
)
from byteorctl.details import details_of
from byteorctl.errors import CallError, CliError, Plain
from byteorctl.exit_codes import Exit, exit_for
from byteorctl.feed import InputChunk
from byteorctl.files import DocumentFile, read_pem
from byteorctl.plain import to_plain

T = TypeVar("T")
RECEIVE_BYTES_MAX = 8 << 20
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
)


class Stream(Generic[T]):
    """Answers of a streaming call, one by one; raises `CallError` where the call breaks."""

    def __init__(
        self, call: Any, convert: Callable[[Any], T], broken: Callable[[Any], CallError]
    ) -> None:
        """Wrap a running call."""
        self._call = call
        self._convert = convert
        self._broken = broken

    def __iter__(self) -> Iterator[T]:
        """Yield answers as they come."""
        try:
            for answer in self._call:
                yield self._convert(answer)
        except grpc.RpcError as error:
            raise self._broken(error) from error

    def cancel(self) -> None:
        """End the call; may be called from any thread."""
        self._call.cancel()


class Upload:
    """A running FeedInput."""

    def __init__(self, call: Any, broken: Callable[[Any], CallError]) -> None:
        """Wrap a running call."""
        self._call = call
        self._broken = broken

    def result(self) -> int:
        """Wait for the end and return how many bytes reached the ingress; raises `CallError`."""
        try:
            return int(self._call.result().accepted_bytes)
        except grpc.RpcError as error:
            raise self._broken(error) from error
        except grpc.FutureCancelledError as error:
            raise CallError(
                "FeedInput: cancelled", exit_for("CANCELLED"), status="CANCELLED"
            ) from error

    def cancel(self) -> None:
        """End the call; may be called from any thread."""
        self._call.cancel()


class Client:
    """A connection to one daemon. Thread-safe. Use as a context manager."""

    def __init__(
        self, address: Address, *, last_words: Callable[[], list[str]] | None = None
    ) -> None:
        """Connect lazily; `last_words` tells what a daemon of our own wrote, for when it dies."""
        self._address = address
        self._last_words = last_words or list
        self._channel = _channel(address)
        self._stub = control_service_pb2_grpc.ControlServiceStub(self._channel)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection; running calls are cancelled."""
        self._channel.close()

    @property
    def address(self) -> Address:
        """Where the daemon listens."""
        return self._address

    def validate(
        self, spec: DocumentFile, deployment: DocumentFile | None, *, level: str, timeout_s: float
    ) -> Plain:
        """Return all findings of a spec and, when given, of its deployment."""
        request = documents_pb2.ValidateRequest(
            spec=_document(spec), deployment=_document(deployment), level=level
        )
        return self._unary("Validate", request, timeout_s)

    def describe(
        self,
        spec: DocumentFile,
        deployment: DocumentFile | None,
        *,
        single_process: bool,
        host: bool = False,
        timeout_s: float,
    ) -> Plain:
        """Return the spec as understood; `host`: with the tuning plan against the daemon's host."""
        request = documents_pb2.DescribeRequest(
            spec=_document(spec),
            deployment=_document(deployment),
            single_process=single_process,
            host=host,
        )
        return self._unary("Describe", request, timeout_s)

    def dot(self, spec: DocumentFile, *, timeout_s: float) -> str:
        """Return the topology in the DOT language."""
        answer = self._unary("Dot", documents_pb2.DotRequest(spec=_document(spec)), timeout_s)
        return str(answer["dot"])

    def diff(self, old: DocumentFile, new: DocumentFile, *, kind: str, timeout_s: float) -> Plain:
        """Return what changed; `kind` is `spec`, `deployment` or empty (told from the content)."""
        number = documents_pb2.DiffKind.Value(f"DIFF_KIND_{(kind or 'unspecified').upper()}")
        request = documents_pb2.DiffRequest(old=_document(old), new=_document(new), kind=number)
        return self._unary("Diff", request, timeout_s)

    def start_run(self, wanted: StartRequest, *, timeout_s: float) -> Plain:
        """Start a run, or check that it could start; returns `run` and `findings`."""
        request = runs_pb2.StartRunRequest(
            request_id=str(uuid.uuid4()),
            validate_only=wanted.validate_only,
            spec=_document(wanted.spec),
            deployment=_document(wanted.deployment),
            client_input=wanted.client_input,
            client_output=wanted.client_output,
            single_process=wanted.single_process,
            overrides=wanted.overrides,
            approval=wanted.approval,
        )
        return self._unary("StartRun", request, timeout_s)

    def stop_run(
        self, run_id: str, *, abort: bool, drain_timeout_s: int, timeout_s: float
    ) -> Plain:
        """Stop a run and return it once it has ended; `drain_timeout_s` 0: as deployed."""
        request = runs_pb2.StopRunRequest(
            request_id=str(uuid.uuid4()),
            run_id=run_id,
            mode=runs_pb2.STOP_MODE_ABORT if abort else runs_pb2.STOP_MODE_DRAIN,
            timeout_s=drain_timeout_s,
        )
        return dict(self._unary("StopRun", request, timeout_s)["run"])

    def list_runs(self, *, include_ended: bool, timeout_s: float) -> list[Plain]:
        """Return all runs, newest first."""
        runs: list[Plain] = []
        token = ""
        while True:
            request = runs_pb2.ListRunsRequest(include_ended=include_ended, page_token=token)
            page = self._unary("ListRuns", request, timeout_s)
            runs += page["runs"]
            token = page["next_page_token"]
            if not token:
                return runs

    def get_run(self, run_id: str, *, timeout_s: float) -> Plain:
        """Return one run, whole."""
        return dict(self._unary("GetRun", runs_pb2.GetRunRequest(run_id=run_id), timeout_s)["run"])

    def doctor(
        self,
        *,
        spec: DocumentFile | None,
        deployment: DocumentFile | None,
        timeout_s: float,
        **wanted: Any,
    ) -> Plain:
        """Return doctor's report; `wanted` are the other fields of the request."""
        request = doctor_pb2.DoctorRequest(
            spec=_document(spec), deployment=_document(deployment), **wanted
        )
        return self._unary("Doctor", request, timeout_s)

    def capabilities(self, *, timeout_s: float) -> Plain:
        """Return what the daemon can run."""
        return self._unary(
            "GetCapabilities", control_service_pb2.GetCapabilitiesRequest(), timeout_s
        )

    def compatibility(self, *, timeout_s: float) -> Plain:
        """Return versions that work together."""
        return self._unary(
            "GetCompatibility", control_service_pb2.GetCompatibilityRequest(), timeout_s
        )

    def version(self, *, timeout_s: float) -> Plain:
        """Return what is running there."""
        return self._unary("GetVersion", control_service_pb2.GetVersionRequest(), timeout_s)

    def prepare_approval(
        self,
        spec: DocumentFile,
        deployment: DocumentFile | None,
        *,
        client_input: bool,
        client_output: bool,
        overrides: Mapping[str, str],
        timeout_s: float,
    ) -> Plain:
        """Return what an approval of a run has to say."""
        request = governance_pb2.PrepareApprovalRequest(
            spec=_document(spec),
            deployment=_document(deployment),
            client_input=client_input,
            client_output=client_output,
            overrides=overrides,
        )
        return self._unary("PrepareApproval", request, timeout_s)

    def read_audit(
        self, *, first: int = 0, last: int = 0, follow: bool = False, timeout_s: float | None
    ) -> Stream[Plain]:
        """Return parts of the audit log: `lines`, and in the first `checkpoint`, `public_key`."""
        request = governance_pb2.ReadAuditRequest(from_sequence=first, last=last, follow=follow)
        call = self._stub.ReadAudit(request, timeout=timeout_s)
        return self._stream("ReadAudit", call, _audit_part)

    def dead_letters(self, run_id: str) -> Stream[list[Plain]]:
        """Return the messages that actions of a run could not deliver, a few at a time."""
        request = governance_pb2.ReadDeadLettersRequest(run_id=run_id)
        return self._stream("ReadDeadLetters", self._stub.ReadDeadLetters(request), _letters)

    def watch_runs(self, run_id: str, *, after_revision: int = 0) -> Stream[Plain]:
        """Return the events of one run, or of all when `run_id` is empty."""
        request = runs_pb2.WatchRunsRequest(run_id=run_id, after_revision=after_revision)
        return self._stream("WatchRuns", self._stub.WatchRuns(request), to_plain)

    def tap_lane(
        self, run_id: str, lane: str, *, contains: bytes, limit: int, timeout_s: float | None
    ) -> Stream[TapBatch]:
        """Return messages of a lane as they pass; None: for as long as it lasts."""
        request = runs_pb2.TapLaneRequest(run_id=run_id, lane=lane, contains=contains, limit=limit)
        if timeout_s is not None:
            request.timeout.FromTimedelta(timedelta(seconds=timeout_s))
        return self._stream("TapLane", self._stub.TapLane(request), _tap_batch)

    def take_output(self, run_id: str) -> Stream[OutputChunk]:
        """Return the bytes of the run's egress."""
        call = self._stub.TakeOutput(runs_pb2.TakeOutputRequest(run_id=run_id))
        return self._stream("TakeOutput", call, _output_chunk)

    def snapshot_run(self, run_id: str, *, timeout_s: float) -> Stream[SnapshotChunk]:
        """Return the pieces of a snapshot, a JSON document."""
        call = self._stub.SnapshotRun(runs_pb2.SnapshotRunRequest(run_id=run_id), timeout=timeout_s)
        return self._stream("SnapshotRun", call, _snapshot_chunk)

    def create_bundle(
        self, run_id: str, *, plan: bool, part: Mapping[str, int], timeout_s: float
    ) -> Plain:
        """Have a bundle of a run made, or with `plan` only told what it would hold."""
        request = bundles_pb2.CreateBundleRequest(
            request_id=str(uuid.uuid4()), validate_only=plan, run_id=run_id, **part
        )
        return self._unary("CreateBundle", request, timeout_s)

    def list_bundles(self, run_id: str, *, timeout_s: float) -> list[Plain]:
        """Return the bundles that the daemon keeps, newest first."""
        request = bundles_pb2.ListBundlesRequest(run_id=run_id)
        return list(self._unary("ListBundles", request, timeout_s)["bundles"])

    def read_bundle(self, bundle_id: str, offset: int) -> Stream[bytes]:
        """Return the pieces of a bundle's archive, each checked, from `offset` on."""
        request = bundles_pb2.ReadBundleRequest(bundle_id=bundle_id, offset=offset)
        return self._stream("ReadBundle", self._stub.ReadBundle(request), _bundle_chunk)

    def upload_source(self, pieces: Iterable[tuple[str, bytes]], *, timeout_s: float) -> Plain:
        """Send the files of a source: pieces of (name, in the first of each file; bytes)."""
        failed: list[CliError] = []

        def requests() -> Iterator[replays_pb2.UploadSourceRequest]:
            try:
                for name, data in pieces:
                    crc32c = crc32c_of(data)
                    yield replays_pb2.UploadSourceRequest(name=name, data=data, crc32c=crc32c)
            except CliError as error:  # of the source: gRPC would say only that there was one
                failed.append(error)
                raise

        try:
            return to_plain(self._stub.UploadSource(requests(), timeout=timeout_s))
        except grpc.RpcError as error:
            raise failed[0] if failed else self._error("UploadSource", error) from error

    def replay(
        self, spec: DocumentFile | None, deployment: DocumentFile | None, **wanted: Any
    ) -> Stream[ReplayEvent]:
        """Return the progress of a replay, then its result; `wanted`: fields of ReplayRequest."""
        request = replays_pb2.ReplayRequest(
            request_id=str(uuid.uuid4()),
            spec=_document(spec),
            deployment=_document(deployment),
            **wanted,
        )
        return self._stream("Replay", self._stub.Replay(request), _replay_event)

    def feed_input(self, run_id: str, chunks: Iterable[InputChunk]) -> Upload:
        """Feed the run's ingress from a thread of gRPC's own, which iterates over `chunks`."""
        call = self._stub.FeedInput.future(_feed_requests(run_id, chunks))
        return Upload(call, lambda error: self._error("FeedInput", error))

    def _unary(self, method: str, request: Any, timeout_s: float) -> Plain:
        try:
            return to_plain(getattr(self._stub, method)(request, timeout=timeout_s))
        except grpc.RpcError as error:
            raise self._error(method, error) from error

    def _stream(self, method: str, call: Any, convert: Callable[[Any], T]) -> Stream[T]:
        return Stream(call, convert, lambda error: self._error(method, error))

    def _error(self, method: str, error: Any) -> CallError:
        """Return what a broken call means, from its rich details where the daemon sent them."""
        status: str = error.code().name
        details = details_of(error)
        reason = details.reason
        message = error.details() or "no message"
        notes: list[str] = []
        if details.findings:
            number = len(details.findings)
            message = (
                f"{method}: refused for {number} finding{'s' if number > 1 else ''}, shown above"
            )
        if not reason:
            message, notes = self._transport_error(method, status, message)
        elif status == "INTERNAL":
            notes = self._last_words()
        if details.retry_after_s:
            notes.append(f"trying again in {details.retry_after_s:g} s may help")
        return CallError(
            message,
            exit_for(status, reason),
            status=status,
            reason=reason,
            findings=details.findings,
            notes=notes,
        )

    def _transport_error(self, method: str, status: str, message: str) -> tuple[str, list[str]]:
        """Return message and notes of an error that does not come from byteor itself."""
        if status == "UNAVAILABLE":
            asked = (
                "do both sides trust the other's certificate"
                if self._address.host_port
                else ("is it still running")
            )
            text = f"went away during {method} ({message}); {asked}?"
            return f"byteord at {self._address}: {text}", self._last_words()
        if status == "DEADLINE_EXCEEDED":
            return (
                f"byteord at {self._address}: {method} took longer than allowed; see --timeout",
                [],
            )
        if status == "UNIMPLEMENTED":
            return (
                f"byteord at {self._address}: does not know {method}; is it older?",
                [],
            )
        return f"byteord at {self._address}: {method} failed with {status}: {message}", []


def _channel(address: Address) -> Any:
    """Connect, lazily; CliError when a file of TLS cannot be read."""
    if not address.host_port:
        return grpc.insecure_channel(f"unix:{address.path}", options=CHANNEL_OPTIONS)
    files = address.tls
    ca, key, chain = (read_pem(path) for path in (files.ca, files.key, files.cert))
    secured = grpc.ssl_channel_credentials(ca, key, chain)
    options = [each for each in CHANNEL_OPTIONS if each[0] != "grpc.default_authority"]
    return grpc.secure_channel(address.host_port, secured, options=options)


def _document(file: DocumentFile | None) -> documents_pb2.Document | None:
    return None if file is None else documents_pb2.Document(name=file.name, content=file.content)


def _feed_requests(
    run_id: str, chunks: Iterable[InputChunk]
) -> Iterator[runs_pb2.FeedInputRequest]:
    """Turn chunks into requests; the first names the run, also when it is the end mark already."""
    for chunk in chunks:
        yield runs_pb2.FeedInputRequest(
            run_id=run_id,
            data=chunk.data,
            offset=chunk.offset,
            end=chunk.end,
            total_bytes=chunk.offset if chunk.end else 0,
            crc32c=chunk.crc32c,
        )
        run_id = ""


def _audit_part(answer: governance_pb2.ReadAuditResponse) -> Plain:
    return {
        "lines": list(answer.lines),
        "checkpoint": answer.checkpoint,
        "public_key": answer.public_key,
    }


def _letters(answer: governance_pb2.ReadDeadLettersResponse) -> list[Plain]:
    return [{**to_plain(each), "payload": each.payload} for each in answer.letters]


def _output_chunk(answer: runs_pb2.TakeOutputResponse) -> OutputChunk:
    return OutputChunk(answer.data, answer.offset, answer.end, answer.total_bytes, answer.crc32c)


def _snapshot_chunk(answer: runs_pb2.SnapshotRunResponse) -> SnapshotChunk:
    return SnapshotChunk(answer.data, answer.crc32c, answer.sha256)


def _tap_batch(answer: runs_pb2.TapLaneResponse) -> TapBatch:
    messages = tuple(
        TappedMessage(each.sequence, each.stripe, each.time_ns, each.type, each.payload)
        for each in answer.messages
    )
    return TapBatch(
        messages,
        answer.missed,
        answer.filtered,
        answer.digests,
        timed_out=answer.timed_out,
        withheld=answer.withheld,
    )


def _replay_event(answer: replays_pb2.ReplayResponse) -> ReplayEvent:
    if answer.HasField("progress"):
        return ReplayEvent(to_plain(answer.progress), None)
    return ReplayEvent(None, to_plain(answer.result))


def _bundle_chunk(answer: bundles_pb2.ReadBundleResponse) -> bytes:
    running = Running()
    running.add(answer.data)
    if running.crc32c != answer.crc32c:
        raise CliError(
            f"bundle: damaged at offset {answer.offset}: seen CRC32C {running.crc32c:08x}; "
            f"wanted {answer.crc32c:08x}; fetch it again",
            Exit.DATA,
        )
    return answer.data
