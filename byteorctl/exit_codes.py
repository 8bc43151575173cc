"""Exit codes of `byteorctl`, and the one table that maps gRPC statuses and reasons to them.

Pure data: imports nothing that costs start-up time. `tests/unit/test_cli_exit_codes.py` checks that
every gRPC status has an entry.
"""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """What the exit code of every verb means."""

    OK = 0
    FAILED = 1
    """A check failed, or a run ended because a stage, adapter or worker failed."""
    USAGE = 2
    DATA = 65
    """Bad input data."""
    NO_INPUT = 66
    """No such file, run or device."""
    UNAVAILABLE = 69
    """The daemon, or a program that the verb needs, cannot be reached."""
    INTERNAL = 70
    TRY_AGAIN = 75
    DENIED = 77
    """Permission or approval missing."""
    INVALID = 78
    """Invalid spec or deployment."""
    DEADLINE = 124
    INTERRUPTED = 130


BY_STATUS: dict[str, Exit] = {
    "OK": Exit.OK,
    "CANCELLED": Exit.INTERRUPTED,
    "UNKNOWN": Exit.INTERNAL,
    "INVALID_ARGUMENT": Exit.INVALID,
    "DEADLINE_EXCEEDED": Exit.DEADLINE,
    "NOT_FOUND": Exit.NO_INPUT,
    "ALREADY_EXISTS": Exit.FAILED,
    "PERMISSION_DENIED": Exit.DENIED,
    "RESOURCE_EXHAUSTED": Exit.TRY_AGAIN,
    "FAILED_PRECONDITION": Exit.FAILED,
    "ABORTED": Exit.TRY_AGAIN,
    "OUT_OF_RANGE": Exit.DATA,
    "UNIMPLEMENTED": Exit.UNAVAILABLE,
    "INTERNAL": Exit.INTERNAL,
    "UNAVAILABLE": Exit.UNAVAILABLE,
    "DATA_LOSS": Exit.DATA,
    "UNAUTHENTICATED": Exit.DENIED,
}
"""By name of the gRPC status."""

BY_REASON: dict[tuple[str, str], Exit] = {
    ("INVALID_ARGUMENT", "INVALID_ARGUMENT"): Exit.USAGE,
    ("INVALID_ARGUMENT", "DEADLINE_MISSING"): Exit.USAGE,
    ("INVALID_ARGUMENT", "CHECK_UNKNOWN"): Exit.USAGE,
    ("INVALID_ARGUMENT", "FORM_UNKNOWN"): Exit.USAGE,
    ("INVALID_ARGUMENT", "PROFILE_UNKNOWN"): Exit.USAGE,
    ("INVALID_ARGUMENT", "TOOL_UNKNOWN"): Exit.USAGE,
    ("INVALID_ARGUMENT", "REQUEST_ID_INVALID"): Exit.USAGE,
    ("INVALID_ARGUMENT", "REQUEST_ID_REUSED"): Exit.USAGE,
}
"""Where the `reason` of `google.rpc.ErrorInfo` says more than the status."""

BY_RUN_STATE: dict[str, Exit] = {
    "completed": Exit.OK,
    "stopped": Exit.OK,
    "failed": Exit.FAILED,
}
"""How a verb that stays with a run ends, by the run's last state."""


def exit_for(status: str, reason: str = "") -> Exit:
    """Return the exit code of a call that ended so; an unknown status is an internal error."""
    return BY_REASON.get((status, reason), BY_STATUS.get(status, Exit.INTERNAL))
