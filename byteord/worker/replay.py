"""The ends of a replay in a worker: captured messages come in, what leaves is digested.

Owns opening them from the plan. What happens to a message is the native side's.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from byteord._cext.replay import DigestSink, ReplaySource, address_of
from byteord._cext.worker import Host
from byteord.adapters.context import OpenContext
from byteord.deployment.plan import CALLS_BYTES, CALLS_FILE, RolePlan, RunPlan
from byteord.errors import AdapterError, DataError
from byteord.regions.segments import Recording
from byteord.stages.actions.budget import ActionBudget


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
    calls: bytes = b""
    """How its stage was called."""
    outputs: Mapping[int, bytes] = field(default_factory=dict)
    """What was kept and dropped at each of its outputs that drop."""
    lost: Mapping[int, bytes] = field(default_factory=dict)
    """What each of its inputs missed, as records of `byteor_lost`."""


def scripts_of(plan: RunPlan, role: RolePlan) -> Scripts:
    """Return what a replay has a role do; errors are those of reading its choices."""
    where = plan.replay.choices.get(role.name, "") if plan.replay is not None else ""
    if not where:
        return Scripts()
    try:
        return Scripts(*Recording(where).segments.scripts())
    except ValueError as error:
        raise DataError(
            f"choices of {role.name}: {error}; get the capture again from where it was recorded",
            reason="CAPTURE_DAMAGED",
        ) from error


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
        if calls := scripts_of(plan, role).calls:
            at = role.index * CALLS_BYTES
            area[at : at + CALLS_BYTES] = bytes(CALLS_BYTES)
            where = address_of(area) + at
            found[role.index] = {"calls": calls, "exact": replay.exact, "found": where}
    return found, area


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
