"""The one exception tree of the daemon, the shim and the workers.

Every error names a stable `reason` (UPPER_SNAKE, part of the contract), a message for people (the
thing, the value seen, the value wanted, the next step) and optional machine-readable `details`.
`byteord.rpc.status` alone maps them to gRPC.
"""

from __future__ import annotations

from collections.abc import Mapping


class ByteorError(Exception):
    """Base of all errors that reach a person."""

    reason = "INTERNAL"

    def __init__(
        self, message: str, *, reason: str | None = None, details: Mapping[str, str] | None = None
    ) -> None:
        """Keep the message, a more precise reason than the class's if given, and details."""
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.details: dict[str, str] = dict(details or {})


class InvalidDocumentError(ByteorError):
    """A spec, deployment or configuration that cannot be accepted (exit 78)."""

    reason = "INVALID_DOCUMENT"


class InvalidArgumentError(ByteorError):
    """A request that makes no sense whatever the state (exit 2)."""

    reason = "INVALID_ARGUMENT"


class DataError(ByteorError):
    """Input data that cannot be read as what it claims to be (exit 65)."""

    reason = "BAD_DATA"


class NotFoundError(ByteorError):
    """A run, file, stage or device that does not exist (exit 66)."""

    reason = "NOT_FOUND"


class AlreadyExistsError(ByteorError):
    """Something of that name is there already."""

    reason = "ALREADY_EXISTS"


class WrongStateError(ByteorError):
    """The thing, or the host, is not in a state that allows this (exit 1)."""

    reason = "FAILED_PRECONDITION"


class DeniedError(ByteorError):
    """Policy, configuration or an allowlist says no (exit 77)."""

    reason = "PERMISSION_DENIED"


class UnauthenticatedError(ByteorError):
    """Nobody knows who calls (exit 77)."""

    reason = "UNAUTHENTICATED"


class ResourceError(ByteorError):
    """A limit, memory or disk is exhausted (exit 75)."""

    reason = "RESOURCE_EXHAUSTED"


class UnavailableError(ByteorError):
    """Not now; trying again may help (exit 69)."""

    reason = "UNAVAILABLE"


class DeadlineError(ByteorError):
    """It did not happen in the time allowed (exit 124)."""

    reason = "DEADLINE_EXCEEDED"


class RegionError(ByteorError):
    """A region that is missing, torn, foreign, of another version or inconsistent (exit 65)."""

    reason = "BAD_REGION"


class StageError(ByteorError):
    """A stage could not be loaded, or failed on a message (exit 1)."""

    reason = "STAGE_FAILED"


class AdapterError(ByteorError):
    """An adapter could not be opened, or failed (exit 1)."""

    reason = "ADAPTER_FAILED"
