"""Runs: messages of the API to values of the domain and back. Pure."""

from __future__ import annotations

from typing import Any

from byteor.v1 import runs_pb2 as pb
from byteord.errors import InvalidArgumentError
from byteord.rpc import convert_capture, convert_governance
from byteord.rpc.convert_documents import optional_source, required_source
from byteord.rpc.convert_lanes import (
    hold_from_proto,
    hold_to_proto,
    lane_from_proto,
    lane_to_proto,
)
from byteord.rpc.convert_tuning import (
    jitter_from_proto,
    jitter_to_proto,
    knob_from_proto,
    knob_to_proto,
)
from byteord.rpc.times import timestamp, unix_ns
from byteord.rpc.wanted import StartWanted
from byteord.runs.state import RunState
from byteord.runs.view import (
    CHUNK_BYTES_MAX,
    ConditionView,
    ErrorView,
    FailureView,
    InputChunk,
    OutputChunk,
    RoleView,
    RunView,
    WatchEvent,
    WatchKind,
    WorkerView,
)

STATES = {state: pb.RunState.Value(f"RUN_STATE_{state.name}") for state in RunState}
WATCH_KINDS = {kind: pb.WatchKind.Value(f"WATCH_KIND_{kind.name}") for kind in WatchKind}
STOP_MODES = {
    pb.STOP_MODE_UNSPECIFIED: "drain",
    pb.STOP_MODE_DRAIN: "drain",
    pb.STOP_MODE_ABORT: "abort",
}


def wanted_from_start(request: pb.StartRunRequest) -> StartWanted:
    """Return the run that a StartRunRequest wants; raises InvalidArgumentError without a spec."""
    return StartWanted(
        spec=required_source(request, "spec"),
        deployment=optional_source(request, "deployment"),
        client_input=request.client_input,
        client_output=request.client_output,
        single_process=request.single_process,
        overrides=dict(request.overrides),
        approval=request.approval,
    )


def stop_mode_from_proto(mode: int) -> Any:
    """Return `drain` or `abort`; raises InvalidArgumentError for a mode that does not exist."""
    for number, name in STOP_MODES.items():
        if number == mode:
            return name
    raise InvalidArgumentError(
        f"mode: seen {mode}; wanted a StopMode of this API version", reason="MODE_UNKNOWN"
    )


def run_to_proto(run: RunView) -> pb.Run:
    """Return the message of a run."""
    return pb.Run(
        id=run.id,
        name=run.name,
        state=STATES[run.state],
        conditions=[_condition(condition) for condition in run.conditions],
        failure=_failure(run.failure) if run.failure else None,
        spec_sha256=run.spec_sha256,
        deployment_sha256=run.deployment_sha256,
        created_at=timestamp(run.created_unix_ns),
        ended_at=timestamp(run.ended_unix_ns),
        first_message_ns=run.first_message_ns,
        ready_ns=run.ready_ns,
        single_process=run.single_process,
        workers=[_worker(worker) for worker in run.workers],
        roles=[_role(role) for role in run.roles],
        shim_pid=run.shim_pid,
        region_directory=run.region_directory,
        code_digests=run.code_digests,
        revision=run.revision,
        principal=run.principal,
        lanes=[lane_to_proto(lane) for lane in run.lanes],
        holds=[hold_to_proto(hold) for hold in run.holds],
        effects=convert_governance.effects_to_proto(run.effects),
        capture=convert_capture.capture_to_proto(run.capture),
    )


def run_from_proto(run: pb.Run) -> RunView:
    """Return the value of a message that `run_to_proto` made."""
    return RunView(
        id=run.id,
        name=run.name,
        state=next(mine for mine, theirs in STATES.items() if theirs == run.state),
        conditions=tuple(
            ConditionView(each.type, each.status, each.reason, each.message, unix_ns(each.since))
            for each in run.conditions
        ),
        failure=_failure_from_proto(run.failure) if run.HasField("failure") else None,
        spec_sha256=run.spec_sha256,
        deployment_sha256=run.deployment_sha256,
        created_unix_ns=unix_ns(run.created_at),
        ended_unix_ns=unix_ns(run.ended_at),
        first_message_ns=run.first_message_ns,
        ready_ns=run.ready_ns,
        single_process=run.single_process,
        workers=tuple(_worker_from_proto(worker) for worker in run.workers),
        roles=tuple(_role_from_proto(role) for role in run.roles),
        shim_pid=run.shim_pid,
        region_directory=run.region_directory,
        code_digests=dict(run.code_digests),
        revision=run.revision,
        principal=run.principal,
        lanes=tuple(lane_from_proto(lane) for lane in run.lanes),
        holds=tuple(hold_from_proto(hold) for hold in run.holds),
        effects=(
            convert_governance.effects_from_proto(run.effects) if run.HasField("effects") else None
        ),
        capture=(
            convert_capture.capture_from_proto(run.capture) if run.HasField("capture") else None
        ),
    )


def watch_event_to_proto(event: WatchEvent) -> pb.WatchRunsResponse:
    """Return the message of an event."""
    return pb.WatchRunsResponse(
        kind=WATCH_KINDS[event.kind],
        run=run_to_proto(event.run) if event.run else None,
        revision=event.revision,
    )


def input_chunk_from_proto(request: pb.FeedInputRequest) -> InputChunk:
    """Return a chunk of input; raises InvalidArgumentError if it is larger than allowed."""
    if len(request.data) > CHUNK_BYTES_MAX:
        raise InvalidArgumentError(
            f"data: seen {len(request.data)} bytes; wanted at most {CHUNK_BYTES_MAX}",
            reason="CHUNK_TOO_LARGE",
        )
    return InputChunk(
        request.data, request.offset, request.end, request.total_bytes, request.crc32c
    )


def output_chunk_to_proto(chunk: OutputChunk) -> pb.TakeOutputResponse:
    """Return the message of a chunk of output."""
    return pb.TakeOutputResponse(
        data=chunk.data,
        offset=chunk.offset,
        end=chunk.end,
        total_bytes=chunk.total_bytes,
        crc32c=chunk.crc32c,
    )


def _condition(condition: ConditionView) -> pb.Condition:
    return pb.Condition(
        type=condition.type,
        status=condition.status,
        reason=condition.reason,
        message=condition.message,
        since=timestamp(condition.since_unix_ns),
    )


def _failure(failure: FailureView) -> pb.Failure:
    return pb.Failure(
        reason=failure.reason,
        role=failure.role,
        stage=failure.stage,
        sequence=failure.sequence,
        message_sha256=failure.message_sha256,
        message=failure.message,
    )


def _failure_from_proto(failure: pb.Failure) -> FailureView:
    return FailureView(
        reason=failure.reason,
        role=failure.role,
        stage=failure.stage,
        sequence=failure.sequence if failure.HasField("sequence") else None,
        message_sha256=failure.message_sha256,
        message=failure.message,
    )


def _worker(worker: WorkerView) -> pb.WorkerStatus:
    return pb.WorkerStatus(
        index=worker.index,
        pid=worker.pid,
        state=worker.state,
        roles=worker.roles,
        cpus=worker.cpus,
        restarts=worker.restarts,
        heartbeat_age_ns=worker.heartbeat_age_ns,
        cycle_ns_max=worker.cycle_ns_max,
        exit=worker.exit,
        rss_bytes=worker.rss_bytes,
        confinement=worker.confinement,
        tuning=[knob_to_proto(knob) for knob in worker.tuning],
        jitter=jitter_to_proto(worker.jitter) if worker.jitter else None,
    )


def _worker_from_proto(worker: pb.WorkerStatus) -> WorkerView:
    return WorkerView(
        index=worker.index,
        pid=worker.pid,
        state=worker.state,
        roles=tuple(worker.roles),
        cpus=tuple(worker.cpus),
        restarts=worker.restarts,
        heartbeat_age_ns=worker.heartbeat_age_ns,
        cycle_ns_max=worker.cycle_ns_max,
        exit=worker.exit,
        rss_bytes=worker.rss_bytes,
        confinement=worker.confinement,
        tuning=tuple(knob_from_proto(knob) for knob in worker.tuning),
        jitter=jitter_from_proto(worker.jitter) if worker.HasField("jitter") else None,
    )


def _role(role: RoleView) -> pb.RoleStatus:
    return pb.RoleStatus(
        name=role.name,
        kind=role.kind,
        stage=role.stage,
        state=role.state,
        worker=role.worker if role.worker >= 0 else None,
        received=role.received,
        published=role.published,
        dropped=role.dropped,
        skipped=role.skipped,
        rejected=role.rejected,
        sequence=role.sequence,
        lag_slots=role.lag_slots,
        bytes=role.bytes,
        service_ns_p50=role.service_ns_p50,
        service_ns_p99=role.service_ns_p99,
        latency_ns_p50=role.latency_ns_p50,
        latency_ns_p99=role.latency_ns_p99,
        errors=[_error(error) for error in role.errors],
        report=[pb.Counter(name=name, value=value) for name, value in role.report.items()],
    )


def _role_from_proto(role: pb.RoleStatus) -> RoleView:
    return RoleView(
        name=role.name,
        kind=role.kind,
        stage=role.stage,
        state=role.state,
        worker=role.worker if role.HasField("worker") else -1,
        received=role.received,
        published=role.published,
        dropped=role.dropped,
        skipped=role.skipped,
        rejected=dict(role.rejected),
        sequence=role.sequence,
        lag_slots=role.lag_slots,
        bytes=role.bytes,
        service_ns_p50=role.service_ns_p50,
        service_ns_p99=role.service_ns_p99,
        latency_ns_p50=role.latency_ns_p50,
        latency_ns_p99=role.latency_ns_p99,
        errors=tuple(_error_from_proto(error) for error in role.errors),
        report={each.name: each.value for each in role.report},
    )


def _error(error: ErrorView) -> pb.DistinctError:
    return pb.DistinctError(
        code=error.code, count=error.count, first_sequence=error.first_sequence, text=error.text
    )


def _error_from_proto(error: pb.DistinctError) -> ErrorView:
    first = error.first_sequence if error.HasField("first_sequence") else None
    return ErrorView(error.code, error.count, first, error.text)
