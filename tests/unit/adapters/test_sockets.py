"""Sockets over loopback, alone: UDP, multicast, TCP, Unix streams and datagrams."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from byteord._cext import adapter_drive as drive
from byteord._cext import adapters as native
from byteord.adapters.open import open_source
from byteord.errors import (
    AdapterError,
    ByteorError,
    DeniedError,
    NotFoundError,
    UnavailableError,
)
from tests.support.poll import until
from tests.unit.adapters.support import context, sink, source

GROUP = "239.255.77.77"


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """Return a port that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def collect(handle: native.SourceHandle, count: int, slot_bytes: int = 256) -> list[bytes]:
    """Drain until `count` messages are there."""
    got: list[bytes] = []

    def enough() -> bool:
        got.extend(drive.drain(handle, slot_bytes=slot_bytes))
        return len(got) >= count or handle.report()["status"] >= native.ENDED

    until(enough)
    return got


def refused(opening: Callable[[], object]) -> ByteorError:
    """Return the error of opening."""
    with pytest.raises(ByteorError) as caught:
        opening()
    return caught.value


# ---- UDP ----


def test_udp_datagrams_are_messages_in_order(tmp_path: Path) -> None:
    """Empty ones too; one that does not fit is cut, counted and not delivered."""
    address = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    with (
        source("udp", context(tmp_path), bind=address, count=6) as handle,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        assert drive.drain(handle) == []
        assert handle.report()["status"] == native.WAITING
        sender.connect(("127.0.0.1", int(address.split(":")[1])))
        for payload in (b"one", b"", b"x" * 241, b"y" * 240, b"two", b"three"):
            sender.send(payload)
        assert collect(handle, 6) == [b"one", b"", b"y" * 240, b"two", b"three"]
        report = handle.report()
    assert report["status"] == native.ENDED
    assert report["rejected"]["truncated"] == 1
    assert report["samples"]["truncated"] == b"x" * 96
    assert report["position"][0] == 6
    assert report["bytes_total"] == 251


def test_udp_drops_of_the_kernel_are_counted(tmp_path: Path) -> None:
    """What did not fit the receive buffer is known exactly once the next datagram comes."""
    port = free_port(socket.SOCK_DGRAM)
    options: dict[str, Any] = {"bind": f"127.0.0.1:{port}", "receive_buffer": 8192}
    with (
        source("udp", context(tmp_path), **options) as handle,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(("127.0.0.1", port))
        for _datagram in range(1000):
            sender.send(b"x" * 200)
        got = len(drive.drain(handle))
        sender.send(b"last")
        got += len(drive.drain(handle))
        report = handle.report()
    assert got < 1000
    assert got + report["rejected"]["kernel"] == 1001


def test_udp_out_and_in(tmp_path: Path) -> None:
    """The sink sends live messages only, as they are, and the source gets them."""
    address = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    with (
        source("udp", context(tmp_path), bind=address) as into,
        sink("udp", context(tmp_path), connect=address) as out,
    ):
        flags = [0, 1, 0, 0x10, 0x10]
        assert drive.push(out, [b"a", b"dropped", b"", b"last", b""], flags=flags) == 5
        assert drive.finish(out) == native.ENDED
        assert collect(into, 3) == [b"a", b"", b"last"]
        assert out.report()["position"][0] == 3


def test_udp_over_ipv6(tmp_path: Path) -> None:
    """Addresses in brackets."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    with (
        source("udp", context(tmp_path), bind=f"[::1]:{port}") as into,
        sink("udp", context(tmp_path), connect=f"[::1]:{port}") as out,
    ):
        drive.push(out, [b"six"])
        assert collect(into, 1) == [b"six"]


def test_udp_that_nobody_hears_is_counted_and_goes_on(tmp_path: Path) -> None:
    """A receiver that is not there (yet) does not stop a UDP egress; one that comes is served."""
    port = free_port(socket.SOCK_DGRAM)
    with sink("udp", context(tmp_path), connect=f"127.0.0.1:{port}") as out:
        for number in range(10):
            assert drive.push(out, [b"%d" % number]) == 1
        assert 1 <= out.report()["rejected"]["kernel"] <= 10
        with source("udp", context(tmp_path), bind=f"127.0.0.1:{port}") as into:
            assert drive.push(out, [b"heard"]) == 1
            assert collect(into, 1) == [b"heard"]


def test_a_message_too_large_for_a_datagram_is_counted(tmp_path: Path) -> None:
    """It is left out; the others are sent."""
    address = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    with (
        source("udp", context(tmp_path), bind=address) as into,
        sink("udp", context(tmp_path, payload_max=65_520), connect=address) as out,
    ):
        assert drive.push(out, [b"a", bytes(65_520), b"b"], slot_bytes=65_536) == 3
        assert out.report()["rejected"]["oversize"] == 1
        assert collect(into, 2) == [b"a", b"b"]


def test_multicast_on_the_loopback_interface(tmp_path: Path) -> None:
    """Two members of a group both get what is sent to it through the named interface."""
    port = free_port(socket.SOCK_DGRAM)
    on: dict[str, Any] = {"interface": "lo"}
    with (
        source("udp", context(tmp_path), bind=f"{GROUP}:{port}", **on) as first,
        source("udp", context(tmp_path), bind=f"0.0.0.0:{port}", group=GROUP, **on) as second,
        sink("udp", context(tmp_path), connect=f"{GROUP}:{port}", ttl=0, **on) as out,
    ):
        drive.push(out, [b"all"])
        assert collect(first, 1) == [b"all"]
        assert collect(second, 1) == [b"all"]


def test_udp_that_cannot_be_opened(tmp_path: Path) -> None:
    """In use, not of this host, unknown interface or name: each says what to do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        used = f"127.0.0.1:{other.getsockname()[1]}"
        error = refused(lambda: open_source("udp", {"bind": used}, context(tmp_path)))
    assert (type(error), error.reason) == (AdapterError, "ADDRESS_IN_USE")
    assert used in error.message
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"bind": "203.0.113.9:9000"}, "ADDRESS_NOT_HERE"),
        ({"bind": f"{GROUP}:9000", "interface": "none0"}, "INTERFACE_NOT_FOUND"),
        ({"bind": "no-such-host.invalid:9000"}, "ADDRESS_NOT_FOUND"),
        ({"bind": "9000"}, "ADAPTER_OPTION_VALUE"),
        ({"bind": "::1:9000"}, "ADAPTER_OPTION_VALUE"),
    )
    for options, reason in cases:
        given = context(tmp_path)
        error = refused(partial(open_source, "udp", options, given))
        assert error.reason == reason, error.message


# ---- streams ----


def stream_options(kind: str, directory: Path) -> str:
    """Return an address to serve."""
    return f"127.0.0.1:{free_port()}" if kind == "tcp" else str(directory / "socket")


def connect(kind: str, address: str) -> socket.socket:
    """Connect as a peer would."""
    if kind == "tcp":
        return socket.create_connection(("127.0.0.1", int(address.split(":")[1])))
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(address)
    return peer


@pytest.mark.parametrize("kind", ["tcp", "unix_stream"])
def test_peers_are_read_one_after_the_other(tmp_path: Path, kind: str) -> None:
    """Each peer's last line is a message of its own, and after the last peer the input ends."""
    address = stream_options(kind, tmp_path)
    with source(kind, context(tmp_path), listen=address, peers=2) as handle:
        assert drive.drain(handle) == []
        with connect(kind, address) as first, connect(kind, address) as second:
            second.sendall(b"second\nend")
            first.sendall(b"one\ntw")
            assert collect(handle, 1) == [b"one"]
            first.sendall(b"o\nlast")
            first.close()
            assert collect(handle, 3) == [b"two", b"last", b"second"]
            second.close()
            assert collect(handle, 2) == [b"end"]
        assert handle.report()["status"] == native.ENDED
    assert not list(tmp_path.iterdir())


def test_a_peer_that_is_cut_off_leaves_a_truncated_message(tmp_path: Path) -> None:
    """A reset is no end: what it left half is counted, and the next peer is served."""
    address = stream_options("tcp", tmp_path)
    with source("tcp", context(tmp_path), listen=address) as handle:
        with connect("tcp", address) as peer:
            peer.sendall(b"whole\nhal")
            assert collect(handle, 1) == [b"whole"]
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with connect("tcp", address) as peer:
            peer.sendall(b"next\n")
            assert collect(handle, 1) == [b"next"]
        report = handle.report()
    assert report["rejected"]["truncated"] == 1
    assert report["samples"]["truncated"] == b"hal"


def test_a_peer_that_speaks_nonsense_is_dropped(tmp_path: Path) -> None:
    """Lost framing ends that peer, not the run."""
    address = stream_options("tcp", tmp_path)
    options: dict[str, Any] = {"framing": "length_prefixed", "length_includes_prefix": True}
    with source("tcp", context(tmp_path), listen=address, **options) as handle:
        with connect("tcp", address) as peer:
            peer.sendall(b"\5\0\0\0a\1\0\0\0junk")
            assert collect(handle, 1) == [b"a"]
            with connect("tcp", address) as good:
                good.sendall(b"\5\0\0\0b")
                assert collect(handle, 1) == [b"b"]
        assert handle.report()["rejected"]["malformed"] == 1


@pytest.mark.parametrize("kind", ["tcp", "unix_stream"])
def test_a_connected_source_ends_with_its_peer(tmp_path: Path, kind: str) -> None:
    """Connecting out: the peer's close is the end of the input."""
    address = stream_options(kind, tmp_path)
    with (
        sink(kind, context(tmp_path), listen=address) as out,
        source(kind, context(tmp_path), connect=address) as into,
    ):
        assert drive.push(out, [b"a", b"b"]) == 2
        assert drive.finish(out) == native.ENDED
        assert collect(into, 3) == [b"a", b"b"]
        assert into.report()["status"] == native.ENDED


def read_some(peer: socket.socket, size: int) -> bytes:
    """Return what can be read now."""
    try:
        return peer.recv(size)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("kind", ["tcp", "unix_stream"])
def test_a_slow_reader_makes_the_sink_wait(tmp_path: Path, kind: str) -> None:
    """Partial writes go on where they stopped: every byte once, however slow the reader."""
    address = stream_options(kind, tmp_path)
    payloads = [bytes([number]) * (number * 7) for number in range(64)]
    framing: dict[str, Any] = {"framing": "length_prefixed", "length_bytes": 2}
    wanted = b"".join(len(payload).to_bytes(2, "little") + payload for payload in payloads) * 60
    with sink(
        kind, context(tmp_path, payload_max=496), listen=address, send_buffer=4096, **framing
    ) as out:
        assert drive.push(out, [b"x"]) == 0
        assert out.report()["status"] == native.WAITING
        with connect(kind, address) as peer:
            peer.setblocking(False)
            got, done, waited = b"", 0, 0
            while done < 64 * 60:
                done += drive.push(out, payloads[done % 64 :], slot_bytes=512)
                if out.report()["status"] == native.WAITING:
                    waited += 1
                    got += read_some(peer, 5000)
            drive.finish(out)
            while len(got) < len(wanted):
                got += until(lambda: read_some(peer, 1 << 20))
    assert waited > 3
    assert got == wanted


def test_a_listening_sink_serves_the_next_reader(tmp_path: Path) -> None:
    """A reader that leaves does not stop the run; the next one begins at a whole message."""
    address = stream_options("tcp", tmp_path)
    with sink("tcp", context(tmp_path), listen=address) as out:
        with connect("tcp", address) as peer:
            until(lambda: drive.push(out, [b"first"]) == 1)
            assert peer.recv(100) == b"first\n"
        with connect("tcp", address) as peer:
            peer.setblocking(False)

            def heard() -> bytes:
                drive.push(out, [b"again"])
                return read_some(peer, 6)

            assert until(heard) == b"again\n"


def test_a_connected_sink_fails_with_its_peer(tmp_path: Path) -> None:
    """A peer that closed is a named failure, never a signal."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with sink("tcp", context(tmp_path), connect=address) as out:
            server.accept()[0].close()

            def failed() -> bool:
                drive.push(out, [b"x" * 200])
                return bool(out.report()["status"] == native.FAILED)

            until(failed)
            assert "closed or lost the connection" in out.report()["error_text"]


def test_streams_that_cannot_be_opened(tmp_path: Path) -> None:
    """Nobody there, address in use, no socket, no such path, a link on the way."""
    given = context(tmp_path)
    (tmp_path / "plain").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path)
    path = str(tmp_path / "socket")
    used = str(tmp_path / "used")
    cases: tuple[tuple[str, dict[str, Any], type[ByteorError], str], ...] = (
        ("tcp", {"connect": f"127.0.0.1:{free_port()}"}, UnavailableError, "ADDRESS_REFUSED"),
        ("unix_stream", {"connect": path}, NotFoundError, "ADDRESS_NOT_FOUND"),
        ("unix_stream", {"connect": f"{path}/x"}, NotFoundError, "PATH_NOT_FOUND"),
        ("unix_stream", {"listen": f"{tmp_path}/link/x"}, DeniedError, "PATH_IS_LINK"),
        ("unix_stream", {"listen": str(tmp_path / "plain")}, AdapterError, "ADDRESS_IN_USE"),
        ("unix_stream", {"listen": used}, AdapterError, "ADDRESS_IN_USE"),
        ("unix_stream", {"listen": path + "x" * 90}, AdapterError, "ADDRESS_TOO_LONG"),
        ("tcp", {}, ByteorError, "ADAPTER_OPTION_CONFLICT"),
        (
            "tcp",
            {"listen": "127.0.0.1:1", "connect": "127.0.0.1:1"},
            ByteorError,
            "ADAPTER_OPTION_CONFLICT",
        ),
    )
    with source("unix_stream", given, listen=used):
        for kind, options, error_type, reason in cases:
            error = refused(partial(open_source, kind, options, given))
            assert isinstance(error, error_type)
            assert error.reason == reason, error.message


# ---- Unix sockets ----


def test_a_stale_socket_is_replaced_and_ours_is_removed(tmp_path: Path) -> None:
    """A file that a killed process left does not hinder; nothing is left when we close."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    with source("unix_stream", context(tmp_path), listen=str(path)):
        assert path.is_socket()
    assert not path.exists()


def test_unix_datagrams(tmp_path: Path) -> None:
    """A datagram is a message; a full receiver makes the sink wait, and nothing is lost."""
    directory = tmp_path / ("deep" * 30)
    directory.mkdir()
    path = str(directory / "socket")
    messages = [b"%05d" % number for number in range(3000)]
    got: list[bytes] = []
    sent = waited = 0
    with (
        source("unix_dgram", context(tmp_path), path=path) as into,
        sink("unix_dgram", context(tmp_path), path=path) as out,
    ):
        while sent < len(messages):
            sent += drive.push(out, messages[sent : sent + 500])
            if out.report()["status"] == native.WAITING:
                waited += 1
                got += drive.drain(into)
        got += drive.drain(into)
        into.close()
        assert drive.push(out, [b"nobody"]) == 0
        assert out.report()["status"] == native.FAILED
    assert waited > 0
    assert got == messages
    assert os.listdir(directory) == []
