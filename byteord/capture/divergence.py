"""From the records of a trace to steps, and which stage is the first to differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """A message before and after one stage; `after` None: it failed there or did not get to it.

    `outcome`: `passed`, `changed`, `dropped` or `failed`.
    """

    role: str
    stage: str
    sequence: int
    before: bytes
    after: bytes | None
    outcome: str
    emitted: tuple[bytes, ...] = ()


def steps_of(trace: Iterable[Mapping[str, Any]], roles: Sequence[tuple[str, str]]) -> list[Step]:
    """Return the steps of a message in the order of roles; `roles`: (name, stage key) by index.

    A batch that was done again left records twice: the last ones count.
    """
    by_role: dict[int, list[Mapping[str, Any]]] = {}
    for record in trace:
        by_role.setdefault(record["role"], []).append(record)
    return [
        _step(*roles[index], records)
        for index, records in sorted(by_role.items())
        if index < len(roles) and any(each["phase"] == "before" for each in records)
    ]


def _step(name: str, stage: str, records: Sequence[Mapping[str, Any]]) -> Step:
    begun = [at for at, each in enumerate(records) if each["phase"] == "before"]
    mine = records[begun[-1] :]
    before = mine[0]
    after = next((each for each in mine if each["phase"] == "after"), None)
    emitted = tuple(each["payload"] for each in mine if each["phase"] == "emitted")
    outcome = "failed"
    if after is not None:
        changed = (after["payload"], after["type"]) != (before["payload"], before["type"])
        outcome = "dropped" if after["dropped"] else "changed" if changed else "passed"
    left = None if after is None or after["dropped"] else after["payload"]
    return Step(name, stage, before["sequence"], before["payload"], left, outcome, emitted)


def first_to_differ(now: Sequence[Step], then: Sequence[Step]) -> str:
    """Return the first stage that left something else than it did then; empty: none did."""
    known = {step.role: step for step in then}
    for step in now:
        other = known.get(step.role)
        if other is None:
            return step.role
        if (step.after, step.outcome == "dropped", step.emitted) != (
            other.after,
            other.outcome == "dropped",
            other.emitted,
        ):
            return step.role
    return ""


def last_hand(steps: Sequence[Step]) -> str:
    """Return the last stage that changed, dropped or failed on a message, else the last it met."""
    acted = [step.role for step in steps if step.outcome != "passed"]
    return (acted or [step.role for step in steps] or [""])[-1]
