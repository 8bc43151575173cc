"""What a replay reads of a recording that goes on, held: what retention takes there stays here.

Owns hard links to the files of a source: where they lie, and that none outlives its replay, nor its
daemon. A link copies nothing; what retention takes meanwhile stays on the disk until the replay has
ended, at most what was there when it began. Blocks on files: not for the event loop.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from byteord.capture.recorded import Recorded
from byteord.errors import ByteorError, NotFoundError
from byteord.regions.journals import names, segment_path
from byteord.regions.segments import Range, Recording
from byteord.runs.replay_job import ReplayInput

_ASIDE = ".byteor-held-"
_NOTE = ".at"
_CHOICES = "choices"
_DEPTH_MAX = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a source is read."""

    directory: str
    named: str
    """Where it lies, as people are told."""

    @property
    def held(self) -> bool:
        """Tell whether retention cannot take what is read."""
        return self.directory != self.named


class Holds:
    """The links of one daemon's replays, below one directory."""

    def __init__(self, directory: str) -> None:
        """Let go of what an earlier daemon held."""
        self._directory = directory
        with contextlib.suppress(OSError):
            for name in os.listdir(directory):
                if name.endswith(_NOTE):
                    self.release(name.removesuffix(_NOTE))
        shutil.rmtree(directory, ignore_errors=True)

    def take(self, replay_id: str, source: str) -> Place:
        """Return a source with its files held; where links cannot be made, as it lies.

        Choices come last: they have to reach as far as the messages that they are about.
        """
        for directory in self._candidates(replay_id, source):
            place = os.path.join(directory, os.path.basename(source))
            try:
                os.makedirs(place, mode=0o700)
                _link_all(source, place, last=_CHOICES)
            except OSError:
                shutil.rmtree(directory, ignore_errors=True)
            else:
                return Place(place, source)
        return Place(source, source)

    @staticmethod
    def catch_up(place: Place) -> None:
        """Hold what came to the choices of a source since it was taken."""
        choices = os.path.join(place.named, _CHOICES)
        if place.held and os.path.isdir(choices):
            with contextlib.suppress(OSError):
                _link_all(choices, os.path.join(place.directory, _CHOICES))

    def release(self, replay_id: str) -> None:
        """Let go of what a replay held; nothing, where it held nothing."""
        note = os.path.join(self._directory, f"{replay_id}{_NOTE}")
        with contextlib.suppress(OSError), open(note, encoding="utf-8") as file:
            aside = file.read()
            if os.path.basename(aside) == f"{_ASIDE}{replay_id}":
                shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(note)
        shutil.rmtree(os.path.join(self._directory, replay_id), ignore_errors=True)

    def _candidates(self, replay_id: str, source: str) -> Iterator[str]:
        """Yield where links may lie: with the daemon's state, else on the source's file system."""
        yield os.path.join(self._directory, replay_id)
        aside = os.path.join(os.path.dirname(source), f"{_ASIDE}{replay_id}")
        with contextlib.suppress(OSError):
            note = os.path.join(self._directory, f"{replay_id}{_NOTE}")
            Path(note).write_text(aside, encoding="utf-8")  # before the links: none is forgotten
            yield aside


def _link_all(source: str, place: str, *, last: str = "", depth: int = 0) -> None:
    """Link the files of a directory; those that go meanwhile are not there. OSError."""
    os.makedirs(place, mode=0o700, exist_ok=True)
    entries = sorted(os.scandir(source), key=lambda each: (each.name == last, each.name))
    for entry in entries:
        target = os.path.join(place, entry.name)
        if entry.is_dir(follow_symlinks=False):
            if depth < _DEPTH_MAX:
                _link_all(entry.path, target, depth=depth + 1)
        else:
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                os.link(entry.path, target, follow_symlinks=False)


def narrowed(place: Place, recorded: Recorded, inputs: Mapping[str, ReplayInput]) -> Recorded:
    """Let go of the segments of a held source before what is wanted; return it read again."""
    if not place.held:
        return recorded
    changed = {name: given for name, given in inputs.items() if _let_go(given)}
    if not changed:
        return recorded
    again = {
        name: Recording(recording.directory)
        for name, recording in recorded.inputs.items()
        if recording.directory in {given.directory for given in changed.values()}
    }
    return replace(recorded, inputs={**recorded.inputs, **again})


def _let_go(given: ReplayInput) -> bool:
    """Remove links to segments that end before the first wanted frame; tell whether any went."""
    directory = Path(given.directory)
    ids = names(directory)
    before = [number for number, behind in itertools.pairwise(ids) if behind <= given.low]
    for number in before:
        segment_path(directory, number).unlink()
    return bool(before)


def refuse_if_gone(place: Place, recorded: Recorded, inputs: Mapping[str, ReplayInput]) -> None:
    """Raise NotFoundError (RANGE_GONE) when what is wanted has gone, saying what is left."""
    if place.held:
        return
    for name, given in inputs.items():
        if given.low >= given.high:
            continue
        ids = names(Path(given.directory))
        if not ids or ids[0] > given.low:
            where = f"ingress {name}" if name in recorded.inputs else "the journal"
            left = _left(given, by_rx=recorded.by_rx)
            raise NotFoundError(
                f"{where}: {_gone(recorded, name, given)} were taken by retention before the "
                f"replay had them, and their files could not be held; left is {left}: replay "
                "later ones (--last N), or take them out first (byteorctl incident-bundle, with "
                "[bundle] payload = true), or let the deployment keep more",
                reason="RANGE_GONE",
            )


def _gone(recorded: Recorded, name: str, given: ReplayInput) -> str:
    """Name the wanted messages by what people call them: their place among those that came in."""
    recording = recorded.inputs.get(name) or recorded.inputs[""]
    ends = [recording.segments.find(own=own) for own in (given.low, given.high - 1)]
    places = [(end[1] if recorded.by_rx else end[0]) if end is not None else -1 for end in ends]
    first, last = (f"{place:,}" if place >= 0 else "?" for place in places)
    return f"messages {first} to {last}"


def _left(given: ReplayInput, *, by_rx: bool) -> str:
    with contextlib.suppress(ByteorError):
        found = Recording(given.directory).survey(Range(), by_rx=by_rx)
        if found.frames:
            return f"{found.first:,} to {found.last:,}"
    return "nothing"
