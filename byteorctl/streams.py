"""Calls that go on for a while, as `byteorctl.client` hands them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import grpc

from byteorctl.errors import CallError
from byteorctl.exit_codes import exit_for

T = TypeVar("T")


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
