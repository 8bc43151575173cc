"""The table of exit codes."""

from __future__ import annotations

import grpc
import pytest

from byteorctl.exit_codes import BY_REASON, BY_STATUS, Exit, exit_for


def test_every_grpc_status_has_an_exit_code() -> None:
    """A status that gRPC can return never falls through to the internal error by accident."""
    assert set(BY_STATUS) == {status.name for status in grpc.StatusCode}


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("OK", "", 0),
        ("FAILED_PRECONDITION", "STAGE_FAILED", 1),
        ("INVALID_ARGUMENT", "INVALID_ARGUMENT", 2),
        ("DATA_LOSS", "BAD_REGION", 65),
        ("NOT_FOUND", "NOT_FOUND", 66),
        ("UNAVAILABLE", "", 69),
        ("INTERNAL", "INTERNAL", 70),
        ("RESOURCE_EXHAUSTED", "SHM_FULL", 75),
        ("ABORTED", "", 75),
        ("PERMISSION_DENIED", "PERMISSION_DENIED", 77),
        ("UNAUTHENTICATED", "", 77),
        ("INVALID_ARGUMENT", "INVALID_DOCUMENT", 78),
        ("INVALID_ARGUMENT", "SPEC_STAGE_UNKNOWN", 78),
        ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", 124),
        ("CANCELLED", "", 130),
        ("A_STATUS_OF_THE_FUTURE", "", 70),
    ],
)
def test_statuses_and_reasons_map_to_the_published_codes(
    status: str, reason: str, code: int
) -> None:
    """Each kind of failure has the code that the product page promises."""
    assert exit_for(status, reason) == code


def test_reasons_only_refine_known_statuses() -> None:
    """A reason never applies to a status that does not exist."""
    assert {status for status, _ in BY_REASON} <= set(BY_STATUS)


def test_exit_codes_are_the_published_ones() -> None:
    """No code outside the contract can be returned."""
    assert {int(code) for code in Exit} == {0, 1, 2, 65, 66, 69, 70, 75, 77, 78, 124, 130}
