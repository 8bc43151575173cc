"""The API's methods: convert, call the domain, convert. No logic lives here.

What takes CPU goes to a thread, so that one large document delays nobody's watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from google.protobuf.message import Message

from byteor.v1 import bundles_pb2 as bundles_pb
from byteor.v1 import control_service_pb2 as control_pb
from byteor.v1 import control_service_pb2_grpc
from byteor.v1 import doctor_pb2 as doctor_pb
from byteor.v1 import documents_pb2 as documents_pb
from byteor.v1 import governance_pb2 as governance_pb
from byteor.v1 import replays_pb2 as replays_pb
from byteor.v1 import runs_pb2 as runs_pb
from byteord.errors import NotFoundError
from byteord.rpc import (
    audit_stream,
    convert_bundles,
    convert_doctor,
    convert_documents,
    convert_facts,
    convert_governance,
    convert_lanes,
    convert_replays,
    convert_runs,
    facts,
    paging,
    streams,
)
from byteord.rpc.bundles import Bundles
from byteord.rpc.control import Control, admission_of
from byteord.rpc.doctor import Doctor
from byteord.rpc.replays import Replays
from byteord.rpc.requests import Request, RequestStore, check_request_id
from byteord.runs.admission import new_run_id
from byteord.runs.describe import shown_snapshot
from byteord.runs.tap import follow

Context = Any


class Who(Protocol):
    """Tells who calls."""

    def principal(self, peer: str) -> str:
        """Return the principal behind a connection."""

    def sees_payloads(self, peer: str) -> bool:
        """Tell whether who is behind a connection may see payloads."""


class ControlServicer(control_service_pb2_grpc.ControlServiceServicer):
    """Serves `byteor.v1.ControlService`."""

    def __init__(
        self,
        control: Control,
        requests: RequestStore,
        bundles: Bundles,
        *,
        doctor: Doctor,
        replays: Replays,
        who: Who,
    ) -> None:
        self._control = control
        self._who = who
        self._manager = control.manager
        self._requests = requests
        self._bundles = bundles
        self._doctor = doctor
        self._replays = replays

    async def Validate(  # noqa: N802  name of the API
        self, request: documents_pb.ValidateRequest, _context: Context
    ) -> documents_pb.ValidateResponse:
        """Return every finding."""
        spec = convert_documents.required_source(request, "spec")
        deployment = convert_documents.optional_source(request, "deployment")
        report = await asyncio.to_thread(self._control.validate, spec, deployment, request.level)
        return convert_documents.report_to_proto(report)

    async def Describe(  # noqa: N802  name of the API
        self, request: documents_pb.DescribeRequest, _context: Context
    ) -> documents_pb.DescribeResponse:
        """Return a spec as understood."""
        wanted = convert_documents.wanted_from_describe(request)
        description, findings = await asyncio.to_thread(self._control.describe, wanted)
        return convert_documents.description_to_proto(description, findings)

    async def Dot(  # noqa: N802  name of the API
        self, request: documents_pb.DotRequest, _context: Context
    ) -> documents_pb.DotResponse:
        """Return the topology."""
        spec = convert_documents.required_source(request, "spec")
        return documents_pb.DotResponse(dot=await asyncio.to_thread(self._control.dot, spec))

    async def Diff(  # noqa: N802  name of the API
        self, request: documents_pb.DiffRequest, _context: Context
    ) -> documents_pb.DiffResponse:
        """Return what changed."""
        old = convert_documents.required_source(request, "old")
        new = convert_documents.required_source(request, "new")
        kind = convert_documents.diff_kind_from_proto(request.kind)
        return convert_documents.diff_to_proto(
            await asyncio.to_thread(self._control.diff, old, new, kind)
        )

    async def StartRun(  # noqa: N802  name of the API
        self, request: runs_pb.StartRunRequest, context: Context
    ) -> runs_pb.StartRunResponse:
        """Start a run, once for each request id."""
        self._control.check_up()
        principal = self._who.principal(context.peer())
        asked_ns = time.monotonic_ns()
        wanted = convert_runs.wanted_from_start(request)

        async def start(run_id: str) -> runs_pb.StartRunResponse:
            report = await asyncio.to_thread(self._control.admit, wanted)
            admission = admission_of(wanted, report, principal)
            if request.validate_only:
                run = await self._control.preview(admission)
            else:
                run = await self._control.start(
                    replace(
                        admission,
                        run_id=run_id,
                        request_id=request.request_id,
                        asked_ns=asked_ns,
                    )
                )
            return runs_pb.StartRunResponse(
                run=convert_runs.run_to_proto(run),
                findings=convert_documents.findings_to_proto(report.findings),
            )

        answer = await self._once("StartRun", request, start, principal)
        return runs_pb.StartRunResponse.FromString(answer)

    async def FeedInput(  # noqa: N802  name of the API
        self, request_iterator: AsyncIterator[runs_pb.FeedInputRequest], _context: Context
    ) -> runs_pb.FeedInputResponse:
        """Feed a run."""
        run_id, chunks = await streams.split_input(request_iterator)
        return runs_pb.FeedInputResponse(accepted_bytes=await self._manager.feed(run_id, chunks))

    async def TakeOutput(  # noqa: N802  name of the API
        self, request: runs_pb.TakeOutputRequest, _context: Context
    ) -> AsyncIterator[runs_pb.TakeOutputResponse]:
        """Stream what a run puts out."""
        taken = self._manager.take(request.run_id)
        async with contextlib.aclosing(taken) as chunks:
            async for chunk in chunks:
                yield convert_runs.output_chunk_to_proto(chunk)

    async def StopRun(  # noqa: N802  name of the API
        self, request: runs_pb.StopRunRequest, context: Context
    ) -> runs_pb.StopRunResponse:
        """Stop a run, once for each request id."""
        principal = self._who.principal(context.peer())
        mode = convert_runs.stop_mode_from_proto(request.mode)

        async def stop(_: str) -> runs_pb.StopRunResponse:
            if request.validate_only:
                run = self._manager.get(request.run_id)
            else:
                await self._control.record_stop(request.run_id, principal, request.request_id)
                run = await self._manager.stop(request.run_id, mode, request.timeout_s)
            return runs_pb.StopRunResponse(run=convert_runs.run_to_proto(run))

        answer = await self._once("StopRun", request, stop, principal)
        return runs_pb.StopRunResponse.FromString(answer)

    async def ListRuns(  # noqa: N802  name of the API
        self, request: runs_pb.ListRunsRequest, _context: Context
    ) -> runs_pb.ListRunsResponse:
        """Return a page of runs."""
        runs = self._manager.list(include_ended=request.include_ended)
        page, token = paging.page_of(runs, request.page_size, request.page_token)
        return runs_pb.ListRunsResponse(
            runs=[convert_runs.run_to_proto(run) for run in page], next_page_token=token
        )

    async def GetRun(  # noqa: N802  name of the API
        self, request: runs_pb.GetRunRequest, _context: Context
    ) -> runs_pb.GetRunResponse:
        """Return one run."""
        run = self._manager.get(request.run_id)
        return runs_pb.GetRunResponse(run=convert_runs.run_to_proto(run))

    async def WatchRuns(  # noqa: N802  name of the API
        self, request: runs_pb.WatchRunsRequest, context: Context
    ) -> AsyncIterator[runs_pb.WatchRunsResponse]:
        """Stream changes of runs; initial metadata says that the watch is open."""
        watch = self._manager.watch(request.run_id or None, request.after_revision)
        async with contextlib.aclosing(watch) as events:
            await context.send_initial_metadata(())
            async for event in events:
                yield convert_runs.watch_event_to_proto(event)

    async def SnapshotRun(  # noqa: N802  name of the API
        self, request: runs_pb.SnapshotRunRequest, context: Context
    ) -> AsyncIterator[runs_pb.SnapshotRunResponse]:
        """Stream the state of a run's regions."""
        snapshot = await self._manager.snapshot(request.run_id)
        sees = self._who.sees_payloads(context.peer())
        snapshot = await asyncio.to_thread(shown_snapshot, snapshot, sees=sees)
        for chunk in streams.snapshot_chunks(snapshot):
            yield chunk

    async def TapLane(  # noqa: N802  name of the API
        self, request: runs_pb.TapLaneRequest, context: Context
    ) -> AsyncIterator[runs_pb.TapLaneResponse]:
        """Stream messages of a lane; a first, empty answer says that the tap is open."""
        wanted = convert_lanes.tap_from_proto(request)
        principal = self._who.principal(context.peer())
        sees = self._who.sees_payloads(context.peer())
        run = self._manager.live(request.run_id)
        view = await self._control.tap_view(run, principal, sees=sees, seeks=bool(wanted.contains))
        tapped = follow(run, request.lane, wanted, view)
        async with contextlib.aclosing(tapped) as batches:
            async for batch in batches:
                yield convert_lanes.tap_to_proto(batch)

    async def PrepareApproval(  # noqa: N802  name of the API
        self, request: governance_pb.PrepareApprovalRequest, context: Context
    ) -> governance_pb.PrepareApprovalResponse:
        """Return what an approval of a run has to say."""
        wanted = convert_governance.wanted_from_prepare(request)
        principal = self._who.principal(context.peer())
        draft = await asyncio.to_thread(self._control.prepare_approval, wanted, principal)
        return convert_governance.draft_to_proto(draft)

    async def ReadAudit(  # noqa: N802  name of the API
        self, request: governance_pb.ReadAuditRequest, _context: Context
    ) -> AsyncIterator[governance_pb.ReadAuditResponse]:
        """Stream records of the audit log."""
        parts = audit_stream.read(
            self._control.manager.governor.audit,
            first=request.from_sequence,
            last=request.last,
            follow=request.follow,
        )
        async with contextlib.aclosing(parts) as chunks:
            async for chunk in chunks:
                yield chunk

    async def ReadDeadLetters(  # noqa: N802  name of the API
        self, request: governance_pb.ReadDeadLettersRequest, context: Context
    ) -> AsyncIterator[governance_pb.ReadDeadLettersResponse]:
        """Stream the messages that actions of a run could not deliver; written down who reads."""
        principal = self._who.principal(context.peer())
        sees = self._who.sees_payloads(context.peer())
        letters = await self._control.dead_letters(request.run_id, principal, sees=sees)
        while batch := await asyncio.to_thread(streams.some, letters, streams.LETTERS_MAX):
            yield governance_pb.ReadDeadLettersResponse(
                letters=map(convert_governance.letter_to_proto, batch)
            )

    async def CreateBundle(  # noqa: N802  name of the API
        self, request: bundles_pb.CreateBundleRequest, context: Context
    ) -> bundles_pb.CreateBundleResponse:
        """Make a bundle of a run, once for each request id."""
        principal = self._who.principal(context.peer())
        sees = self._who.sees_payloads(context.peer())
        wanted = convert_bundles.wanted_from_create(request, sees=sees)

        async def create(effect_id: str) -> bundles_pb.CreateBundleResponse:
            made = await self._bundles.create(request.run_id, effect_id, wanted, principal)
            return convert_bundles.bundle_to_proto(made)

        answer = await self._once("CreateBundle", request, create, principal)
        return bundles_pb.CreateBundleResponse.FromString(answer)

    async def ListBundles(  # noqa: N802  name of the API
        self, request: bundles_pb.ListBundlesRequest, _context: Context
    ) -> bundles_pb.ListBundlesResponse:
        """Return the bundles that are kept."""
        kept = await asyncio.to_thread(self._bundles.store.kept)
        return convert_bundles.bundles_to_proto(kept, request.run_id)

    async def ReadBundle(  # noqa: N802  name of the API
        self, request: bundles_pb.ReadBundleRequest, context: Context
    ) -> AsyncIterator[bundles_pb.ReadBundleResponse]:
        """Stream the archive of a bundle; written down who reads."""
        principal = self._who.principal(context.peer())
        sees = self._who.sees_payloads(context.peer())
        await self._bundles.permit(request.bundle_id, principal, sees=sees)
        chunks = self._bundles.chunks(request.bundle_id, request.offset)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield convert_bundles.chunk_to_proto(*chunk)

    async def UploadSource(  # noqa: N802  name of the API
        self, request_iterator: AsyncIterator[replays_pb.UploadSourceRequest], context: Context
    ) -> replays_pb.UploadSourceResponse:
        """Take a source to be replayed."""
        principal = self._who.principal(context.peer())
        pieces = (convert_replays.piece_from_proto(each) async for each in request_iterator)
        return convert_replays.uploaded_to_proto(await self._replays.upload(principal, pieces))

    async def Replay(  # noqa: N802  name of the API
        self, request: replays_pb.ReplayRequest, context: Context
    ) -> AsyncIterator[replays_pb.ReplayResponse]:
        """Replay, and stream how far it is; its last answer is what it came to."""
        self._control.check_up()
        check_request_id(request.request_id)
        principal, sees = (
            self._who.principal(context.peer()),
            self._who.sees_payloads(context.peer()),
        )
        wanted = convert_replays.wanted_from_proto(request)
        replayed = self._replays.replay(wanted, principal, sees=sees)
        async with contextlib.aclosing(replayed) as events:
            async for event in events:
                yield convert_replays.event_to_proto(event)

    async def Doctor(  # noqa: N802  name of the API
        self, request: doctor_pb.DoctorRequest, context: Context
    ) -> doctor_pb.DoctorResponse:
        """Tell whether the host is ready for a profile."""
        principal = self._who.principal(context.peer())
        answer = await self._doctor.run(convert_doctor.doctor_from_proto(request), principal)
        return convert_doctor.doctor_to_proto(answer)

    async def GetCapabilities(  # noqa: N802  name of the API
        self, _request: control_pb.GetCapabilitiesRequest, _context: Context
    ) -> control_pb.GetCapabilitiesResponse:
        """Tell what this daemon can do."""
        found = await asyncio.to_thread(self._control.capabilities)
        return convert_facts.capabilities_to_proto(found)

    async def GetCompatibility(  # noqa: N802  name of the API
        self, _request: control_pb.GetCompatibilityRequest, _context: Context
    ) -> control_pb.GetCompatibilityResponse:
        """Tell which versions work together."""
        return convert_facts.compatibility_to_proto(facts.compatibility_facts())

    async def GetVersion(  # noqa: N802  name of the API
        self, _request: control_pb.GetVersionRequest, _context: Context
    ) -> control_pb.GetVersionResponse:
        """Tell what is running here."""
        environment = self._control.authority.environment
        return convert_facts.version_to_proto(facts.version_facts(environment))

    async def settle(self) -> None:
        """Answer requests that a crash interrupted: a run that exists was started, others not."""
        for entry in self._requests.pending():
            answer = None
            if entry.method == "StartRun":
                with contextlib.suppress(NotFoundError):
                    run = convert_runs.run_to_proto(self._manager.get(entry.effect_id))
                    answer = runs_pb.StartRunResponse(run=run).SerializeToString()
            await self._requests.settle(entry, answer)

    async def _once(
        self,
        method: str,
        request: Any,
        effect: Callable[[str], Awaitable[Message]],
        principal: str,
    ) -> bytes:
        """Return the serialized answer to a mutation: the first one's, if this is a retry."""
        request_id = check_request_id(request.request_id)
        if request.validate_only:
            return (await effect("")).SerializeToString()
        body = type(request)()
        body.CopyFrom(request)
        body.ClearField("request_id")
        wanted = Request(principal, request_id, method, body.SerializeToString(deterministic=True))

        async def carry_out(effect_id: str) -> bytes:
            return (await effect(effect_id)).SerializeToString()

        return await self._requests.perform(wanted, carry_out, new_run_id())
