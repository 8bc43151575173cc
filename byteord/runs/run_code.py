"""Code of the runs of a daemon: hashed and copied when one is admitted, watched while it lives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from byteord.deployment.model import Authority
from byteord.deployment.plan import RunPlan
from byteord.runs.code import code_digests
from byteord.runs.code_store import CodeStore
from byteord.runs.code_watch import CodeWatch, Watched
from byteord.spec.model import Stage


class RunCode:
    """Where the code of runs may come from, and what became of it."""

    def __init__(
        self,
        authority: Authority,
        directory: str,
        *,
        runs: Callable[[], Sequence[Any]],
        changed: Callable[[Any], None],
        report: Callable[[str, Mapping[str, object]], None],
        record: Callable[[str, Mapping[str, Any]], bool],
    ) -> None:
        """`directory`: of the copies; the others as `CodeWatch` takes them."""
        self._packages = authority.code_packages
        self._runs: Callable[[], Sequence[Watched]] = runs
        self.store = CodeStore(directory, self._packages)
        self.watch = CodeWatch(
            self._packages,
            runs=runs,
            changed=changed,
            report=report,
            record=record,
        )

    def freeze(self, stages: Iterable[Stage], code_dirs: Sequence[str]) -> dict[str, str]:
        """Copy and hash, for a run that starts; raises as `CodeStore.freeze`."""
        return self.store.freeze(stages, code_dirs)

    def digests(self, stages: Iterable[Stage], code_dirs: Sequence[str]) -> dict[str, str]:
        """Hash, for a run that does not start; raises as `code_digests`."""
        return code_digests(stages, code_dirs, self._packages)

    def sweep(self) -> None:
        """Let go of copies that no live run needs."""
        plans: list[RunPlan] = [run.plan for run in self._runs()]
        self.store.sweep({role.digest for plan in plans for role in plan.roles})
