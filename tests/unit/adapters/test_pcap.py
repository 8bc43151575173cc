"""Captures: UDP payloads out of every supported frame, whole frames, and what is not there."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from byteord._cext import adapter_drive as drive
from byteord._cext import adapters as native
from tests.support.shared import shared_data
from tests.unit.adapters import captures as make
from tests.unit.adapters.support import context, resume_from, source


def read(directory: Path, content: bytes, **options: Any) -> tuple[list[bytes], dict[str, Any]]:
    """Return the messages of a capture file, and the report at its end."""
    (directory / "in.pcap").write_bytes(content)
    path = str(directory / "in.pcap")
    with source("pcap", context(directory), path=path, **options) as handle:
        return drive.drain(handle), handle.report()


@pytest.mark.parametrize("magic", [make.MICRO, make.NANO])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_magics_in_both_byte_orders(tmp_path: Path, magic: int, order: str) -> None:
    """Who wrote the capture, and where, makes no difference."""
    frames = [make.ethernet(make.ipv4(make.udp(text))) for text in (b"a", b"", b"ccc")]
    messages, report = read(tmp_path, make.pcap(frames, magic=magic, order=order))
    assert messages == [b"a", b"", b"ccc"]
    assert not any(report["rejected"].values())


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (make.ETHERNET, make.ethernet(make.ipv4(make.udp(b"it")), padded=30)),
        (make.ETHERNET, make.ethernet(make.ipv4(make.udp(b"it"), options=bytes(8)))),
        (make.ETHERNET, make.ethernet(make.ipv4(make.udp(b"it")), vlans=[0x8100])),
        (make.ETHERNET, make.ethernet(make.ipv4(make.udp(b"it")), vlans=[0x88A8, 0x8100])),
        (make.ETHERNET, make.ethernet(make.ipv6(make.udp(b"it")))),
        (
            make.ETHERNET,
            make.ethernet(make.ipv6(make.udp(b"it"), extensions=[(0, bytes(7)), (60, bytes(7))])),
        ),
        (make.RAW, make.ipv4(make.udp(b"it"))),
        (make.RAW, make.ipv6(make.udp(b"it"))),
        (make.SLL, make.sll(make.ipv4(make.udp(b"it")))),
        (make.SLL2, make.sll2(make.ipv4(make.udp(b"it")))),
        (make.NULL, bytes(4) + make.ipv4(make.udp(b"it"))),
    ],
)
def test_udp_payloads_are_found_in_every_frame(tmp_path: Path, link: int, frame: bytes) -> None:
    """The payload alone comes out, without padding; as whole frame, all of it does."""
    assert read(tmp_path, make.pcap([frame], link=link))[0] == [b"it"]
    assert read(tmp_path, make.pcap([frame], link=link), payload="frame")[0] == [frame]


def test_what_is_not_delivered_is_counted_by_reason(tmp_path: Path) -> None:
    """Other traffic is filtered, cut packets are truncated, nonsense is malformed."""
    whole = make.ethernet(make.ipv4(make.udp(b"payload")))
    frames = [
        make.ethernet(make.ipv4(b"tcp" * 9, protocol=6)),
        make.ethernet(make.ipv4(b"later part", fragment=100)),
        bytes(12) + b"\x08\x06" + bytes(28),
        make.ethernet(make.ipv6(b"icmp", following=58)),
        make.ethernet(make.ipv4(make.udp(b"x", port=1))),
        whole[:-2],
        whole[:20],
        b"",
        make.ethernet(make.ipv4(make.udp(b"first part", length=1000), fragment=0x2000)),
        make.ethernet(make.ipv4(make.udp(b"x", length=7))),
        bytes(12) + b"\x08\x00\x10" + bytes(30),
        make.ethernet(make.ipv4(make.udp(bytes(241)))),
        whole,
    ]
    messages, report = read(tmp_path, make.pcap(frames), port=9000)
    assert messages == [b"payload"]
    rejected = report["rejected"]
    assert rejected["filtered"] == 5
    assert rejected["truncated"] == 4
    assert rejected["malformed"] == 2
    assert rejected["oversize"] == 1
    assert report["samples"]["filtered"] == frames[0][:96]


def test_a_file_that_is_no_capture_fails_by_name(tmp_path: Path) -> None:
    """Text, pcapng, an unknown link type: the message says what to do."""
    for content, text in (
        (b"hello, this is no capture", "neither magic 0xa1b2c3d4 nor 0xa1b23c4d, at byte 0"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "editcap -F pcap"),
        (make.pcap([b"x"], link=999), "take whole frames instead"),
        (make.pcap([]) + b"\xff" * 16, "claims more than 262144 bytes, at byte 24"),
    ):
        messages, report = read(tmp_path, content)
        assert (messages, report["status"]) == ([], native.FAILED)
        assert text in report["error_text"]
        assert report["rejected"]["malformed"] == 1
    assert read(tmp_path, make.pcap([b"x"], link=999), payload="frame")[0] == [b"x"]


def test_a_capture_that_ends_early_is_truncated(tmp_path: Path) -> None:
    """Whatever is cut at the end is counted; what came before is delivered."""
    content = make.pcap([make.ethernet(make.ipv4(make.udp(b"a"))), b"x" * 60])
    for cut in (1, 60, 61, 75):
        messages, report = read(tmp_path, content[:-cut])
        assert (messages, report["rejected"]["truncated"]) == ([b"a"], 1)
    assert read(tmp_path, content[:10])[1]["rejected"]["truncated"] == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_a_restart_needs_no_header_again(tmp_path: Path, compressed: bool) -> None:
    """The position holds what the file header said."""
    frames = [make.ethernet(make.ipv4(make.udp(b"%d" % number))) for number in range(20)]
    content = make.pcap(frames, order=">", magic=make.NANO)
    path = tmp_path / "in.pcap"
    path.write_bytes(gzip.compress(content) if compressed else content)
    got, resume = [], None
    for _life in range(7):
        with source("pcap", context(tmp_path, resume=resume), path=str(path)) as handle:
            got += drive.drain(handle, limit=3)
            resume = resume_from(handle.report())
    assert got == [b"%d" % number for number in range(20)]


def test_shared_captures_of_exchange_feeds(tmp_path: Path) -> None:
    """Captures that nobody here made: every UDP packet gives its payload, nothing is malformed."""
    total = 0
    for path in sorted(shared_data("packets").glob("*.pcap")):
        messages, report = read(tmp_path, path.read_bytes(), payload="frame")
        frames = len(messages) + report["rejected"]["oversize"]
        messages, report = read(tmp_path, path.read_bytes())
        rejected = report["rejected"]
        assert report["status"] == native.ENDED
        assert frames == len(messages) + sum(rejected.values())
        assert rejected["malformed"] == rejected["truncated"] == 0
        total += len(messages) + rejected["oversize"]
    assert total > 10
