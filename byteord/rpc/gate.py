"""The accept gate: asks the kernel who connects, then hands the bytes to gRPC and back.

gRPC's local credentials check nobody, so the public socket is ours. The gate reads SO_PEERCRED and
SO_PEERGROUPS (the first has the primary group only) and opens an inner connection whose own end has
an abstract name that nobody can guess; gRPC reports that name as the peer of each call, by which
the identity is found. The inner socket lies in a directory that only the daemon can enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

from byteord.rpc.identity import Identities, Identity

SO_PEERGROUPS = 59
CONNECTIONS_MAX = 1024
BACKLOG = 128
_GROUPS_MAX = 65_536
_CRED = struct.Struct("iII")
_HIGH_WATER_BYTES = 4 << 20
_EARLY_BYTES_MAX = 1 << 20


Identify = Callable[[asyncio.Transport], Identity]
"""Tells who is at the other end of a connection; OSError ends it."""


class Gate:
    """Serves the public socket between `start` and `stop`."""

    def __init__(self, inner_path: str, identities: Identities) -> None:
        """`inner_path`: where gRPC listens."""
        self._inner_path = inner_path
        self._identities = identities
        self._server: asyncio.AbstractServer | None = None
        self._pairs: set[_Pair] = set()
        """Of the local socket and of every other door that uses this gate."""

    async def start(self, listener: socket.socket) -> None:
        """Accept on a bound socket, which is the gate's from now on."""
        listener.listen(BACKLOG)
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: self.outer(_local), sock=listener)

    async def stop(self) -> None:
        """Accept nothing more and end what is connected."""
        if self._server is not None:
            self._server.close()
        for pair in list(self._pairs):
            pair.close()

    def outer(self, identify: Identify) -> asyncio.Protocol:
        """Return the protocol of a new connection, whose identity `identify` tells."""
        return _Pair(self, identify).outer

    async def connect_inner(self, pair: _Pair, who: Identity) -> None:
        """Open the inner connection of a pair under a name of its own, and remember who it is."""
        name = f"byteor-{secrets.token_hex(16)}"
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        loop = asyncio.get_running_loop()
        try:
            inner.bind(f"\0{name}")
            await loop.sock_connect(inner, self._inner_path)
        except BaseException:
            inner.close()
            raise
        if pair.ended:
            inner.close()
            return
        pair.peer = f"unix-abstract:{name}"
        self._identities.add(pair.peer, who)
        # From here on the descriptor is the loop's, also when this fails.
        await loop.create_unix_connection(lambda: pair.inner, sock=inner)

    def admit(self, pair: _Pair) -> bool:
        """Count a new connection; False when there are too many."""
        if len(self._pairs) >= CONNECTIONS_MAX:
            return False
        self._pairs.add(pair)
        return True

    def forget(self, pair: _Pair) -> None:
        """A pair has ended."""
        self._pairs.discard(pair)
        self._identities.forget(pair.peer)


class _Pair:
    """One client: its outer connection and the inner one to gRPC."""

    def __init__(self, gate: Gate, identify: Identify) -> None:
        self._gate, self._identify = gate, identify
        self.peer = ""
        self.outer = _End(self, made=self._accepted)
        self.inner = _End(self, made=self._connected)
        self.outer.other, self.inner.other = self.inner, self.outer
        self._task: asyncio.Task[None] | None = None
        self.ended = False

    def _accepted(self, transport: asyncio.Transport) -> None:
        if not self._gate.admit(self):
            transport.abort()
            return
        try:
            who = self._identify(transport)
        except OSError:
            transport.abort()
            self.close()
            return
        self._task = asyncio.get_running_loop().create_task(self._connect(who))

    async def _connect(self, who: Identity) -> None:
        try:
            await self._gate.connect_inner(self, who)
        except OSError:
            self.close()

    def _connected(self, transport: asyncio.Transport) -> None:
        if self.ended:
            asyncio.get_running_loop().call_soon(transport.close)
        else:
            self.outer.flush_early()

    def close(self) -> None:
        """End both connections, letting out what is still to be written."""
        if self.ended:
            return
        self.ended = True
        self._gate.forget(self)
        for end in (self.outer, self.inner):
            if end.transport is not None:
                end.transport.close()


class _End(asyncio.Protocol):
    """One of the two connections: what it reads goes to the other, which may slow it down."""

    def __init__(self, pair: _Pair, made: Callable[[asyncio.Transport], None]) -> None:
        self._pair, self._made = pair, made
        self.transport: asyncio.Transport | None = None
        self.other: _End = self
        self._early: list[bytes] = []
        """What came before the other connection was there."""

    def flush_early(self) -> None:
        """Pass on what came early; the other connection is there now."""
        if self.other.transport is not None:
            self.other.transport.writelines(self._early)
        self._early = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._made(self.transport)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        if self.other.transport is not None:
            if not self.other.transport.is_closing():  # else nobody is there to read it
                self.other.transport.write(data)
            return
        self._early.append(data)
        if sum(map(len, self._early)) > _EARLY_BYTES_MAX:
            self._pair.close()

    def eof_received(self) -> bool:
        """Pass on that there is no more, and stay open for the other direction."""
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            if self.other.transport is not None and self.other.transport.can_write_eof():
                self.other.transport.write_eof()
                return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """End the other one too."""
        del error
        self._pair.close()

    def pause_writing(self) -> None:
        """Have the other one read no more for now."""
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Have the other one read again."""
        if self.other.transport is not None:
            self.other.transport.resume_reading()


def _local(transport: asyncio.Transport) -> Identity:
    return peer_of(transport.get_extra_info("socket"))


def peer_of(connection: Any) -> Identity:
    """Return who is at the other end of a connected Unix socket."""
    pid, uid, gid = _CRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CRED.size)
    )
    raw = _peer_groups(connection.fileno())
    groups = struct.unpack(f"{len(raw) // 4}I", raw)
    return Identity(uid, frozenset({gid, *groups}), pid)


def _peer_groups(descriptor: int) -> bytes:
    """Return all groups; `socket.getsockopt` takes 1024 bytes at most, which is 256 of them."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(4 * _GROUPS_MAX)
    size = ctypes.c_uint32(len(buffer))
    if libc.getsockopt(descriptor, socket.SOL_SOCKET, SO_PEERGROUPS, buffer, ctypes.byref(size)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[: size.value]
