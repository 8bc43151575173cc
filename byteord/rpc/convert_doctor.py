"""Doctor: messages of the API to values of the domain and back. Pure."""

from __future__ import annotations

import json

from byteor.v1 import doctor_pb2 as pb
from byteord.doctor.model import GROUPS, Result, State
from byteord.rpc.convert_documents import optional_source
from byteord.rpc.doctor import DoctorAnswer, DoctorWanted

STATES = {
    State.OK: pb.CHECK_STATE_OK,
    State.DEGRADED: pb.CHECK_STATE_DEGRADED,
    State.FAILED: pb.CHECK_STATE_FAILED,
    State.SKIPPED: pb.CHECK_STATE_SKIPPED,
    State.UNKNOWN: pb.CHECK_STATE_UNKNOWN,
}


def doctor_from_proto(request: pb.DoctorRequest) -> DoctorWanted:
    """Return what a request asks for."""
    return DoctorWanted(
        profile=request.profile,
        spec=optional_source(request, "spec"),
        deployment=optional_source(request, "deployment"),
        groups=tuple(request.groups),
        codes=tuple(request.codes),
        measure=request.measure,
        tools=tuple(request.tools),
        emit=request.emit,
        client_version=request.client_version,
        approval=request.approval,
        captured=request.captured,
    )


def doctor_to_proto(answer: DoctorAnswer) -> pb.DoctorResponse:
    """Return the answer to Doctor."""
    report = answer.report
    return pb.DoctorResponse(
        profile=report.profile,
        checks=[_check(result) for result in report.checks],
        counts=report.counts(),
        cpus=report.cpus,
        host=report.host,
        seconds=report.seconds,
        measured_json=json.dumps(report.measured) if report.measured else "",
        budget=answer.budget,
        emitted=answer.emitted,
        changes=[
            pb.DoctorChange(code=each.code, was=each.was, now=each.now) for each in answer.changes
        ],
        last_run_unix_s=answer.last_unix_s,
        notes=answer.notes,
    )


def _check(result: Result) -> pb.DoctorCheck:
    return pb.DoctorCheck(
        code=result.code,
        title=result.title,
        group=result.group,
        group_title=GROUPS[result.group],
        cost=result.cost,
        state=STATES[result.state],
        observed=result.observed,
        wanted=result.wanted,
        reason=result.reason,
        evidence=[
            pb.CheckEvidence(path=each.path, value=each.value, key=each.key)
            for each in result.evidence
        ],
        fix=result.fix,
        command=result.command,
        reference=result.reference,
        cost_us=result.cost_us,
        cost_why=result.cost_why,
    )
