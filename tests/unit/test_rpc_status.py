"""Errors of the domain as gRPC statuses: one table, rich details, bounded size."""

from __future__ import annotations

import inspect

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from byteord import errors
from byteord.errors import (
    ByteorError,
    DeniedError,
    InvalidDocumentError,
    NotFoundError,
    UnavailableError,
)
from byteord.rpc.status import (
    DETAILS_BYTES_MAX,
    TABLE,
    RefusedDocumentsError,
    Violation,
    code_of,
    to_message,
    to_status,
)


def details(status: status_pb2.Status, kind: type[Message]) -> list[Message]:
    """Return the details of a kind."""
    found = []
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            found.append(detail)
    return found


ERRORS = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, ByteorError)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_a_code_and_says_its_reason(kind: type[ByteorError]) -> None:
    """Each class of the tree is in the table, and its status carries reason, domain and message."""
    assert kind in TABLE
    status = to_message(kind("the thing is wrong", details={"thing": "x"}))
    [info] = details(status, error_details_pb2.ErrorInfo)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        kind.reason,
        "byteor",
        {"thing": "x"},
    )
    assert status.message == "the thing is wrong"
    assert status.code != grpc.StatusCode.UNKNOWN.value[0]


def test_a_subclass_has_the_code_of_its_parent() -> None:
    """An error class that the table does not name is found through its ancestors."""

    class SpecialError(NotFoundError):
        """A special one."""

    assert code_of(SpecialError("x")) is grpc.StatusCode.NOT_FOUND


def test_a_precise_reason_wins() -> None:
    """The reason given to the error is the one that travels."""
    [info] = details(
        to_message(NotFoundError("x", reason="RUN_UNKNOWN")), error_details_pb2.ErrorInfo
    )
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert info.reason == "RUN_UNKNOWN"


def test_unavailable_says_when_to_retry() -> None:
    """RetryInfo comes with UNAVAILABLE and with nothing else."""
    assert details(to_message(UnavailableError("x")), error_details_pb2.RetryInfo)
    assert not details(to_message(NotFoundError("x")), error_details_pb2.RetryInfo)


def test_a_refusal_by_policy_is_a_precondition_failure() -> None:
    """PreconditionFailure names the reason."""
    status = to_message(DeniedError("no", reason="NOT_ALLOWED", details={"path": "/x"}))
    [failure] = details(status, error_details_pb2.PreconditionFailure)
    assert isinstance(failure, error_details_pb2.PreconditionFailure)
    assert (failure.violations[0].type, failure.violations[0].subject) == ("NOT_ALLOWED", "/x")


def violations(count: int) -> list[Violation]:
    """Return that many findings, each of some length."""
    return [
        Violation("SPEC_X", f"spec.stages.{index}", "a" * 100, "b" * 100, "c" * 100)
        for index in range(count)
    ]


def test_findings_travel_as_field_violations() -> None:
    """Code, path, seen, wanted and fix of each finding reach the caller."""
    error = RefusedDocumentsError(
        [
            Violation(
                "SPEC_RING_CAPACITY", "spec.ring.capacity", "1000", "a power of two", "use 1024"
            )
        ]
    )
    assert isinstance(error, InvalidDocumentError)
    [bad] = details(to_message(error), error_details_pb2.BadRequest)
    assert isinstance(bad, error_details_pb2.BadRequest)
    [violation] = bad.field_violations
    assert violation.reason == "SPEC_RING_CAPACITY"
    assert violation.field == "spec.ring.capacity"
    assert violation.description == "saw 1000; wanted a power of two; use 1024"


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_a_status_stays_below_what_clients_accept(count: int) -> None:
    """Whatever the number of findings, the status fits, and says how many are left out."""
    status = to_message(RefusedDocumentsError(violations(count)))
    assert status.ByteSize() <= DETAILS_BYTES_MAX + 200
    [bad] = details(status, error_details_pb2.BadRequest)
    assert isinstance(bad, error_details_pb2.BadRequest)
    last = bad.field_violations[-1]
    told = len(bad.field_violations)
    if last.reason == "MORE_FINDINGS":
        assert last.description.startswith(f"{count - (told - 1)} more findings")
    else:
        assert told == count


def test_long_texts_are_cut_between_characters() -> None:
    """A message of many bytes is cut, and stays text."""
    status = to_status(ByteorError("ä" * 5000))
    assert len(status.details.encode()) <= 900
    assert status.details.endswith("ä...")
