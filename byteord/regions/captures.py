"""What a recorded run leaves on disk: where it lies, and how it is read.

Owns names, modes and the reading of `capture.json`; what a frame is stands in `journal.h`. The
published description is `byteord/capture/README.md`.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byteord._cext import journal
from byteord._cext.capture import CHOICES, Tape
from byteord.deployment.capture import CapturePlan, TapePlan
from byteord.deployment.plan import RunPlan
from byteord.errors import RegionError
from byteord.regions.journals import Found, names, recover, segment_path

FORMAT_VERSION = 1
ABOUT, SPEC, DEPLOYMENT = "capture.json", "spec.kv", "deployment.kv"
SELF = "self_sha256"
"""In a document: the digest of its text without that line."""
Entry = tuple[int, int, int, int, bytes]
"""Own count, position in the stream, type, ingress time in ns of the run's clock, payload."""


def run_directory(capture: CapturePlan, run_id: str) -> Path:
    """Return the directory of one run's capture."""
    return Path(capture.directory, run_id)


def stream_directory(capture: CapturePlan, run_id: str, tape: TapePlan) -> Path:
    """Return the directory of the segments of one stream."""
    return run_directory(capture, run_id) / tape.stream / tape.name


def keeps_messages(capture: CapturePlan, tape: TapePlan) -> bool:
    """Tell whether messages of a stream are kept, not only their digest."""
    return tape.stream != "out" or capture.outputs == "messages"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file, with a digest of what else is in it, as a whole or not at all; OSError."""
    bare = {key: value for key, value in content.items() if key != SELF}
    told = {**bare, SELF: hashlib.sha256(_text(bare)).hexdigest()}
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    with open(descriptor, "wb") as file:
        file.write(_text(told))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_json(data: bytes) -> dict[str, Any]:
    """Return the content of such a file; ValueError for one that is not what was written.

    One that tells no digest of its own is only parsed: it was not written by `write_json`.
    """
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  a file's content, no argument
    told = content.pop(SELF, None)
    if told is not None:
        seen = hashlib.sha256(_text(content)).hexdigest()
        if seen != told or _text({**content, SELF: told}) != data:
            raise ValueError(f"it was changed: SHA-256 {seen}, wanted {told} ({SELF})")
    return content


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def recovered(directory: Path) -> tuple[Found, int, tuple[int, int] | None]:
    """Cut a torn tail; return what is there, the position after the last frame, where it ends.

    The last is (segment, offset), None without segments. RegionError JOURNAL_CORRUPT.
    """
    found = recover(directory)
    position, end = 0, None
    for number, _ in found.segments:
        scan = journal.scan(segment_path(directory, number).read_bytes())
        position = scan["last_rx_sequence"] + 1 if scan["frames"] else position
        end = (number, scan["end_offset"])
    return found, position, end


def read_about(directory: Path) -> dict[str, Any]:
    """Return `capture.json`; RegionError CAPTURE_UNREADABLE says what was wrong with it."""
    path = directory / ABOUT
    try:
        about = read_json(path.read_bytes())
        version = about["capture_v"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: {type(error).__name__}: {error}; {directory} is no capture of a run"
        raise RegionError(message, reason="CAPTURE_UNREADABLE") from error
    if version != FORMAT_VERSION:
        message = f"{path}: capture version {version!r}: this byteor reads {FORMAT_VERSION}"
        raise RegionError(message, reason="CAPTURE_VERSION")
    return about


def read_stream(directory: Path) -> Iterator[Entry]:
    """Yield what was kept of one stream, oldest first; a segment is in memory at a time.

    What was torn off at the end is not there; RegionError JOURNAL_CORRUPT, with file and offset,
    for anything else that is not whole: every frame before it has been yielded.
    """
    expected: int | None = None
    ids = names(directory)
    for index, number in enumerate(ids):
        path = segment_path(directory, number)
        data = path.read_bytes()
        try:
            scan = journal.scan(data)
        except ValueError as error:
            raise _corrupt(path, 0, str(error)) from error
        if scan["id"] != number or (expected is not None and number != expected):
            wanted = number if expected is None else expected
            raise _corrupt(path, 0, f"it begins with frame {scan['id']}, wanted {wanted}")
        yield from journal.entries(data)
        if scan["good_behind"]:
            why = f"a whole one follows at {scan['good_behind']}"
            raise _corrupt(path, scan["end_offset"], why)
        if index < len(ids) - 1 and not _ends_well(data, scan["end_offset"]):
            raise _corrupt(path, scan["end_offset"], "it is cut off, and another segment follows")
        expected = scan["next_sequence"]


def _ends_well(data: bytes, offset: int) -> bool:
    """Tell whether nothing follows the last frame: room that the next one did not fit."""
    return not any(memoryview(data)[offset : offset + 8])


def _corrupt(path: Path, offset: int, why: str) -> RegionError:
    message = f"capture segment {path}: no whole frame at offset {offset}: {why}"
    return RegionError(message, reason="JOURNAL_CORRUPT")


class Tapes:
    """The tapes of a run seen from outside: how far its recorder has come."""

    def __init__(self, run_directory: str, plan: RunPlan) -> None:
        """Attach read-only; RegionError when one is missing or not sound."""
        plans = plan.capture.tapes if plan.capture else ()
        self._tapes = [(tape, _attach(Path(run_directory, tape.file))) for tape in plans]

    def stats(self) -> list[dict[str, Any]]:
        """Return the figures of each stream, see `byteord._cext.capture.Tape.stats`."""
        return [
            {
                "stream": plan.stream,
                "name": plan.name,
                "role": plan.role,
                "counted": plan.counted,
                **tape.stats(),
            }
            for plan, tape in self._tapes
        ]


def _attach(path: Path) -> Tape:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        message = f"region {path}: {error.strerror}"
        raise RegionError(message, reason="REGION_MISSING") from error
    try:
        return Tape(descriptor)
    except ValueError as error:
        message = f"region {path}: {error}; it is not used"
        raise RegionError(message, reason="REGION_NO_TAPE") from error
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a role was free to do with some messages, in order."""

    first: int
    """Position of the first of them in what the role has taken; a jump is a gap."""
    messages: int
    """How many; 0: the next ones speak of them too."""
    made: tuple[tuple[str, int, int], ...]
    """(kind, source, count); kinds are those of `byteord._cext.capture.CHOICES`."""


def read_choices(directory: Path) -> Iterator[Choices]:
    """Yield the choices of a role; raises as `read_stream`."""
    for _, first, _, messages, payload in read_stream(directory):
        rows = struct.iter_unpack("<IIQ", payload)
        made = tuple((CHOICES.get(kind, str(kind)), source, count) for kind, source, count in rows)
        yield Choices(first, messages, made)
