"""What happens around every call of the API: deadline, log, metrics, and what an exception becomes.

Owns no decision about any particular method. An error of the domain ends a call with its status;
anything else is a bug: the caller learns an id to quote, the log gets the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, Protocol

import grpc
from structlog.typing import FilteringBoundLogger

from byteord.errors import ByteorError, InvalidArgumentError
from byteord.rpc.door import OpenCall
from byteord.rpc.status import code_of, to_status

API_PREFIX = "/byteor."


class Door(Protocol):
    """Says who may call what."""

    async def enter(self, peer: str, method: str) -> str:
        """Return the principal behind a connection that may call a method; raise otherwise."""

    def held(self, peer: str, method: str) -> contextlib.AbstractContextManager[OpenCall]:
        """Look after the call of the running task: it is cancelled when it may go on no more."""


class Calls(Protocol):
    """Is told of every call of the API."""

    def started(self, method: str) -> None:
        """Count a call of `StartRun` or another that begins."""

    def finished(self, method: str, code: str, seconds: float) -> None:
        """Count a call that ended with the named status after that many seconds."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of `byteor.*` services; others (health, reflection) pass through."""

    def __init__(self, log: FilteringBoundLogger, calls: Calls, door: Door) -> None:
        self._log = log
        self._calls = calls
        self._door = door

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the handler of a call, wrapped."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(API_PREFIX):
            return handler
        name = method.rpartition("/")[2]
        if handler.unary_unary:
            wrapped = self._unary(name, handler.unary_unary, deadline_wanted=True)
            make = grpc.unary_unary_rpc_method_handler
        elif handler.stream_unary:
            wrapped = self._unary(name, handler.stream_unary, deadline_wanted=False)
            make = grpc.stream_unary_rpc_method_handler
        elif handler.unary_stream:
            wrapped = self._stream(name, handler.unary_stream)
            make = grpc.unary_stream_rpc_method_handler
        else:
            wrapped = self._stream(name, handler.stream_stream)
            make = grpc.stream_stream_rpc_method_handler
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _unary(self, name: str, behaviour: Any, *, deadline_wanted: bool) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            started = self._start(name)
            who: dict[str, str] = _request_id(request)
            call: OpenCall | None = None
            try:
                who["principal"] = await self._door.enter(context.peer(), name)
                if deadline_wanted:
                    _check_deadline(name, context)
                with self._door.held(context.peer(), name) as call:
                    answer = await behaviour(request, context)
            except BaseException as error:  # noqa: BLE001  boundary: becomes a status or goes on
                await self._fail(name, started, _cause(error, call), context, who)
            self._finish(name, "OK", started, who)
            return answer

        return handle

    def _stream(self, name: str, behaviour: Any) -> Any:
        async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
            started = self._start(name)
            who: dict[str, str] = {}
            answers = behaviour(request, context)
            call: OpenCall | None = None
            try:
                who["principal"] = await self._door.enter(context.peer(), name)
                with self._door.held(context.peer(), name) as call:
                    async for answer in answers:
                        yield answer
            except BaseException as error:  # noqa: BLE001  boundary: becomes a status or goes on
                await self._fail(name, started, _cause(error, call), context, who)
            finally:
                await answers.aclose()
            self._finish(name, "OK", started, who)

        return handle

    async def _fail(
        self, name: str, started: float, error: BaseException, context: Any, who: dict[str, str]
    ) -> NoReturn:
        """End the call with the status that belongs to `error`; never returns."""
        if isinstance(error, ByteorError):
            self._finish(name, code_of(error).name, started, {**who, "reason": error.reason})
            await context.abort_with_status(to_status(error))
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._finish(name, "CANCELLED", started, who)
            raise error
        if isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
            raise error
        await self._abort_unexpected(name, started, error, context)
        raise error

    async def _abort_unexpected(
        self, name: str, started: float, error: Exception, context: Any
    ) -> None:
        number = uuid.uuid4().hex[:12]
        self._log.error("rpc.crashed", method=name, error_id=number, exc_info=error)
        self._finish(name, "INTERNAL", started, {"reason": "INTERNAL"})
        hidden = ByteorError(
            f"{name}: an error inside byteord, logged there as error_id {number}; "
            "send that log entry to whoever runs it",
            details={"error_id": number},
        )
        await context.abort_with_status(to_status(hidden))

    def _start(self, name: str) -> float:
        self._calls.started(name)
        return time.monotonic()

    def _finish(self, name: str, code: str, started: float, data: dict[str, str]) -> None:
        seconds = time.monotonic() - started
        self._calls.finished(name, code, seconds)
        say = self._log.debug if code == "OK" else self._log.info
        say("rpc.finished", method=name, code=code, duration_s=round(seconds, 6), **data)


def _cause(error: BaseException, call: OpenCall | None) -> BaseException:
    """Return why a call ends: what the door says, where it was the door that cancelled it."""
    if call is None or call.ended_by is None or not isinstance(error, asyncio.CancelledError):
        return error
    call.task.uncancel()
    return call.ended_by


def _request_id(request: Any) -> dict[str, str]:
    """Return the id that a mutation came with; streams of requests have none."""
    request_id = getattr(request, "request_id", "")
    return {"request_id": request_id[:64]} if isinstance(request_id, str) and request_id else {}


def _check_deadline(name: str, context: Any) -> None:
    if context.time_remaining() is None:
        raise InvalidArgumentError(
            f"{name}: seen a call without a deadline; wanted one, so that nothing waits for ever; "
            "set a timeout in the client",
            reason="DEADLINE_MISSING",
        )
