"""Whether a capture is whole: every frame, every count and every digest against each other.

Owns that judgement. It reads files only, and never repairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byteord.errors import RegionError
from byteord.regions.captures import DEPLOYMENT, SPEC, read_about, read_json, read_stream
from byteord.regions.journals import names

_STREAMS = (("in", "ingresses"), ("out", "egresses"), ("choices", "choosers"))


@dataclass(slots=True)
class _Read:
    """What one stream turned out to hold."""

    first: int | None = None
    frames: int = 0
    following: int = 0
    rolling: Any = None
    contiguous: bool = True


def check_capture(directory: Path) -> list[str]:
    """Return what is wrong with a capture, each with file and place; nothing: it is whole.

    A capture whose run did not end (`ended_unix_ns` null) is judged by its frames alone.
    """
    try:
        about = read_about(directory)
    except RegionError as error:
        return [error.message]
    problems = _check_documents(directory, about)
    for stream, key in _STREAMS:
        rows = about.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            problems.append(f"capture.json: {key} is no list of streams")
            continue
        for row in rows:
            problems += _check_stream(directory, stream, row, about)
    return problems


def _check_documents(directory: Path, about: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, key in ((SPEC, "spec_sha256"), (DEPLOYMENT, "deployment_sha256")):
        try:
            found = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")
            continue
        if found != about.get(key):
            problems.append(f"{name}: SHA-256 {found}, wanted {about.get(key)} ({key})")
    return problems


def _check_stream(
    directory: Path, stream: str, row: Mapping[str, Any], about: Mapping[str, Any]
) -> list[str]:
    name = str(row.get("name"))
    where, label = directory / stream / name, f"{stream}/{name}"
    kept = stream != "out" or about.get("outputs") == "messages"
    read = _Read(rolling=hashlib.sha256())
    problems = _read(where, label, read) if kept else []
    ended = about.get("ended_unix_ns") is not None
    if kept and ended and not problems and read.following != row.get("kept"):
        problems.append(
            f"{label}: its frames end at {read.following}, wanted {row.get('kept')} as "
            "capture.json says: some are missing at the end, or too many"
        )
    if stream == "out" and ended:
        problems += _check_digest(directory, name, row, read if kept else None)
    return problems


def _read(where: Path, label: str, read: _Read) -> list[str]:
    try:
        if not names(where):
            return []
        position = -1
        for sequence, rx_sequence, _, _, payload in read_stream(where):
            if read.first is None:
                read.first = sequence
            read.contiguous &= rx_sequence == position + 1
            position = rx_sequence
            read.frames += 1
            read.following = sequence + 1
            read.rolling.update(len(payload).to_bytes(4, "little") + payload)
    except RegionError as error:
        return [f"{label}: {error.message}"]
    return []


def _check_digest(
    directory: Path, name: str, row: Mapping[str, Any], read: _Read | None
) -> list[str]:
    path = directory / "out" / f"{name}.json"
    label = f"out/{name}.json"
    try:
        said = read_json(path.read_bytes())
        count, digest = int(said["count"]), str(said["sha256"])
        checkpoints = [(int(number), str(text)) for number, text in said["checkpoints"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{label}: {type(error).__name__}: {error}"]
    problems = []
    if count + int(row.get("lost") or 0) < int(row.get("seen") or 0):
        problems.append(f"{label}: {count} messages, wanted {row.get('seen')}")
    if checkpoints != sorted(checkpoints) or any(number > count for number, _ in checkpoints):
        problems.append(f"{label}: its checkpoints do not ascend to {count}")
    whole = read is not None and read.first == 0 and read.contiguous and read.frames == count
    if read is not None and whole and read.rolling.hexdigest() != digest:
        problems.append(f"{label}: SHA-256 {digest}, the messages have {read.rolling.hexdigest()}")
    return problems
