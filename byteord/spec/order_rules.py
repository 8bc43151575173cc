"""Rules about the order of stages: dependencies, and what stages may do at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byteord.spec.findings import Collector, Path, Severity, shown
from byteord.spec.model import Stage
from byteord.spec.topology import ancestors, concurrent, overlap, range_text


def check_dependencies(rows: Sequence[Mapping[str, Any]], found: Collector) -> None:
    """Report anything but strictly increasing, duplicate-free references to earlier stages."""
    for index, row in enumerate(rows):
        path = ("stages", str(index), "depends_on")
        depends: tuple[int, ...] = row["depends_on"]
        _check_declared(index, row, found)
        for place in range(len(depends)):
            _check_reference(index, place, depends, (*path, str(place)), len(rows), found)


def _check_declared(index: int, row: Mapping[str, Any], found: Collector) -> None:
    path = ("stages", str(index))
    depends, source = row["depends_on"], row["source"]
    if found.is_bad((*path, "depends_on")) or found.is_bad((*path, "source")):
        return
    if source and depends:
        found.add(
            "SPEC_SOURCE_CONTRADICTION",
            (*path, "source"),
            seen="source = true with depends_on",
            wanted="one of the two: a source follows the producer alone",
            fix="delete source or depends_on",
        )
    elif source is False and not depends and index == 0:
        found.add(
            "SPEC_SOURCE_CONTRADICTION",
            (*path, "source"),
            seen="source = false on the first stage",
            wanted="true: the first stage follows the producer",
            fix="delete source",
        )
    elif index and not depends and not source:
        found.add(
            "SPEC_DEPENDENCY_MISSING",
            (*path, "depends_on"),
            seen="neither depends_on nor source = true",
            wanted="the earlier stages that this one follows",
            fix=f"add depends_on = [{index - 1}] to follow the stage before, or source = true",
        )


def _check_reference(  # noqa: PLR0917  # a reference has that much around it
    index: int, place: int, depends: Sequence[int], path: Path, count: int, found: Collector
) -> None:
    ref = depends[place]
    if not 0 <= ref < count:
        found.add(
            "SPEC_DEPENDENCY_UNKNOWN",
            path,
            seen=str(ref),
            wanted=f"an index of an earlier stage, 0 to {index - 1}"
            if index
            else "nothing: it is the first stage",
            fix="refer to stages by their place in the document, from 0",
        )
    elif ref >= index:
        found.add(
            "SPEC_DEPENDENCY_FORWARD",
            path,
            seen=f"{ref} in stage {index}",
            wanted="references to earlier stages: stages stand in topological order",
            fix="move the stage behind the ones it follows"
            if ref > index
            else "a stage cannot follow itself",
        )
    elif ref in depends[:place]:
        found.add(
            "SPEC_DEPENDENCY_DUPLICATE",
            path,
            seen=f"{ref} again",
            wanted="each stage once",
            fix="delete the second reference",
        )
    elif place and ref < depends[place - 1]:
        found.add(
            "SPEC_DEPENDENCY_ORDER",
            path,
            seen=f"{ref} after {depends[place - 1]}",
            wanted="strictly increasing references",
            fix=f"write depends_on = {sorted(set(depends))}",
        )


def check_concurrency(
    stages: Sequence[Stage | None], rows: Sequence[Mapping[str, Any]], found: Collector
) -> None:
    """Report stages that may hold a message together and would disturb each other."""
    placed = [
        (("stages", str(index)), stage) if stage is not None else None
        for index, stage in enumerate(stages)
    ]
    check_together(placed, [row["depends_on"] for row in rows], found)
    _check_release(stages, rows, found)


Placed = tuple[Path, Stage]
"""A stage and the key path where it stands."""


def check_together(
    stages: Sequence[Placed | None], depends: Sequence[Sequence[int]], found: Collector
) -> None:
    """Report stages of one ring that may hold a message together and would disturb each other."""
    for earlier, later in concurrent(depends):
        left, right = stages[earlier], stages[later]
        if left is None or right is None or _unsure(left[0], found) or _unsure(right[0], found):
            continue
        _check_headers(left, right, left[1], found)
        _check_headers(right, left, left[1], found)
        _check_mutators(left, right, found)


def _unsure(path: Path, found: Collector) -> bool:
    return any(found.is_bad((*path, key)) for key in ("depends_on", "mutates", "drops", "resizes"))


def _check_headers(subject: Placed, other: Placed, first: Stage, found: Collector) -> None:
    path, stage = subject
    last = other[1] if stage is first else stage
    for key, does in (("drops", stage.drops), ("resizes", stage.resizes)):
        if does:
            found.add(
                "SPEC_UNORDERED_HEADER_CHANGE",
                path,
                seen=f"{shown(stage.name)} {key} messages and may run beside "
                f"{shown(other[1].name)}",
                wanted="a stage that drops or resizes ordered with every other stage",
                fix=f"let {shown(last.name)} follow {shown(first.name)} by depends_on",
            )


def _check_mutators(left: Placed, right: Placed, found: Collector) -> None:
    clash = overlap(left[1].mutates, right[1].mutates)
    if clash is not None:
        found.add(
            "SPEC_PARALLEL_MUTATORS",
            right[0],
            seen=f"{shown(left[1].name)} changes {range_text(clash[0])} and "
            f"{shown(right[1].name)} changes "
            f"{range_text(clash[1])} at the same time",
            wanted="stages that may run at the same time to change disjoint bytes",
            fix=f"declare disjoint ranges in mutates, or let {shown(right[1].name)} follow "
            f"{shown(left[1].name)} by depends_on",
        )
        return
    for changer, reader in ((left, right), (right, left)):
        if changer[1].mutates and not reader[1].mutates:
            found.add(
                "SPEC_READER_BESIDE_MUTATOR",
                reader[0],
                seen=f"{shown(reader[1].name)} may read while {shown(changer[1].name)} changes "
                f"{range_text(changer[1].mutates[0])}",
                wanted="a reader that does not look at those bytes",
                fix="order the two by depends_on if it does",
                severity=Severity.NOTE,
            )


def _check_release(
    stages: Sequence[Stage | None], rows: Sequence[Mapping[str, Any]], found: Collector
) -> None:
    """Report a changer that the final stage does not follow.

    The egress would read half-changed messages.
    """
    last = len(stages) - 1
    before = ancestors([row["depends_on"] for row in rows])
    for index, stage in enumerate(stages[:-1]):
        paths = (("stages", str(index)), ("stages", str(last)))
        if stage is None or index in before[last] or any(_unsure(path, found) for path in paths):
            continue
        if stage.mutates:
            found.add(
                "SPEC_MUTATOR_BESIDE_EGRESS",
                ("stages", str(index)),
                seen=f"{shown(stage.name)} changes messages and the final stage does not follow it",
                wanted="every changing stage before the final one, in whose worker the egress "
                "reads messages",
                fix=f"add {index} to depends_on of the final stage, or put the stage last",
            )
