"""An own reader of pcap files, to check the product's against."""

from __future__ import annotations

import struct

_ORDERS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
}
_ETHERTYPE_VLAN, _ETHERTYPE_IPV4 = 0x8100, 0x0800
_PROTOCOL_UDP = 17


def udp_payloads(capture: bytes) -> list[bytes]:
    """Return the payloads of the UDP datagrams over IPv4 in a capture of Ethernet frames."""
    order = _ORDERS[capture[:4]]
    at = 24
    found = []
    while at < len(capture):
        (length,) = struct.unpack_from(order + "I", capture, at + 8)
        found += _udp(capture[at + 16 : at + 16 + length])
        at += 16 + length
    return found


def _udp(frame: bytes) -> list[bytes]:
    at = 12
    (kind,) = struct.unpack_from(">H", frame, at)
    while kind == _ETHERTYPE_VLAN:
        at += 4
        (kind,) = struct.unpack_from(">H", frame, at)
    at += 2
    if kind != _ETHERTYPE_IPV4 or frame[at + 9] != _PROTOCOL_UDP:
        return []
    at += (frame[at] & 15) * 4
    (length,) = struct.unpack_from(">H", frame, at + 4)
    return [frame[at + 8 : at + length]]
