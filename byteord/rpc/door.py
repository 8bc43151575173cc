"""The door of the API: who is behind a connection, and whether they may call a method.

Each refusal is written down, bounded for each principal, by whoever governs the daemon. Calls that
go on are looked at again and again: they end when their caller may not make them any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from byteord.errors import ByteorError, DeniedError, UnauthenticatedError
from byteord.rpc.identity import Grants, Identities, Identity

LOOK_S = 1.0


class Scribe(Protocol):
    """Writes denied attempts down."""

    def denied(
        self, principal: str, method: str, error: ByteorError, facts: Mapping[str, Any]
    ) -> None:
        """Write down a denied attempt; never raises."""


@dataclass(slots=True, eq=False)
class OpenCall:
    """A call that is under way; `ended_by` says why the door ended it."""

    peer: str
    method: str
    task: asyncio.Task[Any]
    ended_by: ByteorError | None = None


def _same() -> Grants | None:
    """Return no news of grants."""
    return None


class LocalDoor:
    """Lets calls in by role, of local connections and of remote ones."""

    def __init__(
        self, grants: Grants, scribe: Scribe, *, renewed: Callable[[], Grants | None] = _same
    ) -> None:
        """Know nobody yet: the accept gate fills `identities`.

        `renewed`: returns the grants when they have changed, called every second in a thread.
        """
        self.identities = Identities()
        self._grants, self._scribe, self._renewed = grants, scribe, renewed
        self._calls: set[OpenCall] = set()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to look after open calls."""
        self._task = asyncio.get_running_loop().create_task(self._patrol())

    async def close(self) -> None:
        """Look after them no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def enter(self, peer: str, method: str) -> str:
        """Return the principal of a call that is allowed.

        Raises UnauthenticatedError, DeniedError (ROLE_MISSING).
        """
        who = self.identities.of(peer)
        try:
            self._check(who, method)
        except DeniedError as error:
            await asyncio.to_thread(self._scribe.denied, who.principal, method, error, who.facts)
            raise
        return who.principal

    @contextlib.contextmanager
    def held(self, peer: str, method: str) -> Iterator[OpenCall]:
        """Look after the call that the running task answers, until the block is left."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call is answered by a task")
        call = OpenCall(peer, method, task)
        self._calls.add(call)
        try:
            yield call
        finally:
            self._calls.discard(call)

    def principal(self, peer: str) -> str:
        """Return who is behind a connection; raise UnauthenticatedError."""
        return self.identities.of(peer).principal

    def sees_payloads(self, peer: str) -> bool:
        """Tell whether who is behind a connection may see what messages say."""
        return self._grants.sees_payloads(self.identities.of(peer))

    def look(self) -> None:
        """End the calls whose callers may not make them any more."""
        for call in list(self._calls):
            try:
                self._check(self.identities.of(call.peer), call.method)
            except UnauthenticatedError as error:
                self._end(call, error)
            except DeniedError as error:
                self._end(call, error)

    def _end(self, call: OpenCall, error: ByteorError) -> None:
        if call.ended_by is None:
            call.ended_by = error
            call.task.cancel()

    def _check(self, who: Identity, method: str) -> None:
        if time.time() >= who.expires_unix:
            raise UnauthenticatedError(
                f"{method}: the certificate of {who.principal} has expired; wanted one that is "
                "valid; connect with a new one",
                reason="CERTIFICATE_EXPIRED",
            )
        self._grants.check(who, method)

    async def _patrol(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if (renewed := await asyncio.to_thread(self._renewed)) is not None:
                self._grants = renewed
            self.look()
