"""Whether what a replay let out is what left live, and what forbids to say so. Pure.

Owns the codes of reasons. A digest is promised equal only under the conditions that are checked
here; outside them the verdict is `not_comparable`, whatever the digests say.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from byteord.capture.recorded import LiveEgress, Recorded
from byteord.regions.segments import Range, Survey


class Verdict(enum.StrEnum):
    """What a comparison comes to."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why digests cannot be compared: a stable code, and words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Diverged:
    """The first message of an egress that differs, as its area tells it.

    `how`: `message` (another one left live), `extra` (none did), `missing` (one left live and none
    now), `mark` (it lies before this one, after the checkpoint before).
    """

    how: str
    index: int
    time_ns: int = 0
    payload: bytes | None = None
    type: int = 0
    window_first: int | None = None


@dataclass(frozen=True, slots=True)
class Egress:
    """One egress after a replay."""

    name: str
    count: int
    bytes: int
    sha256: str
    live: LiveEgress | None
    verdict: Verdict
    diverged: Diverged | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What of a replay decides about comparing: besides the source, how it was run."""

    spec_changed: bool = False
    code: Mapping[str, str] = field(default_factory=dict)
    """Digests of the code that ran, by stage."""
    here: Mapping[str, Any] = field(default_factory=dict)
    """Interpreter, packages and CPU as `capture.json` names them."""
    nondeterministic: Sequence[str] = ()
    """Stages that do not declare that they are deterministic."""
    recorded: Sequence[str] = ()
    """Stages whose effects were written down instead of run."""
    free: Sequence[str] = ()
    """Roles that choose freely and were not directed."""
    clock: Sequence[str] = ()
    """Stages whose code may read the clock, which did not show them what it showed live."""
    seed: Sequence[str] = ()
    """Stages whose code may draw at random, where the seed of the run is not known."""
    gone: Sequence[str] = ()
    """What roles missed of journals in the replay, in words."""
    calls: Sequence[str] = ()
    """Stages that were not called with the batches that they were called with live."""


def reasons_of(
    source: Recorded, surveys: Mapping[str, Survey], wanted: Range, how: Conditions
) -> list[Reason]:
    """Return everything that forbids comparing digests; nothing where they must be equal."""
    found = [*_of_input(source, surveys, wanted), *_of_conditions(source, how)]
    if source.kind != "capture":
        text = (
            "a journal does not say what left the run: hold the digests below against those of "
            "another replay of it, or replay the capture of a run ([capture] in its deployment)"
        )
        found.append(Reason("no_live_digests", text))
    elif not source.live and not source.unrecorded:
        text = (
            "the digests of its egresses are not in the source: a bundle leaves them out where "
            "messages are under data protection rules; replay the capture where it lies"
            if source.facts.get("egresses")
            else "nothing left this run through an egress, so there is nothing to hold a replay "
            "against: let the lane that matters end in an egress (adapter discard) as well"
        )
        found.append(Reason("no_live_digests", text))
    found += [
        Reason(
            "egress_not_recorded",
            f"egress {name}: a client took what left there, of several producers or shards, or "
            "without being waited for: in which order, and what it missed, is not in the capture",
        )
        for name in source.unrecorded
    ]
    found += [
        Reason("gap", f"egress {name}: {live.lost:,} messages are not in the live digest")
        for name, live in source.live.items()
        if live.lost
    ]
    found += [
        Reason("nondeterministic_stage", f"stage {stage} does not declare that it is deterministic")
        for stage in how.nondeterministic
    ]
    found += [
        Reason("stage_recorded", f"stage {stage} has side effects: it was recorded, not run")
        for stage in how.recorded
    ]
    found += [
        Reason("clock_not_replayed", f"stage {stage} may read the clock, and saw another than live")
        for stage in how.clock
    ]
    found += [
        Reason("seed_not_replayed", f"stage {stage} may draw at random, and its live seed is lost")
        for stage in how.seed
    ]
    found += [
        Reason("calls_not_replayed", f"stage {stage} was called with other batches than live")
        for stage in how.calls
    ]
    found += [Reason("journal_missed", text) for text in how.gone]
    if how.free:
        names = ", ".join(how.free)
        found.append(
            Reason("choices_missing", f"{names}: the choices made live are not in the capture")
        )
    return found


def _of_input(source: Recorded, surveys: Mapping[str, Survey], wanted: Range) -> list[Reason]:
    found = []
    keep = source.facts.get("keep", "all")
    for name, survey in surveys.items():
        where = f"ingress {name}" if name else "the journal"
        if keep == "sample":
            found.append(Reason("sampled", f"{where}: a sample of its messages was kept"))
            continue
        if gone := _before(survey, wanted):
            found.append(Reason("gap", f"{where}: {gone}"))
        if survey.chosen_missing:
            first = next((at for at, _ in survey.gaps if at >= survey.low_sequence), 0)
            text = (
                f"{where}: {survey.chosen_missing:,} messages are missing, the first is {first:,}"
            )
            found.append(Reason("gap", text))
    if isinstance(redacted := source.facts.get("redacted"), Mapping):
        text = (
            f"data protection took fields out of the messages when the bundle was made: "
            f"{redacted.get('changed')} of {redacted.get('messages')} were changed, "
            f"{redacted.get('withheld')} are empty"
        )
        found.append(Reason("redacted", text))
    if not wanted.begins_at_the_start:
        found.append(
            Reason("partial_range", "what stages remember of the messages before is not there")
        )
    return found


def _before(survey: Survey, wanted: Range) -> str:
    """Say which messages of the range are not there before the first that is; empty: none."""
    first, low = wanted.from_sequence or 0, survey.low_sequence
    if not survey.chosen or low <= first or wanted.last or wanted.from_unix_ns is not None:
        return ""
    kept = "were not kept, or retention let them go"
    if first:
        return f"{low - first:,} messages of the range, {first:,} to {low - 1:,}, {kept}"
    return f"its first {low:,} messages {kept}"


def _of_conditions(source: Recorded, how: Conditions) -> list[Reason]:
    then = source.facts.get("conditions")
    if not isinstance(then, Mapping):
        return []
    found = []
    code = then.get("code")
    code = code if isinstance(code, Mapping) else {}
    changed = [name for name, digest in code.items() if how.code.get(name, digest) != digest]
    if changed and not how.spec_changed:
        names = ", ".join(sorted(changed))
        found.append(Reason("code_changed", f"the code of {names} is not what ran live"))
    for keys, reason in (
        (("python", "implementation"), "interpreter"),
        (("machine", "cpu_flags"), "cpu_features"),
        (("packages",), "packages"),
        (("pythonhashseed",), "hash_seed"),
    ):
        differing = [key for key in keys if _differs(then.get(key), how.here.get(key))]
        if differing:
            found.append(Reason(reason, f"{', '.join(differing)}: not as where it was recorded"))
    return found


def _differs(then: Any, now: Any) -> bool:
    return then is not None and now is not None and then != now


def marks_of(live: LiveEgress | None) -> list[tuple[int, bytes]]:
    """Return where an egress is to be held against its live digests: (count, digest), by count."""
    if live is None:
        return []
    marks = dict(live.checkpoints)
    if live.count:
        marks[live.count] = live.sha256
    return [(count, bytes.fromhex(marks[count])) for count in sorted(marks)]


def egress_of(
    name: str, area: Mapping[str, Any], live: LiveEgress | None, *, comparable: bool, whole: bool
) -> Egress:
    """Return an egress with its verdict, from what its area says.

    `whole`: all of the recorded input was given again and the recorded run came to its own end, so
    that the totals must be equal; else only what both have is held together.
    """
    diverged = _diverged(area, live, whole=whole)
    if not comparable or live is None:
        verdict = Verdict.NOT_COMPARABLE
    else:
        verdict = Verdict.DIFFERENT if diverged else Verdict.EQUAL
    return Egress(name, area["count"], area["bytes"], area["sha256"], live, verdict, diverged)


def _diverged(area: Mapping[str, Any], live: LiveEgress | None, *, whole: bool) -> Diverged | None:
    if live is None:
        return None
    how = area["diverged"]
    if how == "extra" and not whole:
        how = ""  # it goes on where the recorded run was stopped
    if how == "mark":
        before = [count for count, wanted, seen in area["marks"] if wanted == seen]
        return _found(area, how, window_first=max(before, default=0))
    if how:
        return _found(area, how)
    if whole and area["count"] < live.count:
        return Diverged("missing", area["count"])
    if whole and area["count"] > live.count:
        return Diverged("extra", live.count)
    return None


def _found(area: Mapping[str, Any], how: str, window_first: int | None = None) -> Diverged:
    return Diverged(
        how, area["index"], area["time_ns"], area["payload"], area["type"], window_first
    )


def overall(
    egresses: Iterable[Egress], reasons: Sequence[Reason], *, fails_otherwise: bool = False
) -> Verdict:
    """Return the verdict over all egresses; `fails_otherwise`: a stage failed elsewhere."""
    verdicts = {each.verdict for each in egresses}
    if reasons or Verdict.NOT_COMPARABLE in verdicts or not verdicts:
        return Verdict.NOT_COMPARABLE
    return Verdict.DIFFERENT if Verdict.DIFFERENT in verdicts or fails_otherwise else Verdict.EQUAL
