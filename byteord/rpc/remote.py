"""The remote door: mutual TLS 1.3 on a TCP port, whose connections go through the accept gate.

TLS ends here and not in gRPC, so that the version is certain, a certificate becomes an identity in
one place, and files that change are read again without losing a connection. Owns the listening
port. Nobody is resumed: each connection shows its certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
import stat
from typing import Any

from structlog.typing import FilteringBoundLogger

from byteord.deployment.config import Tls
from byteord.errors import InvalidDocumentError, UnavailableError
from byteord.rpc.gate import BACKLOG, Gate
from byteord.rpc.identity import Identity

HANDSHAKE_S = 10.0
LOOK_S = 1.0
_COMMON_NAME = re.compile(r"[A-Za-z0-9@._+-]{1,128}\Z")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[\x21-\x7e]{1,200}\Z")
_Mark = tuple[tuple[int, int, int], ...]


class RemoteDoor:
    """Serves one TCP port between `start` and `stop`."""

    def __init__(self, address: str, tls: Tls, gate: Gate, log: FilteringBoundLogger) -> None:
        """`address`: host:port. Nothing is read or bound yet."""
        self._address, self._tls, self._gate, self._log = address, tls, gate, log
        self._listener: socket.socket | None = None
        self._server: asyncio.AbstractServer | None = None
        self._task: asyncio.Task[None] | None = None
        self._mark: _Mark = ()

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._listener.getsockname()[1]) if self._listener is not None else 0

    async def start(self) -> None:
        """Read the files, bind, accept.

        Raises InvalidDocumentError (TLS_UNUSABLE), UnavailableError (ADDRESS_NOT_BOUND).
        """
        self._mark = _mark(self._tls)
        context = make_context(self._tls)
        self._listener = _bind(self._address)
        self._server = await self._serve(context)
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Accept nothing more; what is connected is the gate's to end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()

    async def look(self) -> None:
        """Read the files again if they changed; what cannot be used is told and left alone."""
        mark = _mark(self._tls)
        if mark == self._mark or self._server is None:
            return
        self._mark = mark
        try:
            context = await asyncio.to_thread(make_context, self._tls)
        except InvalidDocumentError as error:
            self._log.error("tls.unusable", problem=error.message)
            return
        before, self._server = self._server, await self._serve(context)
        before.close()
        self._log.info("tls.reloaded", address=self._address)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def _serve(self, context: ssl.SSLContext) -> asyncio.AbstractServer:
        if self._listener is None:
            raise RuntimeError("the remote door is not open")
        return await asyncio.get_running_loop().create_server(
            lambda: self._gate.outer(_who), sock=self._listener.dup(), ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S,
        )  # fmt: skip


def make_context(tls: Tls) -> ssl.SSLContext:
    """Return what the port speaks; raise InvalidDocumentError (TLS_UNUSABLE), naming the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    context.set_alpn_protocols(["h2"])
    where = tls.key
    try:
        if stat.S_IMODE(os.stat(tls.key).st_mode) & 0o077:
            raise _unusable(tls.key, "others may read it; chmod 600")
        where = f"{tls.certificate} with {tls.key}"
        context.load_cert_chain(tls.certificate, tls.key)
        where = tls.client_ca
        context.load_verify_locations(tls.client_ca)
    except OSError as error:  # SSLError is one
        raise _unusable(where, error.strerror or str(error)) from error
    return context


def principal_of(certificate: dict[str, Any]) -> str:
    """Return the name that a verified certificate gives its owner; empty when it gives none.

    Its one URI (SPIFFE), else the one common name of its subject. A common name cannot look like a
    URI, so neither can pass for the other.
    """
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if uris:
        return uris[0] if len(uris) == 1 and _URI.match(uris[0]) else ""
    names = [
        value
        for part in certificate.get("subject", ())
        for kind, value in part
        if kind == "commonName"
    ]
    return names[0] if len(names) == 1 and _COMMON_NAME.match(names[0]) else ""


def _who(transport: asyncio.Transport) -> Identity:
    """Return who is behind a connection; OSError, which ends it, for a nameless certificate."""
    certificate = transport.get_extra_info("peercert") or {}
    name = principal_of(certificate)
    if not name:
        raise OSError("the certificate names nobody")
    peer = transport.get_extra_info("peername") or ("", 0)
    return Identity(
        uid=-1,
        gids=frozenset(),
        certificate=name,
        expires_unix=float(ssl.cert_time_to_seconds(certificate["notAfter"])),
        address=f"{peer[0]}:{peer[1]}",
    )


def _bind(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"listen.tcp {address}: cannot be bound ({error.strerror or error}); wanted an address "
            "of this host and a free port",
            reason="ADDRESS_NOT_BOUND",
        ) from error
    return listener


def _mark(tls: Tls) -> _Mark:
    """Return what changes when one of the files does."""
    found = []
    for path in (tls.certificate, tls.key, tls.client_ca):
        with contextlib.suppress(OSError):
            seen = os.stat(path)
            found.append((seen.st_ino, seen.st_size, seen.st_mtime_ns))
    return tuple(found)


def _unusable(path: str, what: str) -> InvalidDocumentError:
    return InvalidDocumentError(
        f"tls: {path}: {what}; wanted PEM files of a certificate, its key and the authority of the "
        "clients' certificates",
        reason="TLS_UNUSABLE",
        details={"file": path},
    )
