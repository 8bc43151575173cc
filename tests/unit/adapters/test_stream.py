"""The run's client as input and output: the packet protocol from the worker's side, alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from byteord._cext import adapter_drive as drive
from byteord._cext import adapters as native
from byteord.adapters.open import open_source
from byteord.errors import AdapterError
from tests.unit.adapters.support import (
    ACK,
    DATA,
    END,
    FAILED,
    RESUME,
    DaemonEnd,
    Packet,
    context,
    resume_from,
    sink,
    source,
)

EPOCH = os.getpid()


def crc32c(data: bytes) -> int:
    """Return CRC32C bit by bit, as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.fixture
def daemon() -> Iterator[DaemonEnd]:
    """Give the daemon's end of a stream."""
    end = DaemonEnd()
    yield end
    end.close()


def test_input_from_resume_to_a_verified_end(daemon: DaemonEnd, tmp_path: Path) -> None:
    """The worker says where to begin, takes its own epoch's packets, ends at a true end."""
    with source("stream", context(tmp_path, stream_fd=daemon.worker_fd)) as handle:
        assert drive.drain(handle) == []
        assert handle.report()["status"] == native.WAITING
        assert daemon.receive() == [Packet(RESUME, EPOCH, 0, 0, b"")]
        daemon.send(DATA, EPOCH - 1, 0, data=b"for another\n")
        daemon.send(DATA, EPOCH, 0, data=b"hel")
        daemon.send(DATA, EPOCH, 3, data=b"lo\nwor")
        daemon.send(DATA, EPOCH, 9, data=b"ld")
        daemon.send(END, EPOCH, 11, crc32c(b"hello\nworld"))
        assert drive.drain(handle) == [b"hello", b"world"]
        report = handle.report()
    assert report["status"] == native.ENDED
    assert report["position"][:2] == (11, crc32c(b"hello\nworld"))


@pytest.mark.parametrize(
    ("packets", "text"),
    [
        ([(END, 3, 0, b"")], "ended at byte 3, but 2 bytes arrived"),
        ([(END, 2, 5, b"")], "was changed on its way"),
        ([(DATA, 3, 0, b"x")], "has a gap: byte 3 came, 2 was next"),
        (
            [(FAILED, 0, 0, b"client cancelled")],
            "ended before its end mark, at byte 2: client cancelled",
        ),
        ([(9, 0, 0, b"")], "unknown type"),
        ([], "ended before its end mark, at byte 2: the daemon or the client went away"),
    ],
)
def test_input_that_does_not_end_well(
    daemon: DaemonEnd, tmp_path: Path, packets: list[tuple[int, int, int, bytes]], text: str
) -> None:
    """Anything but a true end fails the run by name; what came before is delivered."""
    with source("stream", context(tmp_path, stream_fd=daemon.worker_fd)) as handle:
        drive.drain(handle)
        daemon.send(DATA, EPOCH, 0, data=b"a\n")
        for kind, offset, value, data in packets:
            daemon.send(kind, EPOCH, offset, value, data)
        daemon.leave()
        assert drive.drain(handle) == [b"a"]
        assert drive.drain(handle) == []
        report = handle.report()
    assert report["status"] == native.FAILED
    assert text in report["error_text"]


def test_commits_are_acknowledged_and_a_restart_resumes(daemon: DaemonEnd, tmp_path: Path) -> None:
    """No ACK reaches past what is committed; the next worker asks for the rest from there."""
    line = b"x" * 99 + b"\n"
    chunk = line * 600
    sent = 0
    with source("stream", context(tmp_path, stream_fd=daemon.worker_fd)) as handle:
        for _packet in range(12):
            drive.drain(handle)
            committed = handle.report()["position"][0]
            acks = [packet for packet in daemon.receive() if packet.type == ACK]
            assert all(packet.offset <= committed for packet in acks)
            daemon.send(DATA, EPOCH, sent, data=chunk)
            sent += len(chunk)
        drive.drain(handle, limit=1, max_batch=1)
        resume = resume_from(handle.report())
    assert 256 * 1024 < resume.position[0] < sent
    with source("stream", context(tmp_path, stream_fd=daemon.worker_fd, resume=resume)) as handle:
        daemon.receive()
        drive.drain(handle)
        assert daemon.receive() == [Packet(RESUME, EPOCH, resume.position[0], 0, b"")]


def test_acks_come_about_every_256_kib(daemon: DaemonEnd, tmp_path: Path) -> None:
    """The daemon can let go of what is committed."""
    with source(
        "stream", context(tmp_path, stream_fd=daemon.worker_fd), framing="fixed", record_bytes=100
    ) as handle:
        drive.drain(handle)
        acked = []
        for packet in range(20):
            daemon.send(DATA, EPOCH, packet * 60_000, data=bytes(60_000))
            drive.drain(handle)
            acked += [got.offset for got in daemon.receive() if got.type == ACK]
    assert len(acked) == 4
    assert all(later - earlier >= 256 * 1024 for earlier, later in pairwise(acked))


def test_output_from_resume_to_end(daemon: DaemonEnd, tmp_path: Path) -> None:
    """Offsets follow each other, the end carries length and CRC32C; large messages in pieces."""
    large = bytes(range(256)) * 255 + bytes(200)
    wanted = b"a\nb\n" + large + b"\nc\n"
    with sink(
        "stream", context(tmp_path, stream_fd=daemon.worker_fd, payload_max=65_520)
    ) as handle:
        assert drive.push(handle, [b"a", b"b", large, b"c"], slot_bytes=65_536) == 4
        assert drive.finish(handle) == native.ENDED
        position = handle.report()["position"]
    packets = daemon.receive()
    assert (packets[0].type, packets[0].offset) == (RESUME, 0)
    assert packets[-1] == Packet(END, EPOCH, len(wanted), crc32c(wanted), b"")
    got = b""
    for packet in packets[1:-1]:
        assert (packet.type, packet.offset) == (DATA, len(got))
        got += packet.data
    assert got == wanted
    assert position[:2] == (len(wanted), crc32c(wanted))


def test_output_to_a_daemon_that_does_not_read(daemon: DaemonEnd, tmp_path: Path) -> None:
    """A full socket makes the sink wait, with nothing lost or repeated."""
    payloads = [b"%05d" % number * 40 for number in range(64)]
    got, offset = b"", 0
    with sink("stream", context(tmp_path, stream_fd=daemon.worker_fd), framing="raw") as handle:
        sent, waited = 0, 0
        while sent < 6400:
            first = sent % 64
            done = drive.push(handle, payloads[first:])
            sent += done
            if handle.report()["status"] == native.WAITING:
                waited += 1
                assert handle.report()["wait_fd"] == daemon.worker_fd
                for packet in daemon.receive():
                    assert packet.offset == offset
                    got, offset = got + packet.data, offset + len(packet.data)
        committed = resume_from(handle.report())
    for packet in daemon.receive():
        got, offset = got + packet.data, offset + len(packet.data)
    assert waited > 0
    assert got == b"".join(payloads) * 100
    with sink(
        "stream", context(tmp_path, stream_fd=daemon.worker_fd, resume=committed), framing="raw"
    ) as handle:
        assert drive.finish(handle) == native.ENDED
    assert [packet.offset for packet in daemon.receive()] == [len(got), len(got)]


def test_output_to_a_daemon_that_left(daemon: DaemonEnd, tmp_path: Path) -> None:
    """It is a failure with a name, not a signal."""
    daemon.leave()
    with sink("stream", context(tmp_path, stream_fd=daemon.worker_fd)) as handle:
        assert drive.push(handle, [b"x"]) == 0
        report = handle.report()
    assert report["status"] == native.FAILED
    assert "the daemon or the client went away" in report["error_text"]


def test_a_run_without_a_client_is_told(tmp_path: Path) -> None:
    """Kind stream without --input is an error that says so."""
    with pytest.raises(AdapterError, match="--input") as caught:
        open_source("stream", {}, context(tmp_path))
    assert caught.value.reason == "ADAPTER_NO_CLIENT"
