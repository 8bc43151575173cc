"""Every kind of adapter and its options: the reference, as values. It opens and checks nothing."""

from __future__ import annotations

from dataclasses import dataclass

from byteord.adapters.framing import FRAMING, PCAP_PARTS, STREAM_FRAMING
from byteord.adapters.options import Option, Side


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of adapter."""

    name: str
    summary: str
    ingress: bool
    egress: bool
    options: tuple[Option, ...]
    finite: bool
    resumable: bool


_IN, _OUT = Side.INGRESS, Side.EGRESS

_PATH = Option(
    "path",
    "string",
    "the file; a relative path is taken beneath the first allowed directory",
    required=True,
)
_GZIP = Option(
    "gzip",
    "string",
    "inflate the input: auto looks at its first two bytes",
    "auto",
    choices=("auto", "always", "never"),
    side=_IN,
)
_COUNT = Option(
    "count", "integer", "datagrams after which the input ends; 0 is endless", 0, side=_IN
)
_RECEIVE = Option(
    "receive_buffer",
    "size",
    "receive buffer of the socket; 0 is the system's default",
    0,
    maximum=1 << 30,
    side=_IN,
)
_SEND = Option(
    "send_buffer",
    "size",
    "send buffer of the socket; 0 is the system's default",
    0,
    maximum=1 << 30,
    side=_OUT,
)
_PEERS = Option(
    "peers",
    "integer",
    "with listen: peers, one after the other, after which the input ends; 0 is endless",
    0,
    side=_IN,
)
_TIMEOUT = Option(
    "connect_timeout", "duration", "with connect: how long to try", 10, minimum=0.001, maximum=600
)

_FILE = (
    _PATH,
    *FRAMING,
    _GZIP,
    Option(
        "follow",
        "boolean",
        "do not end at the end of the file but wait for it to grow, as tail -F does: through "
        "truncation and rotation",
        default=False,
        side=_IN,
    ),
    Option(
        "follow_from",
        "string",
        "where following begins",
        "start",
        choices=("start", "end"),
        side=_IN,
    ),
    Option(
        "mode",
        "string",
        "create refuses a file that exists, truncate empties it, append adds to it",
        "create",
        choices=("create", "truncate", "append"),
        side=_OUT,
    ),
    Option(
        "fsync",
        "string",
        "when what is written is also made durable",
        "none",
        choices=("none", "end", "every_batch"),
        side=_OUT,
    ),
)

_GENERATOR = (
    Option(
        "content",
        "string",
        "counter: u64 number then filler; random; checksummed: u64 number, CRC32C, random bytes; "
        "text: log lines of a sshd; trades: market-by-order records of 56 bytes",
        "counter",
        choices=("counter", "random", "checksummed", "text", "trades"),
    ),
    Option(
        "size",
        "size",
        "bytes of each message (text and trades have their own)",
        48,
        maximum=65_520,
    ),
    Option(
        "size_max",
        "size",
        "when larger than size: sizes vary between the two",
        0,
        maximum=65_520,
    ),
    Option("count", "integer", "messages in all; 0 is endless", 0),
    Option(
        "rate",
        "integer",
        "messages a second, each stamped with the time it was due; 0 is as fast as possible",
        0,
        maximum=1_000_000_000,
    ),
    Option(
        "at_once",
        "integer",
        "messages that are made, then published together; 0 is as many as there is room for",
        0,
        maximum=65_536,
    ),
    Option("seed", "integer", "another seed, other content; the same seed, the same content", 1),
)

_DISCARD = (
    Option(
        "verify",
        "boolean",
        "prove that every message of a generator with content checksummed came, whole and in "
        "order; fail otherwise",
        default=False,
    ),
)

_UDP = (
    Option(
        "bind",
        "string",
        "host:port to receive at; 0.0.0.0 is every address of this host",
        required=True,
        side=_IN,
    ),
    Option("connect", "string", "host:port, or group:port, to send to", required=True, side=_OUT),
    Option(
        "group",
        "string",
        "multicast group to join, received at the port of bind",
        side=_IN,
    ),
    Option("interface", "string", "multicast: name or IPv4 address of the interface to use"),
    Option(
        "source",
        "string",
        "multicast: take only what this host sends (source-specific group)",
        side=_IN,
    ),
    _COUNT,
    _RECEIVE,
    _SEND,
    Option(
        "ttl",
        "integer",
        "multicast: routers that a datagram may pass",
        1,
        maximum=255,
        side=_OUT,
    ),
    Option(
        "loopback",
        "boolean",
        "multicast: whether this host's own members get it too",
        default=True,
        side=_OUT,
    ),
)

_TCP = (
    Option("listen", "string", "host:port to accept peers at, one at a time"),
    Option("connect", "string", "host:port to connect to"),
    *FRAMING,
    _PEERS,
    _TIMEOUT,
    _RECEIVE,
    _SEND,
)

_UNIX_STREAM = (
    Option("listen", "string", "path of a socket to accept peers at, one at a time"),
    Option("connect", "string", "path of a socket to connect to"),
    *FRAMING,
    _PEERS,
    _TIMEOUT,
    _RECEIVE,
    _SEND,
)

_UNIX_DGRAM = (
    Option("path", "string", "path of the socket to receive at, or to send to", required=True),
    _COUNT,
    _RECEIVE,
    _SEND,
)

_BOTH = {"ingress": True, "egress": True}
_ONLY_IN = {"ingress": True, "egress": False}
_ONLY_OUT = {"ingress": False, "egress": True}
_FINITE = {"finite": True, "resumable": True}
_SOCKET = {"finite": True, "resumable": False}

_KINDS = (
    Kind(
        "stream",
        "the client of the run: its --input or its --output",
        options=STREAM_FRAMING,
        **_BOTH,
        **_FINITE,
    ),
    Kind(
        "stdin",
        "the standard input of the client of the run",
        options=STREAM_FRAMING,
        **_ONLY_IN,
        **_FINITE,
    ),
    Kind(
        "stdout",
        "the standard output of the client of the run",
        options=STREAM_FRAMING,
        **_ONLY_OUT,
        **_FINITE,
    ),
    Kind("file", "a file on this host", options=_FILE, **_BOTH, **_FINITE),
    Kind(
        "pcap",
        "packets of a capture file: their UDP payloads, or whole frames",
        options=(_PATH, *PCAP_PARTS, _GZIP),
        **_ONLY_IN,
        **_FINITE,
    ),
    Kind("generator", "messages made up on the spot", options=_GENERATOR, **_ONLY_IN, **_FINITE),
    Kind("discard", "keeps nothing; can prove what came", options=_DISCARD, **_ONLY_OUT, **_FINITE),
    Kind(
        "udp",
        "UDP datagrams, also multicast: one a message; what is lost on the way nobody sees, so "
        "counted losses are a lower bound",
        options=_UDP,
        **_BOTH,
        **_SOCKET,
    ),
    Kind("tcp", "a TCP connection", options=_TCP, **_BOTH, **_SOCKET),
    Kind("unix_stream", "a Unix stream socket", options=_UNIX_STREAM, **_BOTH, **_SOCKET),
    Kind(
        "unix_dgram",
        "Unix datagrams: one a message",
        options=_UNIX_DGRAM,
        **_BOTH,
        **_SOCKET,
    ),
    Kind(
        "client",
        "a process that attaches with byteord.client and publishes or consumes in shared memory",
        options=(),
        **_BOTH,
        **_SOCKET,
    ),
)

KINDS = {kind.name: kind for kind in _KINDS}
"""By name, in the order of the reference."""
STREAM_KINDS = frozenset({"stream", "stdin", "stdout"})
"""Kinds that mean the run's client."""
