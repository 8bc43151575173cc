"""A real HTTPS server with an authority of its own, that counts its posts and misbehaves."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Name = x509.Name


def _name(text: str) -> Name:
    return Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make_certificates(directory: Path, host: str = "127.0.0.1") -> tuple[str, str]:
    """Write an authority and a server's certificate; return their paths."""
    now = dt.datetime.now(dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [_name("test authority"), _name(host)]
    found: list[x509.Certificate] = []
    for index in range(2):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[index])
            .issuer_name(names[0])
            .public_key(keys[index].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=index == 0, path_length=None), critical=True)
        )
        if index:
            names_of = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
            builder = builder.add_extension(names_of, critical=False)
        found.append(builder.sign(keys[0], hashes.SHA256()))
    pem = serialization.Encoding.PEM
    (directory / "ca.pem").write_bytes(found[0].public_bytes(pem))
    private = keys[1].private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "server.pem").write_bytes(found[1].public_bytes(pem) + private)
    return str(directory / "ca.pem"), str(directory / "server.pem")


@dataclass
class Hook:
    """The server: what was posted, in order of arrival, and what it answers."""

    url: str = ""
    ca: str = ""
    posts: list[tuple[str, bytes]] = field(default_factory=list)
    """Idempotency key and body of each post that was answered with success."""
    attempts: list[tuple[str, bytes, float]] = field(default_factory=list)
    """The same and the time, of each post that arrived."""
    script: list[Any] = field(default_factory=list)
    """Answers to give first.

    A status, (429, "seconds"), a delay in seconds (float), "close", "drip" (its answer never comes
    to an end), "flood" (the status, then a body without end).
    """
    connections: int = 0
    always: Any = 200
    at_once: int = 0
    """Most posts that were in hand at the same time."""
    in_hand: int = 0
    lock: Any = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hook: Hook

    def setup(self) -> None:
        """Count connections."""
        super().setup()
        self.hook.connections += 1

    def do_POST(self) -> None:
        """Take a post and answer by the script."""
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # whoever sent it was killed meanwhile: no post
            self.close_connection = True
            return
        with self.hook.lock:
            self.hook.in_hand += 1
            self.hook.at_once = max(self.hook.at_once, self.hook.in_hand)
        try:
            self._answer(body)
        finally:
            with self.hook.lock:
                self.hook.in_hand -= 1

    def _answer(self, body: bytes) -> None:
        key = self.headers.get("Idempotency-Key", "")
        self.hook.attempts.append((key, body, time.monotonic()))
        answer = self.hook.script.pop(0) if self.hook.script else self.hook.always
        if isinstance(answer, float):
            threading.Event().wait(answer)
            answer = 200
        if answer == "close":
            self.close_connection = True
            return
        if answer in ("drip", "flood"):
            self._misbehave(answer == "flood")
            return
        status, wait = answer if isinstance(answer, tuple) else (answer, "")
        if status == 200:
            self.hook.posts.append((key, body))
        self.send_response(status)
        if wait:
            self.send_header("Retry-After", wait)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def _misbehave(self, flood: bool) -> None:
        """Send on and on until the client hangs up."""
        self.close_connection = True
        if flood:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            self.wfile.write(b"x" * 65536 if flood else b"H")
            if not flood:
                threading.Event().wait(0.02)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the tests."""


@contextlib.contextmanager
def https_hook(directory: Path) -> Iterator[Hook]:
    """Serve on a free port of loopback until the block is left."""
    ca, server_pem = make_certificates(directory)
    hook = Hook(ca=ca)
    handler = type("Handler", (_Handler,), {"hook": hook})
    server = _Server(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_pem)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    hook.url = f"https://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
