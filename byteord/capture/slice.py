"""The part of a run's capture that goes into a bundle: which segments, cut at which frame.

Owns the choice; what a capture looks like on disk is described in `byteord/capture/README.md`. It
reads headers and checksums, never a payload, and changes nothing: a live run goes on writing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from byteord._cext import journal
from byteord.capture.entries import (
    FRAME,
    HEADER,
    BundleFile,
    CutSegment,
    Entry,
    GuardedSegment,
    StoredFile,
    frame_bytes,
    mapped,
)
from byteord.capture.guarding import Guarding
from byteord.capture.spec_view import SpecView

PREFIX = "capture"
NO_PAYLOADS = (
    "the deployment does not allow payloads to leave the host: [bundle] payload = true does"
)
UNDIGESTED = "digests of messages under data protection rules: short fields could be guessed"
_COUNTS = ("messages", "changed", "withheld")
_SMALL_BYTES_MAX = 16 << 20
_HEADS = [
    "capture_v",
    "run",
    "spec_name",
    "spec_sha256",
    "deployment_sha256",
    "environment",
    "model",
    "started_unix_ns",
    "ended_unix_ns",
    "state",
    "keep",
    "outputs",
    "on_full",
    "sync",
    "unrecorded",
    "ingresses",
    "egresses",
    "choosers",
    "conditions",
    "gaps",
    "retention",
    "sample_every",
    "last_messages",
    "last_time_s",
]
"""Keys of `capture.json` that are known to name no path and no person."""


@dataclass(frozen=True, slots=True)
class SliceWanted:
    """Which messages: all, the last so many or so long, or from a position of the input on."""

    last_messages: int = 0
    last_ns: int = 0
    from_sequence: int | None = None
    bytes_max: int = 0
    """The oldest segments are left out beyond that; 0: no bound."""

    @property
    def whole(self) -> bool:
        """Tell whether nothing narrower than everything is asked for."""
        return not self.last_messages and not self.last_ns and self.from_sequence is None


@dataclass(slots=True)
class Slice:
    """What goes into the bundle and what does not."""

    entries: list[Entry] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    """By journal: which frames, from where to where."""
    redacted: dict[str, Any] = field(default_factory=dict)
    """What data protection did to its messages; empty: it had nothing to do with them."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The first words of a frame."""

    sequence: int
    rx_sequence: int
    unix_ns: int


@dataclass(frozen=True, slots=True)
class _Segment:
    path: str
    name: str
    id: int
    first: _Head | None
    """None: it holds no frame yet."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What of a capture may leave, and how."""

    spec: Callable[[bytes], SpecView]
    """Makes of the recorded spec what may leave."""
    payload: bool = False
    guarding: Guarding | None = None
    """The rules that messages go through; None: none."""


def slice_of(directory: str, wanted: SliceWanted, leaving: Leaving) -> Slice:
    """Return the slice of the capture in `directory`; raises OSError when there is none."""
    found = Slice()
    heads = _heads(_read(os.path.join(directory, "capture.json")))
    path = os.path.join(directory, "spec.kv")
    if os.path.isfile(path):
        view = leaving.spec(_read(path))
        found.entries.append(BundleFile(f"{PREFIX}/spec.kv", view.kv))
        heads["spec_withheld"] = list(view.withheld)
    for name in _names(os.path.join(directory, "out"), ".json"):
        content = _read(os.path.join(directory, "out", name))
        if leaving.guarding is not None:
            content = _undigested(content)
        found.entries.append(BundleFile(f"{PREFIX}/out/{name}", content))
    for kind in ("in", "out", "choices"):
        for name in _directories(os.path.join(directory, kind)):
            _add_journal(found, directory, f"{kind}/{name}", wanted, leaving)
    if leaving.guarding is not None and leaving.payload:
        found.redacted = _redacted(leaving.guarding, found.said)
        heads["redacted"] = found.redacted
    found.entries.append(_json(f"{PREFIX}/capture.json", heads))
    asked = {
        "last_messages": wanted.last_messages,
        "last_ns": wanted.last_ns,
        "from_sequence": wanted.from_sequence,
        "whole": wanted.whole,
    }
    said = {"wanted": asked, "journals": found.said}
    found.entries.append(_json(f"{PREFIX}/slice.json", said))
    found.entries.sort(key=lambda each: each.name)
    return found


def _heads(content: bytes) -> dict[str, Any]:
    said = json.loads(content)
    return {key: said[key] for key in _HEADS if key in said} if isinstance(said, dict) else {}


def _json(name: str, said: Mapping[str, Any]) -> BundleFile:
    return BundleFile(name, json.dumps(said, indent=2, sort_keys=True).encode() + b"\n")


def _undigested(content: bytes) -> bytes:
    """Return what is known of an egress without digests.

    The other fields of a message are in the bundle, or known: a short one would soon be guessed.
    """
    said = json.loads(content)
    kept = {key: said[key] for key in ("count", "lost", "gaps") if key in said}
    text = json.dumps({**kept, "withheld": UNDIGESTED}, indent=2, sort_keys=True)
    return text.encode() + b"\n"


def _redacted(guarding: Guarding, said: Mapping[str, Any]) -> dict[str, Any]:
    counts = [each["redacted"] for each in said.values() if "redacted" in each]
    total = {key: sum(each[key] for each in counts) for key in _COUNTS}
    return {"rules_sha256": guarding.rules_sha256, **total}


def _add_journal(
    found: Slice, directory: str, place: str, wanted: SliceWanted, leaving: Leaving
) -> None:
    """Add the segments of one journal: choices whole, since a replay counts through them."""
    kind = place.partition("/")[0]
    if kind != "choices" and not leaving.payload:
        found.left_out[f"{PREFIX}/{place}"] = NO_PAYLOADS
        return
    segments = _segments(os.path.join(directory, place))
    if not segments:
        return
    narrow = wanted if kind == "in" or wanted.from_sequence is None else SliceWanted()
    narrow = SliceWanted() if kind == "choices" else narrow
    sensitivity = "operational" if kind == "choices" else "payload"
    guarding = None if kind == "choices" else leaving.guarding
    try:
        if guarding is None:
            _add_segments(found, segments, place, narrow, sensitivity)
        else:
            _add_guarded(found, segments, place, narrow, guarding)
    except (OSError, ValueError) as error:
        found.left_out[f"{PREFIX}/{place}"] = f"cannot be read: {error}"


def _add_segments(
    found: Slice, segments: list[_Segment], place: str, wanted: SliceWanted, sensitivity: str
) -> None:
    following, newest_ns = _end_of(segments)
    keeps = _predicate(wanted, following, newest_ns)
    index, offset, sequence = _start(segments, keeps)
    index, offset, sequence, cut = _within(segments, wanted, index, offset, sequence)
    if cut:
        found.left_out[f"{PREFIX}/{place} before frame {sequence}"] = (
            f"the bundle would be larger than {wanted.bytes_max:,} bytes with it"
        )
    first = segments[0].first
    if sequence == segments[0].id and first is not None and place.startswith("in/"):
        _say_gone(found, place, first, wanted, following - sequence)
    damaged = []
    entries: list[Entry] = []
    for segment in segments[index:]:
        scanned = _scan(segment.path)
        if scanned["good_behind"]:
            damaged.append({"segment": segment.name, "offset": scanned["end_offset"]})
        name = f"{PREFIX}/{place}/{segment.name}"
        if offset > HEADER.size:
            name = f"{PREFIX}/{place}/{sequence:020d}.seg"
            cut_at = (offset, scanned["end_offset"], sequence)
            entries.append(CutSegment(name, segment.path, *cut_at, sensitivity))
            offset = 0
        elif scanned["frames"] or scanned["good_behind"]:
            whole = os.path.getsize(segment.path)
            size = whole if scanned["good_behind"] else scanned["end_offset"]
            entries.append(StoredFile(name, segment.path, size, sensitivity))
        following = max(following, scanned["next_sequence"])
    found.entries += entries
    found.said[place] = {
        "segments": len(entries),
        "first_sequence": sequence,
        "next_sequence": following,
        "oldest_kept": segments[0].id,
        "damaged": damaged,
    }


def _say_gone(found: Slice, place: str, first: _Head, wanted: SliceWanted, kept: int) -> None:
    """Say so where older messages were wanted than the capture still has."""
    enough = wanted.last_ns or (wanted.last_messages and kept >= wanted.last_messages)
    if not enough and first.rx_sequence > (wanted.from_sequence or 0):
        found.left_out[f"{PREFIX}/{place} before position {first.rx_sequence}"] = (
            "the capture does not keep it any more"
        )


def _add_guarded(
    found: Slice, segments: list[_Segment], place: str, wanted: SliceWanted, guarding: Guarding
) -> None:
    """Add segments through the rules, the newest first, as many as there is room for."""
    guard = guarding.open()
    if guard is None:
        found.left_out[f"{PREFIX}/{place}"] = f"data protection: {guarding.problem}"
        return
    plain = Slice()
    _add_segments(plain, segments, place, wanted, "payload")
    said = plain.said[place]
    room, kept = wanted.bytes_max or sys.maxsize, list[Entry]()
    for entry in reversed(plain.entries):
        made = _guarded(entry, guarding).measured(guard)
        room -= made.size
        if room < 0 and kept:
            plain.left_out[f"{PREFIX}/{place} before frame {said['first_sequence']}"] = (
                f"the bundle would be larger than {wanted.bytes_max:,} bytes with it"
            )
            break
        kept.append(made)
        said["first_sequence"] = made.sequence
    found.entries += reversed(kept)
    found.left_out |= plain.left_out
    counts = {key: getattr(guard, key) for key in _COUNTS}
    found.said[place] = {**said, "segments": len(kept), "redacted": counts}


def _guarded(entry: Entry, guarding: Guarding) -> GuardedSegment:
    """Return a segment that goes through the rules, whole frames alone."""
    if isinstance(entry, CutSegment):
        return GuardedSegment(
            entry.name, entry.path, entry.offset, entry.end, entry.sequence, guarding
        )
    assert isinstance(entry, StoredFile)  # noqa: S101  what _add_segments adds
    scanned = _scan(entry.path)
    return GuardedSegment(
        entry.name, entry.path, HEADER.size, scanned["end_offset"], scanned["id"], guarding
    )


def _predicate(wanted: SliceWanted, following: int, newest_ns: int) -> Callable[[_Head], bool]:
    """Return what tells whether a frame is wanted; once true it stays true."""
    least = following - wanted.last_messages if wanted.last_messages else 0
    oldest_ns = newest_ns - wanted.last_ns if wanted.last_ns else 0
    first = wanted.from_sequence or 0
    return lambda head: (
        head.sequence >= least and head.unix_ns >= oldest_ns and head.rx_sequence >= first
    )


def _start(segments: list[_Segment], keeps: Callable[[_Head], bool]) -> tuple[int, int, int]:
    """Return segment, offset and sequence of the first frame that is wanted."""
    later = [i for i, each in enumerate(segments) if each.first is None or keeps(each.first)]
    first_kept = later[0] if later else len(segments)
    if first_kept > 0:
        inside = segments[first_kept - 1]
        for offset, head in _frames(inside.path):
            if keeps(head):
                return first_kept - 1, offset, head.sequence
    if first_kept == len(segments):
        return first_kept, 0, _scan(segments[-1].path)["next_sequence"]
    return first_kept, HEADER.size, segments[first_kept].id


def _within(
    segments: list[_Segment], wanted: SliceWanted, index: int, offset: int, sequence: int
) -> tuple[int, int, int, bool]:
    """Return the start moved on so far that everything fits, and whether it had to be."""
    if not wanted.bytes_max:
        return index, offset, sequence, False
    room = wanted.bytes_max
    for at in range(len(segments) - 1, index - 1, -1):
        room -= os.path.getsize(segments[at].path)
        if room < 0:
            moved = min(at + 1, len(segments) - 1)
            if moved <= index:
                break
            return moved, HEADER.size, segments[moved].id, True
    return index, offset, sequence, False


def _end_of(segments: list[_Segment]) -> tuple[int, int]:
    """Return the sequence behind the last frame, and when the newest was written."""
    for segment in reversed(segments):
        scanned = _scan(segment.path)
        if scanned["frames"] or segment is segments[0]:
            return scanned["next_sequence"], scanned["last_unix_ns"]
    return 0, 0


def _segments(directory: str) -> list[_Segment]:
    """Return the segments of a journal, oldest first."""
    found = []
    for name in _names(directory, ".seg"):
        stem = name.removesuffix(".seg")
        if stem.isdecimal():
            path = os.path.join(directory, name)
            found.append(_Segment(path, name, int(stem), _first(path)))
    return sorted(found, key=lambda each: each.id)


def _first(path: str) -> _Head | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        data = file.read(HEADER.size + FRAME.size)
    if len(data) < HEADER.size + FRAME.size:
        return None
    length, _, sequence, rx_sequence, _, unix_ns, _, _ = FRAME.unpack_from(data, HEADER.size)
    return _Head(sequence, rx_sequence, unix_ns) if length else None


def _frames(path: str) -> Iterator[tuple[int, _Head]]:
    """Yield offset and head of the whole frames of a segment."""
    end = _scan(path)["end_offset"]
    with open(path, "rb") as file, mapped(file.fileno()) as data:
        at = HEADER.size
        while at < end:
            _, _, sequence, rx_sequence, _, unix_ns, _, _ = FRAME.unpack_from(data, at)
            yield at, _Head(sequence, rx_sequence, unix_ns)
            at += frame_bytes(data, at)


def _scan(path: str) -> dict[str, int]:
    with open(path, "rb") as file, mapped(file.fileno()) as data:
        return journal.scan(data)


def _names(directory: str, suffix: str) -> list[str]:
    try:
        return sorted(
            entry.name
            for entry in os.scandir(directory)
            if entry.name.endswith(suffix) and entry.is_file(follow_symlinks=False)
        )
    except FileNotFoundError:
        return []


def _directories(directory: str) -> list[str]:
    try:
        return sorted(
            entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)
        )
    except FileNotFoundError:
        return []


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        return file.read(_SMALL_BYTES_MAX)
