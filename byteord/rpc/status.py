"""The one place where an error of the domain becomes a gRPC status with rich details.

Every status carries `google.rpc.ErrorInfo` (reason, domain "byteor", details as metadata); a
document's findings travel as `BadRequest`, a refusal by policy as `PreconditionFailure`, and
UNAVAILABLE says when to try again in `RetryInfo`. All of it stays below what gRPC clients accept as
metadata, so a long list of findings ends with how many were left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from byteord.errors import (
    AdapterError,
    AlreadyExistsError,
    ByteorError,
    DataError,
    DeadlineError,
    DeniedError,
    InvalidArgumentError,
    InvalidDocumentError,
    NotFoundError,
    RegionError,
    ResourceError,
    StageError,
    UnauthenticatedError,
    UnavailableError,
    WrongStateError,
)

DOMAIN = "byteor"
DETAILS_BYTES_MAX = 3500
"""Of the serialized status: clients allow 8 KiB of metadata, and the message is sent twice."""
TEXT_CHARACTERS_MAX = 900
METADATA_CHARACTERS_MAX = 300
RETRY_AFTER_S = 1

TABLE: dict[type[ByteorError], grpc.StatusCode] = {
    ByteorError: grpc.StatusCode.INTERNAL,
    InvalidDocumentError: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    DataError: grpc.StatusCode.DATA_LOSS,
    RegionError: grpc.StatusCode.DATA_LOSS,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    WrongStateError: grpc.StatusCode.FAILED_PRECONDITION,
    StageError: grpc.StatusCode.FAILED_PRECONDITION,
    AdapterError: grpc.StatusCode.FAILED_PRECONDITION,
    DeniedError: grpc.StatusCode.PERMISSION_DENIED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    ResourceError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""By the nearest class in an error's ancestry."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one key of a document that came with a request."""

    code: str
    field: str
    """Where: `spec.stages.2.depends_on`."""
    seen: str
    wanted: str
    fix: str

    def __str__(self) -> str:
        return f"saw {self.seen}; wanted {self.wanted}; {self.fix}"


class RefusedDocumentsError(InvalidDocumentError):
    """Documents that validation refused, with every finding that is an error."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        first = violations[0]
        more = len(violations) - 1
        tail = f" (and {more} more)" if more else ""
        super().__init__(f"{first.field}: {first.code}: {first}{tail}")
        self.violations = tuple(violations)


def code_of(error: ByteorError) -> grpc.StatusCode:
    """Return the gRPC code of an error."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def to_status(error: ByteorError) -> grpc.Status:
    """Return the gRPC status of an error, for `context.abort_with_status`."""
    return rpc_status.to_status(to_message(error))


def to_message(error: ByteorError) -> status_pb2.Status:
    """Return the `google.rpc.Status` of an error, bounded in size."""
    status = status_pb2.Status(
        code=code_of(error).value[0], message=_clipped(error.message, TEXT_CHARACTERS_MAX)
    )
    for detail in _details(error):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    if isinstance(error, RefusedDocumentsError):
        _add_violations(status, error.violations)
    return status


def _details(error: ByteorError) -> Iterator[Message]:
    metadata = {
        key: _clipped(value, METADATA_CHARACTERS_MAX)
        for key, value in list(error.details.items())[:8]
    }
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    code = code_of(error)
    if code is grpc.StatusCode.UNAVAILABLE:
        delay = duration_pb2.Duration(seconds=RETRY_AFTER_S)
        yield error_details_pb2.RetryInfo(retry_delay=delay)
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION):
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=error.reason,
            subject=next(iter(metadata.values()), ""),
            description=_clipped(error.message, METADATA_CHARACTERS_MAX),
        )
        yield error_details_pb2.PreconditionFailure(violations=[violation])


def _add_violations(status: status_pb2.Status, violations: Sequence[Violation]) -> None:
    """Append as many violations as fit, and say how many did not."""
    room = DETAILS_BYTES_MAX - status.ByteSize()
    bad = error_details_pb2.BadRequest()
    for index, violation in enumerate(violations):
        one = error_details_pb2.BadRequest.FieldViolation(
            field=_clipped(violation.field, METADATA_CHARACTERS_MAX),
            description=_clipped(str(violation), METADATA_CHARACTERS_MAX),
            reason=violation.code,
        )
        if bad.ByteSize() + one.ByteSize() + 200 > room:
            rest = len(violations) - index
            text = f"{rest} more findings did not fit in here: validate lists them all"
            bad.field_violations.add(description=text, reason="MORE_FINDINGS")
            break
        bad.field_violations.append(one)
    packed = any_pb2.Any()
    packed.Pack(bad)
    status.details.append(packed)


def _clipped(text: str, characters_max: int) -> str:
    """Return `text` cut to at most `characters_max` bytes of UTF-8."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= characters_max:
        return text
    return raw[: characters_max - 3].decode("utf-8", "ignore") + "..."
