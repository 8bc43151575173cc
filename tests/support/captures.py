"""Capture directories as a run leaves them, in the published format, for tests of their readers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from byteord._cext.stages import crc32c
from byteord.capture.entries import FRAME, HEADER, header_of

MARK = b"BYTEORj\n"
SEGMENT_BYTES = 4096


def segment(
    first: int,
    payloads: Sequence[bytes],
    *,
    step_ns: int = 1000,
    segment_bytes: int = SEGMENT_BYTES,
) -> bytes:
    """Return a segment whose first frame has the sequence `first`; padded as a writer leaves it."""
    made = bytearray(header_of(MARK, 1, first, segment_bytes, 1))
    for index, payload in enumerate(payloads):
        sequence = first + index
        when = sequence * step_ns
        head = FRAME.pack(len(payload) + 1, 7, sequence, sequence, when, when, 0, 0)[:-4]
        crc = crc32c(first.to_bytes(8, "little"), crc32c(payload, crc32c(head, 0)))
        made += head + crc.to_bytes(4, "little") + payload + bytes(-len(payload) % 8)
    assert len(made) <= segment_bytes
    assert len(made) >= HEADER.size
    return bytes(made) + bytes(segment_bytes - len(made))


def capture(top: Path, *, messages: int = 100, each: int = 20, ingress: str = "in") -> Path:
    """Write a capture of `messages` messages, `each` to a segment, and return its directory."""
    journal = top / "in" / ingress
    journal.mkdir(parents=True)
    for first in range(0, messages, each):
        payloads = [b"message %d" % number for number in range(first, min(first + each, messages))]
        (journal / f"{first:020d}.seg").write_bytes(segment(first, payloads))
    choices = top / "choices" / "merge"
    choices.mkdir(parents=True)
    (choices / f"{0:020d}.seg").write_bytes(segment(0, [b"choice"]))
    (top / "out").mkdir()
    (top / "out" / "out.json").write_text(json.dumps({"count": messages, "sha256": "00"}))
    (top / "spec.kv").write_text("name=x\n")
    head = {"capture_v": 1, "run": top.name, "ended_unix_ns": None, "secret_path": "/planted"}
    (top / "capture.json").write_text(json.dumps(head))
    return top
