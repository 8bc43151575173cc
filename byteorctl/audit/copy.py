"""A copy of an audit log in memory: from a daemon, or from files that somebody took along."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from byteor.trust import keys
from byteor.trust.audit_log import (
    HEAD,
    PUBLIC_KEY,
    Segment,
    Verdict,
    parse_record,
    read_checkpoint,
    read_log,
    segment_name,
    verify_log,
)
from byteorctl.approve.files import read_file, trusted, write_file
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import unreadable


@dataclass(frozen=True, slots=True)
class LogCopy:
    """A log's segments, the checkpoint kept beside it (empty: none), and the host's public key."""

    segments: tuple[Segment, ...]
    checkpoint: bytes
    public_pem: bytes


def from_files(path: str, key: str | None, checkpoint: str | None) -> LogCopy:
    """Read a directory of segments, or one file; key and checkpoint are beside it by default."""
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    try:
        segments = tuple(read_log(path))
    except OSError as error:
        raise unreadable("audit log", path, error) from error
    if not segments:
        raise CliError(f"audit log {path}: has no segment audit-*.jsonl", Exit.NO_INPUT)
    beside = os.path.join(directory, HEAD)
    kept = checkpoint or (beside if os.path.exists(beside) else "")
    return LogCopy(
        segments,
        read_file("checkpoint", kept) if kept else b"",
        read_file("public key", key or os.path.join(directory, PUBLIC_KEY)),
    )


def from_daemon(parts: Iterable[dict[str, Any]], key: str | None) -> LogCopy:
    """Take a copy over the network; without `key` it is checked against the key it came with."""
    lines: list[bytes] = []
    checkpoint = public = b""
    for part in parts:
        checkpoint, public = part["checkpoint"] or checkpoint, part["public_key"] or public
        lines += part["lines"]
    with trusted():
        first = parse_record(lines[0]).sequence if lines else 0
    pem = read_file("public key", key) if key else public
    return LogCopy((Segment(segment_name(first), lines),), checkpoint, pem)


def verified(copy: LogCopy) -> Verdict:
    """Return what a verification finds; raises `CliError` for a key or checkpoint that is none."""
    with trusted():
        public = keys.read_public(copy.public_pem)
        kept = [read_checkpoint(copy.checkpoint)] if copy.checkpoint else []
    return verify_log(copy.segments, public, kept)


def export(copy: LogCopy, directory: str) -> None:
    """Write a copy as a directory that `audit verify` takes."""
    try:
        os.makedirs(directory)
    except OSError as error:
        raise CliError(
            f"directory {directory}: {error.strerror}; wanted one that is not there yet",
            Exit.NO_INPUT,
        ) from error
    for segment in copy.segments:
        content = b"".join(line + b"\n" for line in segment.lines)
        write_file("audit log", os.path.join(directory, segment.name), content)
    write_file("public key", os.path.join(directory, PUBLIC_KEY), copy.public_pem)
    if copy.checkpoint:
        write_file("checkpoint", os.path.join(directory, HEAD), copy.checkpoint + b"\n")
