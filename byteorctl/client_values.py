"""What the client's calls take and give, where plain data would not do. Knows nothing of gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from byteorctl.errors import Plain
from byteorctl.files import DocumentFile


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of a run's output; the last one has `end` set and speaks of the whole."""

    data: bytes
    offset: int
    end: bool
    total_bytes: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class SnapshotChunk:
    """A piece of a snapshot; `crc32c` is of all so far, `sha256` of the whole, in the last one."""

    data: bytes
    crc32c: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class TappedMessage:
    """A message that passed; `payload` is a digest where the batch says so."""

    sequence: int
    stripe: int
    time_ns: int
    type: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class TapBatch:
    """Messages that passed, and totals since the tap began."""

    messages: tuple[TappedMessage, ...]
    missed: int
    filtered: int
    digests: bool
    timed_out: bool
    withheld: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What `run` asks for."""

    spec: DocumentFile
    deployment: DocumentFile | None
    client_input: bool
    client_output: bool
    single_process: bool
    overrides: Mapping[str, str]
    validate_only: bool = False
    approval: bytes = b""


@dataclass(frozen=True, slots=True)
class ReplayEvent:
    """Progress, or at the end the result."""

    progress: Plain | None
    result: Plain | None
