"""What a broken call says in its rich details. Only `byteorctl.client` imports this."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from google.rpc import error_details_pb2
from grpc_status import rpc_status

from byteorctl.errors import Plain


@dataclass(frozen=True, slots=True)
class Details:
    """What the daemon says of a call that it refused."""

    reason: str
    findings: list[Plain]
    retry_after_s: float


def details_of(error: Any) -> Details:
    """Decode `google.rpc` details; none when the error is the transport's own."""
    reason, findings, retry_after_s = "", [], 0.0
    status = None
    with contextlib.suppress(ValueError):
        status = rpc_status.from_call(error)
    for packed in status.details if status is not None else ():
        info, bad, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if packed.Unpack(info):
            reason = info.reason
        elif packed.Unpack(bad):
            findings += [_violation(violation) for violation in bad.field_violations]
        elif packed.Unpack(retry):
            retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return Details(reason, findings, retry_after_s)


def _violation(violation: Any) -> Plain:
    return {
        "code": violation.reason,
        "severity": "error",
        "path": violation.field,
        "fix": violation.description,
    }
