"""What can be replayed, read back: a capture directory of a run, or the directory of a journal.

Owns the reading side of the format that this package's README describes. It trusts no file: names,
sizes and numbers are checked before they are used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byteord.errors import DataError, NotFoundError
from byteord.regions.captures import read_json
from byteord.regions.journals import names
from byteord.regions.segments import Recording

CAPTURE = "capture.json"
CAPTURE_VERSION = 1
MANIFEST = "manifest.json"
_STREAMS = {"in": "ingresses", "out": "egresses", "choices": "choosers"}
_FILE_BYTES_MAX = 64 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.#-]{0,127}\Z")


@dataclass(frozen=True, slots=True)
class LiveEgress:
    """What left an egress live, as far as it was recorded."""

    count: int
    sha256: str
    checkpoints: tuple[tuple[int, str], ...] = ()
    """(count, digest so far), by count."""
    messages: str = ""
    """Directory with every message that left; empty: digests alone were kept."""
    lost: int = 0
    """Messages that left and that the digest does not cover."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A source of a replay."""

    kind: str
    """`capture` or `journal`."""
    directory: str
    inputs: Mapping[str, Recording]
    """By ingress; of a journal one, under an empty name."""
    live: Mapping[str, LiveEgress] = field(default_factory=dict)
    """By egress."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Directories of recorded choices, by role."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """`capture.json`; empty of a journal."""
    spec_kv: bytes = b""
    deployment_kv: bytes = b""
    code_dir: str = ""
    """Directory with the stages' code, where the source carries it; empty: it does not."""

    @property
    def run_id(self) -> str:
        """Id of the recorded run; empty of a journal."""
        return str(self.facts.get("run", ""))

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Return the egresses of the recorded run of which there is no digest."""
        names = self.facts.get("unrecorded")
        return tuple(str(name) for name in names) if isinstance(names, list) else ()

    @property
    def by_rx(self) -> bool:
        """Tell whether frames say their position in the recorded stream."""
        return self.kind == "capture"

    @property
    def whole_choices(self) -> dict[str, str]:
        """Return directories of choices that are there from the first on, where there are any."""
        rows = [row for row in self.facts.get("choosers") or () if isinstance(row, Mapping)]
        lost = {str(row.get("name")) for row in rows if row.get("lost")}
        return {
            name: where
            for name, where in self.choices.items()
            if name not in lost and not any(names(Path(where))[:1])
        }

    @property
    def in_bundle(self) -> bool:
        """Tell whether it is what a bundle has of a capture."""
        return _in_bundle(self.directory)

    @property
    def complete(self) -> bool:
        """Tell whether the recorded run came to its own end, so that its totals are final."""
        return self.facts.get("state") == "completed"


def read_recorded(directory: str) -> Recorded:
    """Return the source that lies in a directory.

    Raises NotFoundError when there is neither a capture nor a journal, DataError (CAPTURE_DAMAGED)
    for one that cannot be read as what it claims to be.
    """
    if os.path.exists(os.path.join(directory, CAPTURE)):
        return _capture(directory)
    recording = Recording(directory)
    if not recording.paths:
        raise NotFoundError(
            f"{directory}: neither {CAPTURE} nor a segment (*.seg); wanted the directory of "
            "a run's capture, or of a journal",
            reason="NO_CAPTURE",
        )
    return Recorded("journal", directory, {"": recording})


def _capture(directory: str) -> Recorded:
    facts = _json(os.path.join(directory, CAPTURE))
    version = facts.get("capture_v")
    if version != CAPTURE_VERSION:
        raise _damaged(CAPTURE, f"capture_v {version!r}; this byteor reads {CAPTURE_VERSION}")
    _check_ends(directory, facts)
    return Recorded(
        kind="capture",
        directory=directory,
        inputs={
            name: Recording(os.path.join(directory, "in", name))
            for name in _names(facts, "ingresses")
            if _has_messages(directory, name)
        },
        live={name: each for name in _names(facts, "egresses") if (each := _live(directory, name))},
        choices={
            name: os.path.join(directory, "choices", name)
            for name in _names(facts, "choosers")
            if os.path.isdir(os.path.join(directory, "choices", name))
        },
        facts=facts,
        spec_kv=_spec(directory, facts),
        deployment_kv=_deployment(directory, facts),
    )


def _in_bundle(directory: str) -> bool:
    return os.path.exists(os.path.join(os.path.dirname(directory), MANIFEST))


def _has_messages(directory: str, name: str) -> bool:
    if os.path.isdir(os.path.join(directory, "in", name)):
        return True
    raise NotFoundError(
        f"ingress {name}: the source has no messages of it; a bundle has them only if the run's "
        "deployment says so ([bundle] payload = true): replay the capture where it lies",
        reason="NO_CAPTURE",
    )


def _check_ends(directory: str, facts: Mapping[str, Any]) -> None:
    """See that every stream is readable, and of a run that ended has as much as was written.

    What a bundle has of a capture is a slice, whose digests its manifest tells.
    """
    ended = facts.get("ended_unix_ns") is not None
    whole = ended and not _in_bundle(directory)
    for kind, key in _STREAMS.items():
        for row in _rows(facts, key):
            place = os.path.join(directory, kind, row["name"])
            if not os.path.isdir(place):
                continue
            end, kept = Recording(place).end, row.get("kept")
            if whole and isinstance(kept, int) and end != kept:
                seen = f"frames that end at {end:,}"
                raise _damaged(f"{kind}/{row['name']}", seen, f"{kept:,}, as {CAPTURE} says")


def _spec(directory: str, facts: Mapping[str, Any]) -> bytes:
    data = _bytes(os.path.join(directory, "spec.kv"))
    if not facts.get("spec_withheld"):
        _check_digest("spec.kv", data, facts.get("spec_sha256"))
    return data


def _check_digest(name: str, data: bytes, wanted: object) -> None:
    seen = hashlib.sha256(data).hexdigest()
    if wanted is not None and seen != wanted:
        raise _damaged(name, f"SHA-256 {seen}", f"{wanted}, as {CAPTURE} says")


def _deployment(directory: str, facts: Mapping[str, Any]) -> bytes:
    """Return the deployment; a bundle has none that was not redacted."""
    path = os.path.join(directory, "deployment.kv")
    if not os.path.exists(path):
        return b""
    data = _bytes(path)
    _check_digest("deployment.kv", data, facts.get("deployment_sha256"))
    return data


def _live(directory: str, name: str) -> LiveEgress | None:
    """Return what left an egress; None where it was not recorded, or must not be known."""
    path = os.path.join(directory, "out", f"{name}.json")
    if not os.path.exists(path):
        return None
    raw = _json(path)
    if "withheld" in raw:
        return None
    place = os.path.join(directory, "out", name)
    try:
        marks = tuple((int(count), str(digest)) for count, digest in raw.get("checkpoints") or ())
        live = LiveEgress(
            count=int(raw["count"]),
            sha256=str(raw["sha256"]),
            checkpoints=tuple(sorted((c, d) for c, d in marks if _is_digest(d) and c > 0)),
            messages=place if os.path.isdir(place) else "",
            lost=int(raw.get("lost") or 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not _is_digest(live.sha256):
        raise _damaged(path, "sha256 is no SHA-256")
    return live


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)  # noqa: PLR2004


def _names(facts: Mapping[str, Any], key: str) -> list[str]:
    return [str(row["name"]) for row in _rows(facts, key)]


def _rows(facts: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return what is said of each stream of a kind; names are checked."""
    said = facts.get(key) or ()
    if not isinstance(said, list | tuple):
        raise _damaged(CAPTURE, f"{key}: no list of streams")
    rows: list[Mapping[str, Any]] = [row for row in said if isinstance(row, dict)]
    for row in rows:
        name = row.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            raise _damaged(CAPTURE, f"{key}: {name!r} is no name")
    return rows


def _json(path: str) -> dict[str, Any]:
    try:
        return read_json(_bytes(path))
    except (ValueError, RecursionError) as error:
        is_json = not isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError)
        said = str(error) if is_json else f"not JSON ({type(error).__name__})"
        raise _damaged(path, said) from error


def _bytes(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    with open(descriptor, "rb") as file:
        data = file.read(_FILE_BYTES_MAX + 1)
    if len(data) > _FILE_BYTES_MAX:
        raise _damaged(path, f"more than {_FILE_BYTES_MAX} bytes")
    return data


def _damaged(path: str, why: str, wanted: str = "a file as it was recorded") -> DataError:
    place = path if not os.path.isabs(path) else Path(path).name
    return DataError(
        f"capture: {place}: seen {why}; wanted {wanted}: get it again",
        reason="CAPTURE_DAMAGED",
        details={"file": path},
    )
