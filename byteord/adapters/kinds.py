"""Every kind of adapter and its options: the reference, as values. It opens and checks nothing."""

from __future__ import annotations

from dataclasses import dataclass

from byteord.adapters.framing import FRAMING, STREAM_FRAMING
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


_GZIP = Option(
    "gzip",
    "string",
    "inflate the input: auto looks at its first two bytes",
    "auto",
    choices=("auto", "always", "never"),
    side=Side.INGRESS,
)

_FILE = (
    Option(
        "path",
        "string",
        "the file; a relative path is taken beneath the first allowed directory",
        required=True,
    ),
    *FRAMING,
    _GZIP,
    Option(
        "follow",
        "boolean",
        "do not end at the end of the file but wait for it to grow, as tail -F does: through "
        "truncation and rotation",
        False,
        side=Side.INGRESS,
    ),
    Option(
        "follow_from",
        "string",
        "where following begins",
        "start",
        choices=("start", "end"),
        side=Side.INGRESS,
    ),
    Option(
        "mode",
        "string",
        "create refuses a file that exists, truncate empties it, append adds to it",
        "create",
        choices=("create", "truncate", "append"),
        side=Side.EGRESS,
    ),
    Option(
        "fsync",
        "string",
        "when what is written is also made durable",
        "none",
        choices=("none", "end", "every_batch"),
        side=Side.EGRESS,
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
        minimum=0,
        maximum=65_520,
    ),
    Option(
        "size_max",
        "size",
        "when larger than size: sizes vary between the two",
        0,
        minimum=0,
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
    Option("seed", "integer", "another seed, other content; the same seed, the same content", 1),
)

_DISCARD = (
    Option(
        "verify",
        "boolean",
        "prove that every message of a generator with content checksummed came, whole and in "
        "order; fail otherwise",
        False,
    ),
)

_KINDS = (
    Kind(
        "stream",
        "the client of the run: its --input or its --output",
        ingress=True,
        egress=True,
        options=STREAM_FRAMING,
        finite=True,
        resumable=True,
    ),
    Kind(
        "stdin",
        "the standard input of the client of the run",
        ingress=True,
        egress=False,
        options=STREAM_FRAMING,
        finite=True,
        resumable=True,
    ),
    Kind(
        "stdout",
        "the standard output of the client of the run",
        ingress=False,
        egress=True,
        options=STREAM_FRAMING,
        finite=True,
        resumable=True,
    ),
    Kind(
        "file",
        "a file on this host",
        ingress=True,
        egress=True,
        options=_FILE,
        finite=True,
        resumable=True,
    ),
    Kind(
        "generator",
        "messages made up on the spot",
        ingress=True,
        egress=False,
        options=_GENERATOR,
        finite=True,
        resumable=True,
    ),
    Kind(
        "discard",
        "keeps nothing; can prove what came",
        ingress=False,
        egress=True,
        options=_DISCARD,
        finite=True,
        resumable=True,
    ),
    Kind(
        "client",
        "a process that attaches with byteord.client and publishes or consumes in shared memory",
        ingress=True,
        egress=True,
        options=(),
        finite=True,
        resumable=False,
    ),
)

KINDS = {kind.name: kind for kind in _KINDS}
"""By name, in the order of the reference."""
STREAM_KINDS = frozenset({"stream", "stdin", "stdout"})
"""Kinds that mean the run's client."""
