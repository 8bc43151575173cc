"""The ends of a replay in a worker: captured messages come in, what leaves is digested.

Owns opening them from the plan. What happens to a message is the native side's.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byteord._cext.capture import CHOICES
from byteord._cext.replay import DigestSink, ReplaySource, address_of
from byteord._cext.worker import Host
from byteord.adapters.context import OpenContext
from byteord.deployment.plan import CALLS_BYTES, CALLS_FILE, RolePlan, RunPlan
from byteord.errors import AdapterError
from byteord.regions.captures import read_choices
from byteord.regions.segments import Recording
from byteord.stages.actions.budget import ActionBudget

_RECORD = struct.Struct("<IIQ")
_LOST = struct.Struct("<QQ")
_CALL_KINDS = ("batch", "fail")
_KINDS = {name: number for number, name in CHOICES.items()}


def open_replay_end(
    role: RolePlan,
    context: OpenContext,
    directory: str,
    *,
    whole: bool = False,
    budget: ActionBudget | None = None,
) -> Any:
    """Return the source or sink of a replay's endpoint; errors are those of opening its files.

    `whole`: the source gives as many messages as it is asked for, or none. `budget`: each message
    that the sink lets out is an action of it.

    AdapterError (REPLAY_NOT_RESUMED) in a worker that took over from another: a digest cannot be
    gone on with.
    """
    if context.resume is not None:
        raise AdapterError(
            f"adapter {role.name}: its worker died, and a replay is not gone on with: start it "
            "again",
            reason="REPLAY_NOT_RESUMED",
        )
    if role.kind == "ingress":
        return _source(role.options, whole=whole)
    return _sink(role.options, context, directory, budget)


def _source(options: dict[str, Any], *, whole: bool) -> ReplaySource:
    return ReplaySource(
        Recording(options["directory"]).segments,
        low=options["low"],
        high=options["high"],
        origin_ns=options["origin_ns"],
        speed=options["speed"],
        whole=whole,
    )


def _sink(
    options: dict[str, Any], context: OpenContext, directory: str, budget: ActionBudget | None
) -> DigestSink:
    expected = Recording(options["expected"]).segments if options["expected"] else None
    onward = None
    if options["onward"]:
        from byteord.adapters.open import open_sink

        onward = open_sink(options["onward"], options["onward_options"], context)
    return DigestSink(
        map_file(os.path.join(directory, options["area"])),
        inner=onward,
        budget=budget.area if budget is not None else None,
        actions_max=budget.most if budget is not None else 0,
        expected=expected,
        stops=options["stops"],
    )


@dataclass(frozen=True, slots=True)
class Scripts:
    """What a role of a graph did freely, as records of `byteor_choice`; empty: it is free again."""

    take: bytes = b""
    steer: bytes = b""
    outputs: Mapping[int, bytes] = field(default_factory=dict)
    """What was kept and dropped at each of its outputs that drop."""
    lost: Mapping[int, bytes] = field(default_factory=dict)
    """What each of its inputs missed, as records of `byteor_lost`."""


def scripts_of(plan: RunPlan, role: RolePlan) -> Scripts:
    """Return what a replay has a role do; errors are those of reading its choices."""
    where = plan.replay.choices.get(role.name, "") if plan.replay is not None else ""
    if not where:
        return Scripts()
    take, steer = bytearray(), bytearray()
    outputs: dict[int, bytearray] = {}
    losses = _Losses()
    for batch in read_choices(Path(where)):
        for kind, source, count in batch.made:
            record = _RECORD.pack(_KINDS.get(kind, 0), source, count)
            losses.note(kind, source, count)
            if kind == "take":
                take += record
            elif kind == "route":
                steer += record
            elif kind in ("keep", "drop"):
                outputs.setdefault(source, bytearray()).extend(record)
    made = {at: bytes(records) for at, records in outputs.items()}
    return Scripts(bytes(take), bytes(steer), made, losses.records())


class _Losses:
    """Where the inputs of a role missed messages, by their own counts."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._lost: dict[int, list[list[int]]] = {}

    def note(self, kind: str, source: int, count: int) -> None:
        """Take the next choice of the role."""
        if kind not in ("take", "miss"):
            return
        place = self._places.get(source, 0)
        self._places[source] = place + count
        if kind == "miss" and count:
            runs = self._lost.setdefault(source, [])
            if runs and sum(runs[-1]) == place:
                runs[-1][1] += count
            else:
                runs.append([place, count])

    def records(self) -> dict[int, bytes]:
        """Return them by input."""
        return {
            source: b"".join(_LOST.pack(first, count) for first, count in runs)
            for source, runs in self._lost.items()
        }


def calls_of(
    plan: RunPlan, roles: Iterable[RolePlan], directory: str
) -> tuple[dict[int, dict[str, Any]], mmap.mmap | None]:
    """Return by role how its stage was called, for the host; and the area that takes what strays.

    Keep the area as long as the host. Errors are those of reading choices.
    """
    replay = plan.replay
    wanted = [role for role in roles if role.kind == "stage" and ":" in role.stage]
    if replay is None or not replay.choices or not wanted:
        return {}, None
    area = map_file(os.path.join(directory, CALLS_FILE))
    found: dict[int, dict[str, Any]] = {}
    for role in wanted:
        if calls := _calls(replay.choices.get(role.name, "")):
            at = role.index * CALLS_BYTES
            area[at : at + CALLS_BYTES] = bytes(CALLS_BYTES)
            where = address_of(area) + at
            found[role.index] = {"calls": calls, "exact": replay.exact, "found": where}
    return found, area


def _calls(where: str) -> bytes:
    if not where:
        return b""
    return b"".join(
        _RECORD.pack(_KINDS[kind], source, count)
        for batch in read_choices(Path(where))
        for kind, source, count in batch.made
        if kind in _CALL_KINDS
    )


def follow_trace(host: Host, directory: str, worker: int) -> mmap.mmap:
    """Have the stages of this process leave the message that is followed; keep what is returned."""
    area = map_file(os.path.join(directory, f"trace-{worker}.bin"))
    host.trace(address_of(area))
    return area


def map_file(path: str) -> mmap.mmap:
    """Map a file of the run directory for writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
