"""Sample input for the examples, made up but shaped like the real thing.

`python -m byteord.samples NAME [--count N] [--seed N]` writes it to standard output, or sends it as
datagrams with `--udp HOST:PORT` (feed-tap). The same arguments give the same bytes.
It must not import anything else of byteord.
"""

from __future__ import annotations

import argparse
import itertools
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator

MARKET_RECORD = struct.Struct("<BBHIQQqIBBccQiI")
"""A market-by-order record, 56 bytes; `deploy/examples/es-trades` names the fields."""

_ACTIONS = (b"A", b"C", b"M", b"F", b"T")
_ACTION_WEIGHTS = (64, 15, 14, 4, 3)
_MARKET_BEGIN_NS = 1_700_000_000_000_000_000
_TICK = 250_000_000
_USERS = ("root", "admin", "oracle", "test", "invalid user guest", "invalid user 0101")


def market_records(count: int = 20_000, seed: int = 1) -> bytes:
    """Return `count` records of 56 bytes; about 3 % are trades (action `T`).

    Receive times never go back; prices walk in ticks of 0.25, in units of 1e-9.
    """
    chance = random.Random(seed)
    price = 4_800 * 4 * _TICK
    receive_ns = _MARKET_BEGIN_NS
    records = bytearray()
    for index in range(count):
        price += chance.choice((-1, 0, 0, 1)) * _TICK
        receive_ns += chance.randrange(1_000_000)
        action = chance.choices(_ACTIONS, _ACTION_WEIGHTS)[0]
        delay_ns = chance.randrange(5_000, 50_000)
        records += MARKET_RECORD.pack(
            14, 160, 1, 17_077, receive_ns - delay_ns, 6_000_000_000_000 + index, price,
            chance.randrange(1, 20), 0, 0, action, chance.choice((b"A", b"B", b"N")), receive_ns,
            delay_ns, index,
        )  # fmt: skip
    return bytes(records)


def book_records(count: int = 20_000, seed: int = 1) -> bytes:
    """Return `count` records of 56 bytes whose orders fit together: a book that never crosses.

    Orders are added around a price that walks, cancelled, modified and traded: a trade (`T`) is
    followed by the fill (`F`) of the order that rested and its cancellation (`C`).
    """
    return b"".join(itertools.islice(_book(random.Random(seed)), count))


def _book(chance: random.Random) -> Iterator[bytes]:
    orders: dict[int, tuple[bytes, int, int]] = {}
    middle, receive_ns = 4_800 * 4, _MARKET_BEGIN_NS
    for number in itertools.count():
        middle += chance.choice((-1, 0, 0, 0, 0, 1))
        crossed = [
            key for key, (side, tick, _) in orders.items() if (side == b"B") == (tick > middle)
        ]
        events: list[tuple[bytes, int, bytes, int, int]] = []
        for key in crossed:
            side, tick, size = orders.pop(key)
            taker = b"A" if side == b"B" else b"B"
            events += [(b"T", 0, taker, tick, size), (b"F", key, side, tick, size)]
            events.append((b"C", key, side, tick, size))
        action = chance.choices((b"A", b"C", b"M"), (6, 2, 2))[0] if orders else b"A"
        key = 6_000_000_000_000 + number if action == b"A" else chance.choice(list(orders))
        side, tick, size = orders.pop(key, (chance.choice((b"A", b"B")), 0, 0))
        if action != b"C":
            away, size = chance.randrange(40), chance.randrange(1, 20)
            tick = middle - away if side == b"B" else middle + 1 + away
            orders[key] = (side, tick, size)
        events.append((action, key, side, tick, size))
        for what, order, at, price, amount in events:
            receive_ns += chance.randrange(1_000_000)
            delay_ns = chance.randrange(5_000, 50_000)
            yield MARKET_RECORD.pack(
                14, 160, 1, 17_077, receive_ns - delay_ns, order, price * _TICK, amount, 0, 0,
                what, at, receive_ns, delay_ns, number,
            )  # fmt: skip


def sshd_lines(count: int = 2_000, seed: int = 1) -> bytes:
    """Return `count` lines of an sshd log, about a quarter with `Failed password`.

    The last line has no newline and is a failure; now and then sshd folds repeated failures.
    """
    chance = random.Random(seed)
    second = 6 * 3_600
    lines = []
    for index in range(count):
        second += chance.randrange(3)
        hour, minute = second // 3_600 % 24, second // 60 % 60
        head = f"Dec 10 {hour:02}:{minute:02}:{second % 60:02} gateway sshd[{24_000 + index}]:"
        address = ".".join(str(chance.randrange(1, 255)) for _ in range(4))
        kind = "failed" if index == count - 1 else chance.choice(("failed", "closed", "pam", "off"))
        lines.append(f"{head} {_sshd_message(kind, address, chance)}")
    return "\n".join(lines).encode()


def _sshd_message(kind: str, address: str, chance: random.Random) -> str:
    if kind == "closed":
        return f"Connection closed by {address} [preauth]"
    if kind == "pam":
        return f"pam_unix(sshd:auth): authentication failure; logname= uid=0 rhost={address}"
    if kind == "off":
        return f"Received disconnect from {address}: 11: Bye Bye [preauth]"
    user, port = chance.choice(_USERS), chance.randrange(1_024, 65_536)
    failure = f"Failed password for {user} from {address} port {port} ssh2"
    if chance.randrange(50) == 0:
        return f"message repeated {chance.randrange(2, 9)} times: [ {failure}]"
    return failure


def feed_payloads(count: int = 200, seed: int = 1) -> list[bytes]:
    """Return `count` datagram payloads of 8 to 200 bytes; each begins with its number."""
    chance = random.Random(seed)
    return [
        struct.pack("<Q", index) + chance.randbytes(chance.randrange(193)) for index in range(count)
    ]


def pcap_file(payloads: Iterable[bytes], *, nanoseconds: bool = False, order: str = "<") -> bytes:
    """Return a capture of UDP datagrams over IPv4 and Ethernet, one for each payload.

    `order` is `<` or `>`, the byte order of the writer; `nanoseconds` picks the newer magic.
    Format: the classic pcap file of libpcap (pcap-savefile(5)).
    """
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, 1)]
    for index, payload in enumerate(payloads):
        frame = _udp_frame(payload)
        parts.append(struct.pack(order + "IIII", 1_700_000_000, index, len(frame), len(frame)))
        parts.append(frame)
    return b"".join(parts)


def _udp_frame(payload: bytes) -> bytes:
    ethernet = bytes.fromhex("01005e000001020000000001") + struct.pack(">H", 0x0800)
    udp = struct.pack(">HHHH", 40_000, 30_001, 8 + len(payload), 0)
    source, target = bytes((192, 0, 2, 1)), bytes((224, 0, 0, 1))
    length = 20 + len(udp) + len(payload)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 1, 17, 0, source, target)
    words = sum(struct.unpack(">10H", head))
    words = (words & 0xFFFF) + (words >> 16)
    checksum = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    return ethernet + head[:10] + struct.pack(">H", checksum) + head[12:] + udp + payload


SAMPLES: dict[str, tuple[Callable[[int, int], bytes], int]] = {
    "es-trades": (market_records, 20_000),
    "market-fanout": (book_records, 20_000),
    "ssh-failures": (sshd_lines, 2_000),
    "feed-tap": (lambda count, seed: pcap_file(feed_payloads(count, seed)), 200),
}
"""By example: what makes its input, and how many messages by default."""


def _chunks(data: bytes, size: int = 1 << 16) -> Iterator[bytes]:
    return (data[begin : begin + size] for begin in range(0, len(data), size))


def _send(payloads: Iterable[bytes], address: str) -> None:
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, (host, int(port)))


def main(arguments: list[str] | None = None) -> int:
    """Write the sample that the command line asks for; a closed reader is not an error."""
    parser = argparse.ArgumentParser(prog="python -m byteord.samples", description=__doc__)
    parser.add_argument("name", choices=sorted(SAMPLES), help="the example to make input for")
    parser.add_argument("--count", type=int, help="messages to make")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other content")
    parser.add_argument("--udp", metavar="HOST:PORT", help="send payloads there (feed-tap only)")
    chosen = parser.parse_args(arguments)
    make, count = SAMPLES[chosen.name]
    count = count if chosen.count is None else chosen.count
    if chosen.udp and chosen.name != "feed-tap":
        parser.error("--udp: only feed-tap is made of datagrams")
    if chosen.udp:
        _send(feed_payloads(count, chosen.seed), chosen.udp)
        return 0
    for chunk in _chunks(make(count, chosen.seed)):
        try:
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
