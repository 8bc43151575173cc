"""Tells when code that a live run was admitted with changes on the disk.

The run goes on with the copy that was hashed; whoever starts the next one has to know. Reading is
cheap: files are hashed again only once their sizes or times differ.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from byteord.deployment.plan import RunPlan
from byteord.errors import StageError
from byteord.runs.code import PackageDirs, code_files, find_code, place_digest

LOOK_S = 3.0
CONDITION = "CodeUnchanged"
_Signature = tuple[tuple[str, int, int, int, int], ...]


class Watched(Protocol):
    """What the watch needs of a live run."""

    plan: RunPlan

    @property
    def id(self) -> str:
        """Return the run's id."""

    def note(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition."""


@dataclass(frozen=True, slots=True)
class Change:
    """One stage whose code is another now, or as it was once more."""

    run_id: str
    stage: str
    admitted: str
    now: str
    """Its digest, or why there is none."""


class CodeWatch:
    """Looks at the code of all runs of a daemon."""

    def __init__(
        self,
        packages: Sequence[str],
        *,
        runs: Callable[[], Sequence[Watched]],
        changed: Callable[[Any], None],
        report: Callable[[str, Mapping[str, object]], None],
        record: Callable[[str, Mapping[str, Any]], bool],
    ) -> None:
        """`changed`: told of a run with news; `record`: writes into the audit log."""
        self._packages = PackageDirs(packages)
        self._runs, self._changed = runs, changed
        self._report, self._record = report, record
        self._seen: dict[tuple[str, str], tuple[_Signature, str]] = {}

    async def keep(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.round()

    async def round(self) -> None:
        """Look at every run once, and tell what is new."""
        runs = {run.id: run for run in self._runs()}
        plans = {run_id: run.plan for run_id, run in runs.items()}
        for change in await asyncio.to_thread(self._look, plans):
            run = runs[change.run_id]
            self._tell(run)
            data = {
                "run": change.run_id,
                "stage": change.stage,
                "admitted": change.admitted,
                "now": change.now,
            }
            self._report("code.changed", data)
            await asyncio.to_thread(self._record, "code.changed", data)
            self._changed(run)

    def _tell(self, run: Watched) -> None:
        mine = [key for key in self._seen if key[0] == run.id]
        admitted = _admitted(run.plan)
        other = [stage for _, stage in mine if self._seen[run.id, stage][1] != admitted[stage][1]]
        if not other:
            run.note(CONDITION, "true", "AsAdmitted", "the code on disk is as admitted again")
            return
        run.note(
            CONDITION, "false", "CodeChanged",
            f"the code of {', '.join(sorted(other))} changed on disk; the run goes on with what it "
            "was admitted with",
        )  # fmt: skip

    def _look(self, plans: Mapping[str, RunPlan]) -> list[Change]:
        found: list[Change] = []
        for run_id, plan in plans.items():
            for stage, (key, admitted) in _admitted(plan).items():
                before = self._seen.get((run_id, stage), ((), admitted))
                signature, now = self._digest(stage, key, plan.code_dirs, before)
                self._seen[run_id, stage] = signature, now
                if now != before[1]:
                    found.append(Change(run_id, stage, admitted, now))
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] in plans}
        return found

    def _digest(
        self, stage: str, key: str, code_dirs: Sequence[str], before: tuple[_Signature, str]
    ) -> tuple[_Signature, str]:
        try:
            path = self._path(stage, key, code_dirs)
            signature = tuple(_signature(path))
            if signature == before[0]:
                return before
            return signature, place_digest(stage, path)
        except StageError as error:
            return (), f"none: {error.message}"
        except OSError as error:
            return (), f"none: {error.strerror}"

    def _path(self, stage: str, key: str, code_dirs: Sequence[str]) -> str:
        kind, _, rest = key.partition(":")
        if kind == "exec":
            return os.path.realpath(rest.partition("|")[0])
        target = rest.rpartition(":")[0]
        return find_code(stage, kind, target, code_dirs, self._packages).path


def _admitted(plan: RunPlan) -> dict[str, tuple[str, str]]:
    """Return key and digest of each stage that loads code, by name."""
    return {
        role.name.partition("#")[0]: (role.stage, role.digest)
        for role in plan.roles
        if role.digest and role.stage
    }


def _signature(path: str) -> Iterator[tuple[str, int, int, int, int]]:
    for file, name in code_files(path):
        seen = os.lstat(file)
        yield name, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino
