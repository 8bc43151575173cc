"""The door of the API: who is behind a connection, and whether they may call a method.

Each refusal is written down, bounded for each principal, by whoever governs the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from byteord.errors import ByteorError, DeniedError
from byteord.rpc.identity import Grants, Identities


class Scribe(Protocol):
    """Writes denied attempts down."""

    def denied(
        self, principal: str, method: str, error: ByteorError, facts: Mapping[str, Any]
    ) -> None:
        """Write down a denied attempt; never raises."""


class LocalDoor:
    """Lets calls of local connections in by role."""

    def __init__(self, grants: Grants, scribe: Scribe) -> None:
        """Know nobody yet: the accept gate fills `identities`."""
        self.identities = Identities()
        self._grants, self._scribe = grants, scribe

    async def enter(self, peer: str, method: str) -> str:
        """Return the principal of a call that is allowed.

        Raises UnauthenticatedError, DeniedError (ROLE_MISSING).
        """
        who = self.identities.of(peer)
        try:
            self._grants.check(who, method)
        except DeniedError as error:
            await asyncio.to_thread(
                self._scribe.denied, who.principal, method, error, {"pid": who.pid}
            )
            raise
        return who.principal

    def principal(self, peer: str) -> str:
        """Return who is behind a connection; raise UnauthenticatedError."""
        return self.identities.of(peer).principal

    def sees_payloads(self, peer: str) -> bool:
        """Tell whether who is behind a connection may see what messages say."""
        return self._grants.sees_payloads(self.identities.of(peer))
