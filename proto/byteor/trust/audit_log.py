"""The audit log as files: records that name their predecessor's hash, checkpoints that are signed.

One record is one line of canonical JSON. `prev` is the SHA-256 of the line before it, so nothing
can be changed, removed or moved without the next line telling; a checkpoint signs that hash with
the host's key, so nobody without the key can write another history up to it. A log is a directory
of segments `audit-SEQUENCE.jsonl`, each of which begins with a record that repeats the last
checkpoint; `head.json` holds the last checkpoint once more, so that a log which was set back to an
older state does not match it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from byteor.trust.keys import KID, key_id, pae, verify
from byteor.trust.strict import Reader, TrustError, decode_base64, dumps, loads

CHECKPOINT_TYPE = "application/vnd.byteor.audit-checkpoint.v1+json"
GENESIS = "0" * 64
RECORD_BYTES_MAX = 64 << 10
HEAD = "head.json"
PUBLIC_KEY = "host.pub"
MALFORMED = "AUDIT_MALFORMED"
KIND = r"[a-z][a-z0-9_.]{0,63}"
_SEGMENT = re.compile(r"audit-(\d{12})\.jsonl\Z")
_HEX = r"[0-9a-f]{64}"
_AT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `prev` is the hash of the line before it, `hash` that of its own line."""

    sequence: int
    at: str
    kind: str
    prev: str
    data: dict[str, Any]
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a log, and where: file, and line from 1 (0: the whole file)."""

    code: str
    file: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found. The tail is what no checkpoint covers yet."""

    problems: tuple[Problem, ...]
    records: int
    first: int
    last: int
    covered: int
    """Last sequence that a good checkpoint covers; -1: none."""
    checkpoints: int
    tail: int
    tail_since: str
    """Time of the first record of the tail; empty when there is no tail."""

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the log: its name and its lines without their ends."""

    name: str
    lines: Sequence[bytes]
    torn: bool = False
    """It does not end with a whole line."""


def render_record(sequence: int, at: str, kind: str, prev: str, data: dict[str, Any]) -> bytes:
    """Return the line of a record, without its end."""
    return dumps({"v": 1, "seq": sequence, "at": at, "kind": kind, "prev": prev, "data": data})


def parse_record(line: bytes) -> Record:
    """Return the record in a line; raise TrustError(AUDIT_MALFORMED) when it is none."""
    raw = loads(line, "audit record", MALFORMED, RECORD_BYTES_MAX)
    reader = Reader(raw, "audit record", MALFORMED)
    reader.integer("v", 1, 1)
    data = reader.take("data")
    if not isinstance(data, dict):
        reader.fail("data is no object")
    record = Record(
        sequence=reader.integer("seq", 0, 1 << 56),
        at=reader.text("at", _AT),
        kind=reader.text("kind", KIND),
        prev=reader.text("prev", _HEX),
        data=data,
        hash=hashlib.sha256(line).hexdigest(),
    )
    reader.end()
    if dumps(raw) != line:
        reader.fail("is not in its one form")
    return record


def checkpoint_message(data: dict[str, Any]) -> bytes:
    """Return what the signature of a checkpoint covers: all of it but the signature."""
    return pae(CHECKPOINT_TYPE, dumps({name: data[name] for name in data if name != "sig"}))


def checkpoint_problem(data: dict[str, Any], public: bytes) -> str:
    """Return why a checkpoint does not hold, empty if it does."""
    try:
        reader = Reader(dict(data), "checkpoint", MALFORMED)
        reader.integer("covers", 0, 1 << 56)
        reader.text("at", _AT)
        reader.text("head", _HEX)
        kid = reader.text("key", KID)
        signature = decode_base64(reader.text("sig"), "signature", MALFORMED)
    except TrustError as error:
        return error.message
    if kid != key_id(public):
        return f"it is signed with the key {kid}; the given one is {key_id(public)}"
    if not verify(public, signature, checkpoint_message(data)):
        return "its signature is not that key's over it"
    return ""


@dataclass(slots=True)
class _Walk:
    """A verification on its way through the lines."""

    public: bytes
    problems: list[Problem] = field(default_factory=list)
    hashes: dict[int, str] = field(default_factory=dict)
    signatures: dict[int, str] = field(default_factory=dict)
    """Of good checkpoints, by the sequence that they stand at."""
    last: Record | None = None
    first: int = 0
    records: int = 0
    covered: int = -1
    checkpoints: int = 0
    tail: int = 0
    tail_since: str = ""

    def add(self, code: str, file: str, line: int, message: str) -> None:
        self.problems.append(Problem(code, file, line, message))

    def take(self, file: str, number: int, line: bytes) -> None:
        try:
            record = parse_record(line)
        except TrustError as error:
            self.add("AUDIT_MALFORMED", file, number, error.message)
            return
        self._check_chain(file, number, record)
        self.records += 1
        self.last = record
        self.hashes[record.sequence] = record.hash
        if not self.tail:
            self.tail_since = record.at
        self.tail += 1
        if record.kind == "checkpoint":
            self._take_checkpoint(file, number, record)

    def _check_chain(self, file: str, number: int, record: Record) -> None:
        before = self.last
        if before is None:
            self.first = record.sequence
            if record.sequence == 0 and record.prev != GENESIS:
                self.add("AUDIT_CHAIN_BROKEN", file, number, "the first record has a predecessor")
            elif record.sequence:
                self._check_begin(file, number, record)
            return
        if record.sequence != before.sequence + 1:
            text = f"record {record.sequence} follows record {before.sequence}"
            self.add("AUDIT_SEQUENCE", file, number, text)
        if record.prev != before.hash:
            text = f"record {record.sequence} does not continue the record before it"
            self.add("AUDIT_CHAIN_BROKEN", file, number, text)

    def _check_begin(self, file: str, number: int, record: Record) -> None:
        """A log whose older segments are elsewhere begins with the checkpoint they ended with."""
        checkpoint = record.data.get("checkpoint")
        if record.kind != "segment" or not isinstance(checkpoint, dict):
            text = f"the log begins at record {record.sequence}, which is no beginning"
            self.add("AUDIT_BEGINNING_MISSING", file, number, text)
            return
        if problem := checkpoint_problem(checkpoint, self.public):
            self.add("AUDIT_CHECKPOINT_BAD", file, number, f"the repeated checkpoint: {problem}")
        elif checkpoint["covers"] >= record.sequence:
            self.add("AUDIT_CHECKPOINT_BAD", file, number, "the repeated checkpoint is of later")

    def _take_checkpoint(self, file: str, number: int, record: Record) -> None:
        self.checkpoints += 1
        data = record.data
        problem = checkpoint_problem(data, self.public)
        if not problem and data["covers"] != record.sequence - 1:
            problem = f"it covers up to {data['covers']} and stands at {record.sequence}"
        if not problem and (data["head"], data["at"]) != (record.prev, record.at):
            problem = "it is of another history"
        if problem:
            text = f"checkpoint {record.sequence}: {problem}"
            self.add("AUDIT_CHECKPOINT_BAD", file, number, text)
            return
        self.signatures[record.sequence] = data["sig"]
        self.covered, self.tail, self.tail_since = record.sequence - 1, 0, ""


def verify_log(
    segments: Iterable[Segment], public: bytes, checkpoints: Sequence[dict[str, Any]] = ()
) -> Verdict:
    """Return what is wrong with a log.

    Args:
        segments: its files, oldest first.
        public: the host's public key.
        checkpoints: checkpoints kept elsewhere (`head.json`, the system journal), which the log
            must contain: without one, a log that was cut after an older checkpoint looks like one
            that has not gone on.
    """
    walk = _Walk(public)
    for segment in segments:
        for number, line in enumerate(segment.lines, 1):
            walk.take(segment.name, number, line)
        if segment.torn:
            text = "the last line is not whole: a write that did not finish"
            walk.add("AUDIT_TORN", segment.name, len(segment.lines) + 1, text)
    for checkpoint in checkpoints:
        _check_kept(walk, checkpoint)
    last = walk.last
    return Verdict(
        problems=tuple(walk.problems),
        records=walk.records,
        first=walk.first,
        last=last.sequence if last else -1,
        covered=walk.covered,
        checkpoints=walk.checkpoints,
        tail=walk.tail,
        tail_since=walk.tail_since,
    )


def _check_kept(walk: _Walk, checkpoint: dict[str, Any]) -> None:
    if problem := checkpoint_problem(checkpoint, walk.public):
        walk.add("AUDIT_CHECKPOINT_BAD", HEAD, 0, f"the checkpoint kept beside the log: {problem}")
        return
    covers = checkpoint["covers"]
    if covers + 1 < walk.first or walk.signatures.get(covers + 1) == checkpoint["sig"]:
        return
    last = walk.last.sequence if walk.last else -1
    text = f"record {covers} is not the one that it covers"
    if covers + 1 > last:
        text = f"it stands at record {covers + 1} and the log ends at {last}"
    walk.add("AUDIT_REWOUND", HEAD, 0, f"the checkpoint kept beside the log: {text}")


def segment_name(sequence: int) -> str:
    """Return the name of the segment that begins with a record."""
    return f"audit-{sequence:012d}.jsonl"


def segment_files(directory: str) -> list[str]:
    """Return the paths of a log's segments, oldest first."""
    names = sorted(name for name in os.listdir(directory) if _SEGMENT.match(name))
    return [os.path.join(directory, name) for name in names]


def read_segment(path: str) -> Segment:
    """Return a file of a log."""
    with open(path, "rb") as file:
        content = file.read()
    return split_segment(os.path.basename(path), content)


def split_segment(name: str, content: bytes) -> Segment:
    """Return the lines of a file's content."""
    lines = content.split(b"\n")
    rest = lines.pop()
    return Segment(name, lines, torn=bool(rest))


def read_log(path: str) -> Iterator[Segment]:
    """Yield the segments of a log: a directory of them, or one file."""
    for file in segment_files(path) if os.path.isdir(path) else [path]:
        yield read_segment(file)


def read_checkpoint(data: bytes) -> dict[str, Any]:
    """Return a checkpoint that was kept: its object alone, or a record or log line that has it."""
    raw = loads(data.strip(), "checkpoint", MALFORMED)
    for name in ("data", "checkpoint"):
        if isinstance(raw, dict) and isinstance(raw.get(name), dict):
            raw = raw[name]
    if not isinstance(raw, dict):
        raise TrustError(MALFORMED, "checkpoint: is no object")
    return raw
