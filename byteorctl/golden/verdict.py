"""What a case came to: the run as it ended against what the case expects. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from byteorctl.errors import Plain
from byteorctl.golden.cases import Case
from byteorctl.golden.compare import difference


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one case; `problems` is empty when it passed, its items may have lines."""

    case: Case
    problems: tuple[str, ...]
    run_id: str = ""
    seconds: float = 0.0
    updated: bool = False

    @property
    def passed(self) -> bool:
        """Everything was as expected."""
        return not self.problems

    def as_plain(self) -> Plain:
        """Return it as plain data."""
        return {
            "case": self.case.name,
            "path": self.case.path,
            "passed": self.passed,
            "updated": self.updated,
            "problems": list(self.problems),
            "run": self.run_id,
            "seconds": round(self.seconds, 3),
        }


def problems_of(case: Case, run: Plain, output: bytes, error: str) -> tuple[str, ...]:
    """Return everything that is not as the case expects it.

    `error` is why the run did not end well, empty when it did.
    """
    found = _ending(case, run, error)
    if not found or case.fails:
        found += _output(case, output)
    found += _drops(case, run)
    return tuple(found)


def _ending(case: Case, run: Plain, error: str) -> list[str]:
    failure = run.get("failure") or {}
    if not case.fails:
        return [error] if error else []
    if failure.get("reason") == case.fails:
        return []
    seen = error or f"the run {run.get('state')}"
    return [f"expected a failure {case.fails}; seen: {seen}"]


def _output(case: Case, output: bytes) -> list[str]:
    if case.output_sha256:
        seen = hashlib.sha256(output).hexdigest()
        if seen == case.output_sha256:
            return []
        return [f"output: sha256 {seen} ({len(output):,} bytes); expected {case.output_sha256}"]
    if case.output is not None:
        lines = difference(case.output, output)
        return ["\n".join([f"output: {lines[0]}", *lines[1:]])] if lines else []
    if case.output_path:
        size = f"{len(output):,} bytes"
        return [f"expected output {case.output_path}: not there; --update writes the {size} seen"]
    return []


def _drops(case: Case, run: Plain) -> list[str]:
    roles = {role["name"]: int(role["dropped"]) for role in run.get("roles", ())}
    found = []
    for role, wanted in case.drops.items():
        if role not in roles:
            found.append(f"drops.{role}: no such role; there are {', '.join(roles) or 'none'}")
        elif roles[role] != wanted:
            found.append(f"drops.{role}: {roles[role]:,} messages dropped; expected {wanted:,}")
    return found
