"""How messages lie in a stream of bytes: options that all adapters of streams have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byteord.adapters.options import Option, Side, problem
from byteord.spec.model import SLOT_BYTES_MAX, SLOT_HEADER_BYTES, ConfigProblem

_PAYLOAD_MAX = SLOT_BYTES_MAX - SLOT_HEADER_BYTES
_KINDS = {"lines": 0, "fixed": 1, "raw": 1, "length_prefixed": 2, "pcap": 3}

_LENGTHS = (
    Option(
        "record_bytes",
        "size",
        "framing fixed: bytes of each record; an egress without it writes payloads back to back, "
        "with it counts and leaves out messages of another length",
        minimum=1,
        maximum=_PAYLOAD_MAX,
    ),
    Option(
        "length_bytes",
        "integer",
        "framing length_prefixed: bytes of the prefix: 1, 2, 4 or 8",
        4,
        minimum=1,
        maximum=8,
    ),
    Option(
        "length_endian",
        "string",
        "framing length_prefixed: byte order of the prefix",
        "little",
        choices=("little", "big"),
    ),
    Option(
        "length_includes_prefix",
        "boolean",
        "framing length_prefixed: whether the value counts the prefix itself",
        False,
    ),
    Option("delimiter", "bytes", "framing lines: the byte that ends a line", "\n"),
)

INGRESS_FRAMING = (
    Option(
        "framing",
        "string",
        "how messages are found in the bytes",
        "lines",
        choices=("lines", "fixed", "length_prefixed"),
        side=Side.INGRESS,
    ),
)
EGRESS_FRAMING = (
    Option(
        "framing",
        "string",
        "how messages are written: lines end each with the delimiter, fixed and raw write the "
        "payloads back to back, length_prefixed puts the length before each",
        "lines",
        choices=("lines", "fixed", "raw", "length_prefixed"),
        side=Side.EGRESS,
    ),
)
PCAP_PARTS = (
    Option(
        "payload",
        "string",
        "pcap: the UDP payload of each packet, or the whole captured frame",
        "udp",
        choices=("udp", "frame"),
        side=Side.INGRESS,
    ),
    Option(
        "port",
        "integer",
        "pcap: only UDP packets to this port; 0 takes all",
        0,
        maximum=65535,
        side=Side.INGRESS,
    ),
)
FRAMING = (
    *INGRESS_FRAMING,
    *EGRESS_FRAMING,
    *_LENGTHS,
    Option(
        "crlf",
        "boolean",
        "framing lines: a carriage return right before the delimiter belongs to the line's end",
        False,
        side=Side.INGRESS,
    ),
    Option(
        "empty_lines",
        "string",
        "framing lines: whether an empty line is a message",
        "keep",
        choices=("keep", "skip"),
        side=Side.INGRESS,
    ),
)
_ANY_STREAM = INGRESS_FRAMING[0]
STREAM_FRAMING = (
    Option(
        "framing",
        "string",
        _ANY_STREAM.doc,
        "lines",
        choices=("lines", "fixed", "length_prefixed", "pcap"),
        side=Side.INGRESS,
    ),
    *FRAMING[1:],
    *PCAP_PARTS,
)
FRAMING_NAMES = frozenset(option.name for option in STREAM_FRAMING)


@dataclass(frozen=True, slots=True)
class Framing:
    """The framing as the native code takes it; fields as in `byteor_framing_options`."""

    kind: int = 0
    record_bytes: int = 0
    length_bytes: int = 4
    big_endian: int = 0
    counts_itself: int = 0
    delimiter: int = 10
    strip_cr: int = 0
    skip_empty: int = 0
    whole_frames: int = 0
    port: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Framing:
        """Build it from values that `check_framing` found no fault with."""
        return cls(
            kind=_KINDS[values["framing"]],
            record_bytes=0 if values["framing"] == "raw" else int(values.get("record_bytes") or 0),
            length_bytes=int(values.get("length_bytes", 4)),
            big_endian=int(values.get("length_endian") == "big"),
            counts_itself=int(bool(values.get("length_includes_prefix"))),
            delimiter=values.get("delimiter", 10),
            strip_cr=int(bool(values.get("crlf"))),
            skip_empty=int(values.get("empty_lines") == "skip"),
            whole_frames=int(values.get("payload") == "frame"),
            port=int(values.get("port") or 0),
        )


def check_framing(
    values: Mapping[str, Any], *, ingress: bool, payload_max: int
) -> list[ConfigProblem]:
    """Return what is wrong with the framing options together."""
    if "framing" not in values:
        return []
    found = []
    record = values.get("record_bytes")
    if values["framing"] == "fixed" and ingress and record is None:
        found.append(
            problem(
                "record_bytes",
                "MISSING",
                "nothing",
                "the bytes of each fixed record",
                "add record_bytes = N to this adapter",
            )
        )
    if values["framing"] == "fixed" and record is not None and record > payload_max:
        found.append(
            problem(
                "record_bytes",
                "RANGE",
                str(int(record)),
                f"at most {payload_max}, what a slot holds",
                "write a larger slot_bytes in the spec's ring: a multiple of 64 of at least "
                f"{int(record) + 16}",
            )
        )
    if values.get("length_bytes", 4) not in {1, 2, 4, 8}:
        found.append(
            problem(
                "length_bytes",
                "VALUE",
                str(values["length_bytes"]),
                "1, 2, 4 or 8",
                "write length_bytes as 1, 2, 4 or 8",
            )
        )
    return found
