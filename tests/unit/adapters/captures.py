"""Making pcap files: every byte order and magic, Ethernet, VLAN, Linux cooked, raw IP."""

from __future__ import annotations

import struct
from collections.abc import Sequence

MICRO, NANO = 0xA1B2C3D4, 0xA1B23C4D
ETHERNET, RAW, SLL, SLL2, NULL = 1, 101, 113, 276, 0


def udp(payload: bytes, port: int = 9000, *, length: int | None = None) -> bytes:
    """Return a UDP datagram."""
    given = 8 + len(payload) if length is None else length
    return struct.pack(">HHHH", 5000, port, given, 0) + payload


def ipv4(body: bytes, *, protocol: int = 17, fragment: int = 0, options: bytes = b"") -> bytes:
    """Return an IPv4 packet."""
    header = 20 + len(options)
    fixed = struct.pack(
        ">BBHHHBBH4s4s",
        0x40 | header // 4,
        0,
        header + len(body),
        1,
        fragment,
        64,
        protocol,
        0,
        bytes([192, 0, 2, 1]),
        bytes([192, 0, 2, 2]),
    )
    return fixed + options + body


def ipv6(
    body: bytes, *, following: int = 17, extensions: Sequence[tuple[int, bytes]] = ()
) -> bytes:
    """Return an IPv6 packet; an extension is its type and what follows its first byte."""
    chain = b""
    kinds = [kind for kind, _bytes in extensions] + [following]
    for index, (_kind, rest) in enumerate(extensions):
        chain += bytes([kinds[index + 1]]) + rest
    fixed = struct.pack(
        ">IHBB16s16s", 6 << 28, len(chain + body), kinds[0], 64, b"a" * 16, b"b" * 16
    )
    return fixed + chain + body


def ethernet(packet: bytes, *, vlans: Sequence[int] = (), padded: int = 0) -> bytes:
    """Return an Ethernet frame, tagged with the given tag types, padded at its end."""
    tags = b"".join(struct.pack(">HH", tag, 7) for tag in vlans)
    kind = 0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800
    return bytes(12) + tags + struct.pack(">H", kind) + packet + bytes(padded)


def sll(packet: bytes) -> bytes:
    """Return a Linux cooked frame, version 1."""
    return bytes(14) + struct.pack(">H", 0x0800) + packet


def sll2(packet: bytes) -> bytes:
    """Return a Linux cooked frame, version 2."""
    return struct.pack(">H", 0x0800) + bytes(18) + packet


def pcap(
    frames: Sequence[bytes], *, link: int = ETHERNET, magic: int = MICRO, order: str = "<"
) -> bytes:
    """Return a capture file of these frames."""
    content = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for number, frame in enumerate(frames):
        content += struct.pack(f"{order}IIII", 1700000000 + number, 5, len(frame), len(frame))
        content += frame
    return content
