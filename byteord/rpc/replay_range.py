"""Which of the recorded messages a replay is given: what was asked for, held against what is there.

Owns the refusals that name both. What was wanted and has gone is told, never passed over. Blocks on
files: not for the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from byteord.capture.recorded import Recorded
from byteord.errors import InvalidArgumentError, NotFoundError
from byteord.regions.segments import Range, Survey
from byteord.rpc.replay_wanted import ReplayWanted
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import EndpointKind, Spec

_NS_PER_S = 1_000_000_000


def begins_at_the_first(wanted: Range, recorded: Recorded, surveys: Mapping[str, Survey]) -> bool:
    """Tell whether the first message that ever came in is given again: then places agree with live.

    A journal says nothing of what came in before it: the first that it has counts.
    """
    kept = (each.low_sequence == 0 for each in surveys.values() if each.chosen)
    return wanted.begins_at_the_start and (not recorded.by_rx or all(kept))


def surveys_of(
    wanted: ReplayWanted, recorded: Recorded, spec: Spec | LaneGraph, bytes_max: int
) -> dict[str, Survey]:
    """Return by ingress what is there and what is chosen.

    Raises InvalidArgumentError for an ingress without a recording, NotFoundError (NO_SEQUENCE) when
    the range selects nothing.
    """
    names = [each.name for each in spec.endpoints if each.kind is EndpointKind.INGRESS]
    inputs = dict(recorded.inputs)
    if recorded.kind == "journal":
        inputs = {_fed(wanted, names): inputs[""]}
    if missing := [name for name in names if name not in inputs]:
        raise InvalidArgumentError(
            f"ingress {missing[0]!r} of the spec: seen no recorded input for it; the source has "
            f"{', '.join(sorted(inputs)) or 'none'}",
            reason="INVALID_ARGUMENT",
        )
    each_max = bytes_max // len(names)
    found = {
        name: inputs[name].survey(wanted.range, by_rx=recorded.by_rx, bytes_max=each_max)
        for name in names
    }
    if not wanted.range.whole and not any(each.chosen or each.limited for each in found.values()):
        raise _nothing(wanted.range, found)
    return found


def _nothing(wanted: Range, found: Mapping[str, Survey]) -> NotFoundError:
    there = ", ".join(f"{name} {_extent(each)}" for name, each in found.items())
    gone = any(each.frames and each.first for each in found.values())
    return NotFoundError(
        f"range: seen {_said(wanted)}, which selects no message; wanted one of what is there: "
        f"{there}" + ("; retention let go of what came before" if gone else ""),
        reason="NO_SEQUENCE",
    )


def _said(wanted: Range) -> str:
    said = []
    if wanted.from_sequence is not None or wanted.to_sequence is not None:
        first, last = wanted.from_sequence or 0, wanted.to_sequence
        said.append(f"messages {first:,} to {'the last' if last is None else f'{last:,}'}")
    if wanted.from_unix_ns is not None:
        said.append(f"from {_time(wanted.from_unix_ns)}")
    if wanted.to_unix_ns is not None:
        said.append(f"to {_time(wanted.to_unix_ns)}")
    if wanted.last:
        said.append(f"the last {wanted.last:,}")
    return ", ".join(said)


def _time(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns / _NS_PER_S, UTC).isoformat(timespec="milliseconds")


def _extent(survey: Survey) -> str:
    if not survey.frames:
        return "(nothing)"
    return f"from {survey.first:,} to {survey.last:,}"


def _fed(wanted: ReplayWanted, names: list[str]) -> str:
    if wanted.ingress or len(names) == 1:
        name = wanted.ingress or names[0]
        if name in names and len(names) == 1:
            return name
    raise InvalidArgumentError(
        f"ingress: seen {wanted.ingress or 'none'!r}; a journal feeds a spec with one ingress; "
        f"this one has {', '.join(names)}",
        reason="INVALID_ARGUMENT",
    )
