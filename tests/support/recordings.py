"""Captures made up for a test: the directory that a run leaves of what it took and let out.

A second writer of the segment format, in a few lines, so that reading is not tested against itself.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byteord._cext.stages import crc32c
from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.deployment.model import Authority
from byteord.deployment.validate import validate
from byteord.spec.document import Source
from byteord.stages.catalogue import CATALOGUE as STAGES

SEGMENT_BYTES = 1 << 16
RUN_ID = "018f3a1b2c3-d4e5f6"
FIRST_NS = 5_000_000_000
STEP_NS = 1_000
FIRST_UNIX_NS = 1_790_000_000_000_000_000
_HEADER = struct.Struct("<8sIIQQQ24x")
_FRAME = struct.Struct("<IB3xQQQQII")


@dataclass(frozen=True)
class Frame:
    """One recorded message."""

    payload: bytes
    rx_sequence: int
    time_ns: int
    type: int = 0


@dataclass
class Capture:
    """What a made-up run recorded."""

    inputs: Mapping[str, Sequence[Frame]]
    outputs: Mapping[str, Sequence[Frame]]
    messages: bool = True
    """Every message that left is there, besides the digests."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Changes of `capture.json`."""
    checkpoint: int = 100


def frames(payloads: Sequence[bytes], *, first_ns: int = FIRST_NS) -> list[Frame]:
    """Return messages as an ingress got them, one after the other."""
    return [
        Frame(payload, index, first_ns + index * STEP_NS) for index, payload in enumerate(payloads)
    ]


def write_segments(directory: Path, messages: Sequence[Frame]) -> None:
    """Write a journal's segments of `SEGMENT_BYTES` each."""
    directory.mkdir(parents=True, exist_ok=True)
    segment, data = 0, bytearray(_header(0))
    for sequence, message in enumerate(messages):
        size = (_FRAME.size + len(message.payload) + 7) & ~7
        if len(data) + size > SEGMENT_BYTES:
            _write(directory, segment, data)
            segment, data = sequence, bytearray(_header(sequence))
        data += _frame(segment, sequence, message)
    _write(directory, segment, data)


def _write(directory: Path, segment: int, data: bytearray) -> None:
    whole = bytes(data).ljust(SEGMENT_BYTES, b"\0")
    (directory / f"{segment:020d}.seg").write_bytes(whole)


def _header(segment: int) -> bytes:
    fields = (segment, SEGMENT_BYTES, FIRST_UNIX_NS)
    bare = _HEADER.pack(b"BYTEORj\n", 1, 0, *fields)
    return _HEADER.pack(b"BYTEORj\n", 1, crc32c(bare, 0), *fields)


def _frame(segment: int, sequence: int, message: Frame) -> bytes:
    unix_ns = FIRST_UNIX_NS + message.time_ns
    head = (
        len(message.payload) + 1,
        message.type,
        sequence,
        message.rx_sequence,
        message.time_ns,
        unix_ns,
        0,
    )
    bare = _FRAME.pack(*head, 0)
    crc = crc32c(bare[:-4], 0)
    crc = crc32c(message.payload, crc)
    crc = crc32c(struct.pack("<Q", segment), crc)
    data = _FRAME.pack(*head, crc) + message.payload
    return data.ljust((len(data) + 7) & ~7, b"\0")


def digest_of(payloads: Sequence[bytes]) -> str:
    """Return the rolling digest of an egress."""
    digest = hashlib.sha256()
    for payload in payloads:
        digest.update(struct.pack("<I", len(payload)) + payload)
    return digest.hexdigest()


def write_capture(
    directory: Path,
    spec: Path,
    deployment: Path,
    capture: Capture,
    authority: Authority,
    *,
    client_output: bool = True,
) -> Path:
    """Write the capture of a run of these documents; return its directory.

    A client fed the run, and took its output unless `client_output` says otherwise.
    """
    report = validate(
        Source(spec.name, spec.read_bytes()),
        Source(deployment.name, deployment.read_bytes()),
        authority=authority,
        stages=STAGES,
        adapters=ADAPTERS,
        client_input=True,
        client_output=client_output,
        level="topology",
    )
    assert report.spec is not None, report.findings
    assert report.deployment is not None, report.findings
    directory.mkdir(parents=True)
    (directory / "spec.kv").write_bytes(report.spec.kv)
    (directory / "deployment.kv").write_bytes(report.deployment.kv)
    for name, given in capture.inputs.items():
        write_segments(directory / "in" / name, given)
    for name, left in capture.outputs.items():
        _write_output(directory / "out", name, left, capture)
    facts = {
        "capture_v": 1,
        "run": RUN_ID,
        "spec_name": report.spec.name,
        "spec_sha256": report.spec.sha256,
        "deployment_sha256": report.deployment.sha256,
        "environment": str(report.deployment.environment),
        "model": str(report.spec.model),
        "started_unix_ns": FIRST_UNIX_NS,
        "ended_unix_ns": FIRST_UNIX_NS + 1,
        "state": "completed",
        "keep": "all",
        "outputs": "messages" if capture.messages else "digest",
        "on_full": "degrade",
        "ingresses": [{"name": name} for name in capture.inputs],
        "egresses": [{"name": name} for name in capture.outputs],
        "choosers": [],
        "conditions": {},
        **capture.facts,
    }
    (directory / "capture.json").write_text(json.dumps(facts))
    return directory


def _write_output(place: Path, name: str, left: Sequence[Frame], capture: Capture) -> None:
    place.mkdir(parents=True, exist_ok=True)
    payloads = [frame.payload for frame in left]
    step = capture.checkpoint
    marks = [[n, digest_of(payloads[:n])] for n in range(step, len(payloads) + 1, step)]
    digest = {"count": len(left), "sha256": digest_of(payloads), "checkpoints": marks}
    (place / f"{name}.json").write_text(json.dumps(digest))
    if capture.messages:
        write_segments(place / name, left)
