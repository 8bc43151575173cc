"""What changed between two canonical documents.

Pure; compares KV lines, so that it means the same for documents written in different formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from byteord.spec.kv import order
from byteord.spec.lane_model import LaneGraph
from byteord.spec.lanegraph.keys import ALL_SPEC_KEYS
from byteord.spec.model import Spec
from byteord.spec.schema import Key, key_of

_TAKES = ("none", "reload", "restart")


@dataclass(frozen=True, slots=True)
class Change:
    """One changed key, with canonical values; None where the key is absent."""

    path: str
    old: str | None
    new: str | None
    takes: str
    """`none`, `reload` or `restart`: what it takes to put it into force."""


def diff_kv(old: bytes, new: bytes, keys: Sequence[Key]) -> list[Change]:
    """Return the changes from one canonical text to another, in canonical order."""
    before, after = _lines(old), _lines(new)
    changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    return [
        Change(key, before.get(key), after.get(key), _takes(key, keys))
        for key in sorted(changed, key=order)
    ]


def diff_specs(old: Spec | LaneGraph, new: Spec | LaneGraph) -> list[Change]:
    """Return the changes between two specs.

    Each takes a restart, since a spec is frozen when a run is admitted.
    """
    return diff_kv(old.kv, new.kv, ALL_SPEC_KEYS)


def takes_of(changes: Iterable[Change]) -> str:
    """Return what it takes to put all changes into force."""
    return max((change.takes for change in changes), key=_TAKES.index, default="none")


def _takes(path: str, keys: Sequence[Key]) -> str:
    key = key_of(keys, path)
    return key.takes if key is not None else "restart"


def _lines(text: bytes) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.decode("ascii").splitlines())
    return {key: value for key, _, value in pairs}
