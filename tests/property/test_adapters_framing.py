"""Framing against plain-Python models: any bytes, in any pieces, from any position."""

from __future__ import annotations

import gzip
import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from byteord._cext import adapter_drive as drive
from byteord._cext import adapters as native
from byteord.adapters.framing import Framing
from byteord.adapters.open import OpenContext, Resume, open_sink, open_source
from tests.unit.adapters import captures as make

PAYLOAD_MAX = 48
SLOT_BYTES = 64

Outcome = tuple[list[bytes], dict[str, int], bool]
"""Messages, counts by reason (those above 0), whether the framing was lost."""

content = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from([b"\n", b"\r", b"ab", b"\0", b"x" * 47, b"y" * 49])).map(b"".join),
    st.lists(st.binary(max_size=60).map(lambda b: bytes([len(b)]) + b), max_size=12).map(b"".join),
    st.lists(
        st.binary(max_size=60).map(lambda b: (len(b) + 2).to_bytes(2, "big") + b), max_size=12
    ).map(b"".join),
)
cuts = st.lists(st.integers(0, 400), max_size=12)

framings = st.one_of(
    st.builds(
        Framing,
        kind=st.just(0),
        delimiter=st.sampled_from([10, 0, 98]),
        strip_cr=st.integers(0, 1),
        skip_empty=st.integers(0, 1),
    ),
    st.builds(Framing, kind=st.just(1), record_bytes=st.integers(1, PAYLOAD_MAX)),
    st.builds(
        Framing,
        kind=st.just(2),
        length_bytes=st.sampled_from([1, 2, 4, 8]),
        big_endian=st.integers(0, 1),
        counts_itself=st.integers(0, 1),
    ),
)


def lines_model(data: bytes, framing: Framing) -> Outcome:
    """Lines as a person would write it."""
    delimiter = bytes([framing.delimiter])
    lines = data.split(delimiter)
    messages, oversize = [], 0
    for number, line in enumerate(lines):
        ended = number < len(lines) - 1
        if not ended and not line:
            continue
        text = line[:-1] if ended and framing.strip_cr and line.endswith(b"\r") else line
        if len(text) > PAYLOAD_MAX:
            oversize += 1
        elif text or not framing.skip_empty:
            messages.append(text)
    return messages, {"oversize": oversize} if oversize else {}, False


def fixed_model(data: bytes, framing: Framing) -> Outcome:
    """Fixed records as a person would write it."""
    size = framing.record_bytes
    whole = len(data) // size
    messages = [data[number * size : (number + 1) * size] for number in range(whole)]
    return messages, {"truncated": 1} if len(data) % size else {}, False


def prefixed_model(data: bytes, framing: Framing) -> Outcome:
    """Length prefixes as a person would write it."""
    messages: list[bytes] = []
    counts: dict[str, int] = {}

    def count(reason: str) -> None:
        counts[reason] = counts.get(reason, 0) + 1

    width, at = framing.length_bytes, 0
    while at < len(data):
        prefix = data[at : at + width]
        if len(prefix) < width:
            count("truncated")
            break
        size = int.from_bytes(prefix, "big" if framing.big_endian else "little")
        size -= width if framing.counts_itself else 0
        if size < 0:
            count("malformed")
            return messages, counts, True
        body = data[at + width : at + width + size]
        if size > PAYLOAD_MAX:
            count("oversize")
        elif len(body) < size:
            count("truncated")
        else:
            messages.append(body)
        at += width + size
    return messages, counts, False


def model(data: bytes, framing: Framing) -> Outcome:
    """Return what the framing must make of the bytes."""
    return (lines_model, fixed_model, prefixed_model)[framing.kind](data, framing)


def pieces(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut the bytes at the places."""
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(marks) if begin < end]


def counts_of(report: dict[str, Any]) -> dict[str, int]:
    """Return the counts above 0."""
    return {name: count for name, count in report["rejected"].items() if count}


def read_pieces(chunks: Sequence[bytes], framing: Framing, max_batch: int) -> Outcome:
    """Return what the native framing makes of chunks that arrive one by one."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    messages: list[bytes] = []
    with closing(native.open_socket_source(framing, fd=ours.detach())) as handle, theirs:
        for chunk in chunks:
            theirs.sendall(chunk)
            messages += drive.drain(handle, slot_bytes=SLOT_BYTES, max_batch=max_batch)
        theirs.shutdown(socket.SHUT_WR)
        messages += drive.drain(handle, slot_bytes=SLOT_BYTES, max_batch=max_batch)
        report = handle.report()
    return messages, counts_of(report), report["status"] == native.FAILED


@given(content, framings, cuts, st.integers(1, 5))
def test_any_chunking_gives_the_frames_of_the_model(
    data: bytes, framing: Framing, places: list[int], max_batch: int
) -> None:
    """The same bytes give the same messages and counts, whatever the pieces they come in."""
    assert read_pieces(pieces(data, places), framing, max_batch) == model(data, framing)


def packet(payload: bytes) -> bytes:
    """Return a frame with a payload."""
    return make.ethernet(make.ipv4(make.udp(payload)))


@given(
    st.lists(st.binary(max_size=60), max_size=8),
    st.sampled_from(["<", ">"]),
    st.sampled_from([make.MICRO, make.NANO]),
    cuts,
    st.integers(0, 30),
)
def test_captures_in_any_chunking(
    payloads: list[bytes], order: str, magic: int, places: list[int], cut: int
) -> None:
    """A capture gives its payloads in order; one that is cut gives those before the cut."""
    data = make.pcap([packet(payload) for payload in payloads], order=order, magic=magic)
    data = data[: len(data) - cut]
    whole = [number for number in range(len(payloads) + 1) if _size(payloads[:number]) <= len(data)]
    fit = [payload for payload in payloads[: max(whole, default=0)] if len(payload) <= PAYLOAD_MAX]
    messages, counts, lost = read_pieces(pieces(data, places), Framing(kind=3), 3)
    assert (messages, lost) == (fit, False)
    at_an_edge = not data or len(data) in {_size(payloads[:number]) for number in whole}
    assert counts.get("truncated", 0) == (0 if at_an_edge else 1)


def _size(payloads: Sequence[bytes]) -> int:
    return 24 + sum(16 + 42 + len(payload) for payload in payloads)


@given(st.binary(max_size=300), st.booleans(), st.booleans(), cuts)
def test_nonsense_after_a_pcap_header_never_hangs(
    data: bytes, whole: bool, swapped: bool, places: list[int]
) -> None:
    """Any bytes end somehow, and the same way in any pieces."""
    header = make.pcap([], order=">" if swapped else "<")
    framing = Framing(kind=3, whole_frames=int(whole))
    in_one = read_pieces([header + data], framing, 5)
    assert read_pieces(pieces(header + data, places), framing, 2) == in_one


@settings(max_examples=60)
@given(content, framings, st.lists(st.integers(1, 6), min_size=1, max_size=8), st.booleans())
def test_any_resume_position_gives_the_tail(
    data: bytes, framing: Framing, lives: list[int], compressed: bool
) -> None:
    """A worker that dies after any commit loses and repeats nothing, counts included."""
    wanted = model(data, framing)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "in"
        path.write_bytes(gzip.compress(data) if compressed else data)
        options = as_options(framing) | {
            "path": str(path),
            "gzip": "always" if compressed else "never",
        }
        messages: list[bytes] = []
        resume = None
        report: dict[str, Any] = {}
        for limit in [*lives, 10_000]:
            context = OpenContext(payload_max=PAYLOAD_MAX, read_dirs=(directory,), resume=resume)
            with closing(open_source("file", options, context)) as handle:
                messages += drive.drain(handle, slot_bytes=SLOT_BYTES, limit=limit)
                report = handle.report()
            if report["status"] >= native.ENDED:
                break
            resume = Resume(
                report["position"], report["bytes_total"], tuple(report["rejected"].values())
            )
    assert (messages, counts_of(report), report["status"] == native.FAILED) == wanted


def as_options(framing: Framing) -> dict[str, Any]:
    """Return the options that give this framing."""
    if framing.kind == 0:
        empty = "skip" if framing.skip_empty else "keep"
        delimiter = f"hex:{framing.delimiter:02x}"
        return {"delimiter": delimiter, "crlf": bool(framing.strip_cr), "empty_lines": empty}
    if framing.kind == 1:
        return {"framing": "fixed", "record_bytes": framing.record_bytes}
    return {
        "framing": "length_prefixed",
        "length_bytes": framing.length_bytes,
        "length_endian": "big" if framing.big_endian else "little",
        "length_includes_prefix": bool(framing.counts_itself),
    }


@given(
    st.lists(
        st.tuples(st.binary(max_size=PAYLOAD_MAX), st.sampled_from([0, 0, 0, 1])), max_size=40
    ),
    st.sampled_from([1, 2, 4, 8]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 9),
)
def test_what_a_sink_writes_a_source_reads(
    messages: list[tuple[bytes, int]], width: int, big: bool, counts_itself: bool, batch: int
) -> None:
    """Length-prefixed output read back with the same options gives the live messages."""
    options: dict[str, Any] = {
        "framing": "length_prefixed",
        "length_bytes": width,
        "length_endian": "big" if big else "little",
        "length_includes_prefix": counts_itself,
    }
    with tempfile.TemporaryDirectory() as directory:
        options["path"] = os.path.join(directory, "out")
        context = OpenContext(PAYLOAD_MAX, read_dirs=(directory,), write_dirs=(directory,))
        with closing(open_sink("file", options, context)) as out:
            for first in range(0, len(messages), batch):
                part = messages[first : first + batch]
                payloads, flags = [payload for payload, _flag in part], [flag for _p, flag in part]
                assert drive.push(out, payloads, slot_bytes=SLOT_BYTES, flags=flags) == len(part)
        with closing(open_source("file", options | {"gzip": "never"}, context)) as back:
            got = drive.drain(back, slot_bytes=SLOT_BYTES)
    assert got == [payload for payload, flag in messages if not flag]
