"""Whether the stages of a replay were called as they were live, and which of them could tell.

Owns the rule of what counts as reading the clock, and as drawing at random: that is decided by the
text of the code, on the side of caution. Blocks on files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byteord.errors import StageError
from byteord.runs.code import PackageDirs, find_code
from byteord.runs.replay_job import ReplayJob
from byteord.spec.model import Stage

_CLOCK = (b"now_ns",)
_SEED = (b".seed", b".random")
_SEED_MAX = 1 << 64
_HASH_SEED_MAX = 1 << 32
_FILES_MAX = 10_000


class CalledAsThen:
    """What is known of the calls of a replay that has run."""

    def __init__(
        self, facts: Mapping[str, Any], job: ReplayJob, *, spec_changed: bool, cut: bool
    ) -> None:
        """`facts` of the capture; `cut`: an end within a recorded batch does not count."""
        self._job = job
        self._lost = facts.get("state") is None
        self._spec_changed = spec_changed
        self._cut = cut
        rows = facts.get("choosers") or ()
        self._recorded = {str(row.get("name")) for row in rows if isinstance(row, Mapping)}

    def clock(self, stage: str) -> bool:
        """Tell whether all of its calls saw the clock that they saw live."""
        roles = self._roles(stage)
        return bool(roles) and not self._lost and all(self._as_then(role) for role in roles)

    def otherwise(self, stage: str) -> bool:
        """Tell whether calls that were recorded had other batches, where nobody asked for that."""
        return not self._spec_changed and any(
            role in self._recorded and not self._as_then(role) for role in self._roles(stage)
        )

    def _roles(self, stage: str) -> list[str]:
        """Return its roles, one in each shard."""
        roles = self._job.made.roles if self._job.made is not None else ()
        return [
            role.name
            for role in roles
            if role.kind == "stage" and role.name.partition("#")[0] == stage
        ]

    def _as_then(self, role: str) -> bool:
        called = self._job.found.calls.get(role)
        if called is None:
            return False
        if called.fails_otherwise:  # which is the difference: what strayed may follow from it
            return True
        return called.strayed == 0 or (self._cut and not self._spec_changed)  # its last batch


def recorded_seeds(facts: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return PYTHONHASHSEED of a recorded run and the seed of its stages; None: not known."""
    conditions = facts.get("conditions")
    conditions = conditions if isinstance(conditions, Mapping) else {}

    def known(key: str, bound: int) -> int | None:
        seed = conditions.get(key)
        return seed if type(seed) is int and 0 <= seed < bound else None

    return known("pythonhashseed", _HASH_SEED_MAX), known("seed", _SEED_MAX)


@dataclass(frozen=True, slots=True)
class MayRead:
    """Stages by what their code may take from outside its messages."""

    clock: frozenset[str] = frozenset()
    seed: frozenset[str] = frozenset()


def what_may_be_read(
    stages: Sequence[Stage], code_dirs: Sequence[str], packages: Sequence[str]
) -> MayRead:
    """Return the stages whose code may read the clock of its calls, and those that may draw.

    A library may. Python may if `now_ns`, or `.seed` or `.random`, stands in its package, or in its
    module or one beside it.
    """

    def those(words: Sequence[bytes]) -> frozenset[str]:
        found = (each for each in stages if _may_read(each, words, code_dirs, packages))
        return frozenset(each.name for each in found)

    return MayRead(those(_CLOCK), those(_SEED))


def _may_read(
    stage: Stage, words: Sequence[bytes], code_dirs: Sequence[str], packages: Sequence[str]
) -> bool:
    kind, _, rest = stage.stage.partition(":")
    if kind not in ("python", "numba", "cabi"):
        return False
    target = rest.rpartition(":")[0]
    try:
        path = find_code(stage.name, kind, target, code_dirs, PackageDirs(packages)).path
    except StageError:
        return True  # it is refused when the run is started
    if not os.path.isdir(path) and not path.endswith(".py"):
        return True
    for count, file in enumerate(_files(path)):
        if count >= _FILES_MAX or file.suffix == ".so":
            return True
        try:
            text = file.read_bytes()
        except OSError:
            return True
        if any(word in text for word in words):
            return True
    return False


def _files(path: str) -> Iterator[Path]:
    """Return the code of a package, or of a module and what it finds beside it."""
    files = Path(path).rglob("*") if os.path.isdir(path) else Path(path).parent.glob("*")
    return (file for file in files if file.suffix in (".py", ".so") and file.is_file())
