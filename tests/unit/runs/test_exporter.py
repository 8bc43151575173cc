"""The metrics over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from byteord.errors import (
    AlreadyExistsError,
    ByteorError,
    DeniedError,
    InvalidArgumentError,
    UnavailableError,
)
from byteord.telemetry.calls import GrpcCalls
from byteord.telemetry.exporter import Collector, Exporter, parse_address
from byteord.telemetry.metrics import CONTENT_TYPE


@contextlib.contextmanager
def serving(collect: Callable[[], str], address: str = "127.0.0.1:0") -> Iterator[Exporter]:
    """Serve for the length of a test."""
    exporter = Exporter(address, collect)
    try:
        yield exporter
    finally:
        exporter.close()


def ask(exporter: Exporter, method: str = "GET", path: str = "/metrics") -> tuple[int, str, bytes]:
    """Return status, content type and body of an answer."""
    host, _, port = exporter.address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()


def collector() -> Collector:
    """Return a collector of a daemon without runs."""
    return Collector(version="1.2.3", runs=list, calls=GrpcCalls())


def test_serves_the_page_with_its_content_type() -> None:
    """GET gives the metrics, HEAD their head, another path a hint."""
    with serving(collector().text) as exporter:
        status, kind, body = ask(exporter)
        assert (status, kind) == (200, CONTENT_TYPE)
        assert b'byteor_build_info{version="1.2.3"' in body
        assert b"process_resident_memory_bytes" in body
        assert ask(exporter, path="/metrics?x=1")[0] == 200
        assert ask(exporter, "HEAD")[::2] == (200, b"")
        assert ask(exporter, path="/")[0] == 404
        assert ask(exporter, "POST")[0] == 501


def test_serves_on_ipv6() -> None:
    """An address in brackets works where the host has IPv6."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        with serving(collector().text, "[::1]:0") as exporter:
            assert exporter.address.startswith("[::1]:")
            assert ask(exporter)[0] == 200
    except UnavailableError as error:
        pytest.skip(f"this host has no IPv6 loopback: {error}")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("", InvalidArgumentError),
        ("9464", InvalidArgumentError),
        ("127.0.0.1:x", InvalidArgumentError),
        ("127.0.0.1:65536", InvalidArgumentError),
        ("example.com:1", InvalidArgumentError),
        ("0.0.0.0:9464", DeniedError),
        ("[::]:9464", DeniedError),
        ("192.0.2.1:9464", DeniedError),
    ],
)
def test_only_loopback_addresses_are_taken(address: str, error: type[ByteorError]) -> None:
    """What is no address, and what others can reach, is refused before anything listens."""
    with pytest.raises(error) as caught:
        parse_address(address)
    assert repr(address) in caught.value.message


def test_an_address_in_use_is_named() -> None:
    """A second server on the same port is refused by name."""
    with serving(collector().text) as exporter:
        with pytest.raises(AlreadyExistsError) as caught:
            Exporter(exporter.address, collector().text)
        assert caught.value.reason == "ADDRESS_IN_USE"
        assert exporter.address in caught.value.message


def test_the_address_is_free_again_after_closing() -> None:
    """Closing frees the port at once, connections or not."""
    with serving(collector().text) as exporter:
        ask(exporter)
        address = exporter.address
    with serving(collector().text, address) as again:
        assert ask(again)[0] == 200


def test_a_failing_collection_is_told_to_the_scraper() -> None:
    """A bug in collecting is an answer with its text, and the next scrape is served."""
    failures = [ZeroDivisionError("boom")]

    def collect() -> str:
        if failures:
            raise failures.pop()
        return "ok 1\n"

    with serving(collect) as exporter:
        status, _, body = ask(exporter)
        assert (status, b"boom" in body) == (500, True)
        assert ask(exporter) == (200, CONTENT_TYPE, b"ok 1\n")


def test_clients_that_say_nothing_do_not_starve_scrapers() -> None:
    """Idle connections are bounded, and one scraper after them is answered."""
    with serving(collector().text) as exporter:
        host, _, port = exporter.address.rpartition(":")
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            assert ask(exporter)[0] == 200
            idle = [
                stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
                for _ in range(20)
            ]
            assert idle[-1].recv(1) == b""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                if ask(exporter)[0] == 200:
                    return
        pytest.fail("no answer within 10 s of the idle clients' end")


def test_answers_while_the_main_thread_is_busy() -> None:
    """A loop that never yields in Python code does not keep the metrics from being read."""
    with serving(collector().text) as exporter:
        answered = threading.Event()

        def scrape() -> None:
            assert ask(exporter)[0] == 200
            answered.set()

        thread = threading.Thread(target=scrape)
        thread.start()
        deadline = time.monotonic() + 10
        while not answered.is_set() and time.monotonic() < deadline:
            sum(range(1000))
        thread.join()
        assert answered.is_set()
