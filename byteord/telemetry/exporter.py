"""Serves the metrics over HTTP from a thread of its own, which reads shared memory itself.

So an answer costs the event loop nothing and comes even when the loop is wedged. It listens on
loopback only: what listens elsewhere needs TLS and client certificates, which is not its business.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from byteord.doctor.model import Report
from byteord.errors import (
    AlreadyExistsError,
    DeniedError,
    InvalidArgumentError,
    RegionError,
    UnavailableError,
)
from byteord.regions.reader import RunReader
from byteord.runs.state import RunState
from byteord.runs.view import GovernanceSample
from byteord.telemetry.calls import GrpcCalls
from byteord.telemetry.metrics import BOUNDS_NS, CONTENT_TYPE, RunSample, Sample, render
from byteord.telemetry.process import ProcessStats, process_stats
from byteord.tuning.monitor import read_report

_CONNECTIONS_MAX = 8
_CLIENT_TIMEOUT_S = 5.0
_CLOSE_S = 0.05
"""How often the server looks whether it is to close."""


class Target(Protocol):
    """A live run as far as the exporter looks at it, from its own thread."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """The name of its spec."""

    @property
    def state(self) -> RunState:
        """Where it is in its life."""

    @property
    def directory(self) -> str:
        """Its regions; empty while they are being made."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended and whose regions are still there, as a target."""

    id: str
    name: str
    state: RunState
    directory: str


class Collector:
    """Takes samples: attaches to the regions of every live run, and lets go of those that ended."""

    def __init__(
        self,
        *,
        version: str,
        runs: Callable[[], Sequence[Target]],
        calls: GrpcCalls,
        watches: Callable[[], int] = lambda: 0,
        doctor: Callable[[], Report | None] = lambda: None,
        governance: Callable[[], GovernanceSample] = GovernanceSample,
        bundles: Callable[[], tuple[Mapping[str, int], int]] = lambda: ({}, 0),
    ) -> None:
        """Read nothing yet. All callables are called from the exporter's threads."""
        self._version = version
        self._runs = runs
        self._calls = calls
        self._watches = watches
        self._doctor = doctor
        self._governance = governance
        self._bundles = bundles
        self._readers: dict[str, RunReader] = {}
        self._lock = threading.Lock()
        self._scrape_s = 0.0
        self._errors = 0

    def text(self) -> str:
        """Return the metrics now, one caller at a time."""
        with self._lock:
            begun = time.perf_counter()
            text = render(self._sample())
            self._scrape_s = time.perf_counter() - begun
            return text

    def close(self) -> None:
        """Let go of all regions."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()

    def _sample(self) -> Sample:
        targets = self._runs()
        self._forget({target.id for target in targets})
        written, failed = self._bundles()
        return Sample(
            version=self._version,
            python=platform.python_version(),
            runs=[self._run(target) for target in targets],
            calls=self._calls.snapshot(),
            watches=self._watches(),
            doctor=self._doctor(),
            governance=self._governance(),
            bundles=dict(written),
            bundles_failed=failed,
            daemon=process_stats(os.getpid(), own=True),
            scrape_s=self._scrape_s,
            scrape_errors=self._errors,
        )

    def _forget(self, live: set[str]) -> None:
        for run_id in [each for each in self._readers if each not in live]:
            self._readers.pop(run_id).close()

    def _run(self, target: Target) -> RunSample:
        try:
            reader = self._reader(target)
            read = None if reader is None else reader.read()
        except (RegionError, OSError):
            self._errors += 1
            reader = read = None
        if reader is None or read is None:
            return RunSample(target.id, target.name, target.state)
        return RunSample(
            target.id,
            target.name,
            target.state,
            read,
            lambda role, which: reader.histogram(role, which, BOUNDS_NS),
            _processes(read["roles"]),
            read_report(target.directory),
            lambda worker: reader.gap_histogram(worker, BOUNDS_NS),
        )

    def _reader(self, target: Target) -> RunReader | None:
        if target.id not in self._readers and target.directory:
            self._readers[target.id] = RunReader(target.directory)
        return self._readers.get(target.id)


def _processes(roles: Sequence[dict[str, Any]]) -> dict[int, ProcessStats]:
    found = {pid: process_stats(pid) for pid in {role["pid"] for role in roles} if pid > 0}
    return {pid: stats for pid, stats in found.items() if stats is not None}


class Exporter:
    """An HTTP server of one page, `/metrics`, on a loopback address."""

    def __init__(self, address: str, collect: Callable[[], str]) -> None:
        """Bind `host:port` (port 0: any free one) and begin to serve.

        Raises InvalidArgumentError for what is no address, DeniedError (METRICS_NOT_LOOPBACK) for
        one that others can reach, AlreadyExistsError (ADDRESS_IN_USE), UnavailableError when it
        cannot be bound.
        """
        host, port = parse_address(address)
        self._server = _bind(host, port, collect)
        bound = self._server.socket.getsockname()
        shown = f"[{bound[0]}]" if ":" in host else host
        self.address = f"{shown}:{bound[1]}"
        """Where it listens."""
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": _CLOSE_S},
            name="metrics",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the address."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`; see `Exporter` for the errors."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the largest port
        raise InvalidArgumentError(
            f"metrics address {address!r}: wanted host:port, for example 127.0.0.1:9464",
            reason="METRICS_ADDRESS",
        )
    if host == "localhost":
        host = "127.0.0.1"
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise InvalidArgumentError(
            f"metrics address {address!r}: {host!r} is no IP address; wanted one like 127.0.0.1",
            reason="METRICS_ADDRESS",
        ) from error
    if not loopback:
        raise DeniedError(
            f"metrics address {address!r}: metrics are served without TLS, so on loopback only; "
            "listen on 127.0.0.1 and put a proxy with TLS and client certificates before it",
            reason="METRICS_NOT_LOOPBACK",
        )
    return host, int(port)


def _bind(host: str, port: int, collect: Callable[[], str]) -> _Server:
    try:
        return _Server(host, port, collect)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AlreadyExistsError(
                f"metrics address {host}:{port} is in use by another process; free it, or set "
                "another metrics address (port 0 takes any free one)",
                reason="ADDRESS_IN_USE",
            ) from error
        raise UnavailableError(
            f"metrics address {host}:{port} cannot be bound: {error.strerror}",
            reason="METRICS_ADDRESS",
        ) from error


class _Server(ThreadingHTTPServer):
    """One thread a connection, eight connections; others are closed unanswered."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, host: str, port: int, collect: Callable[[], str]) -> None:
        self.collect = collect
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is its own business."""


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: _Server
    timeout = _CLIENT_TIMEOUT_S
    server_version = "byteord"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the metrics."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without them."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, kind, body = HTTPStatus.OK, CONTENT_TYPE, ""
        if self.path.partition("?")[0] == "/metrics":
            status, kind, body = self._collected()
        else:
            status, kind = HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8"
            body = "The metrics are at /metrics.\n"
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            with contextlib.suppress(OSError):
                self.wfile.write(data)

    def _collected(self) -> tuple[HTTPStatus, str, str]:
        try:
            return HTTPStatus.OK, CONTENT_TYPE, self.server.collect()
        except Exception as error:  # noqa: BLE001 - boundary: a scraper learns what is wrong
            text = f"The metrics cannot be collected: {error!r}\n"
            return HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - name of the library
        """Log nothing: a scrape is no event."""
