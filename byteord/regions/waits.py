"""Merges by time that wait: for which lane, and whose silence it is.

A fact from the sequences: messages wait in one input of the merge, another one is empty, and what
it says of time is old. Owns following that silence to where it begins, and which process that is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byteord.deployment.plan import RolePlan, RunPlan
from byteord.deployment.ports import lane_rings

SILENT_NS = 1_000_000_000
"""Whoever is idle says so every few milliseconds: one that has not for so long holds its merge."""


@dataclass(frozen=True, slots=True)
class RoleInput:
    """One ring that a role reads, as it is now."""

    lane: str
    ring: int
    waiting: int
    """Messages in it that the role has not taken."""
    ended: bool
    timed: bool
    """Its messages come in the order of time: a merge by time waits for it."""


class Waits:
    """Looks for merges that wait in one read of a run."""

    def __init__(
        self,
        directory: str,
        plan: RunPlan,
        inputs: Mapping[int, Sequence[RoleInput]],
        rings: Sequence[Mapping[str, Any]],
        *,
        pids: Sequence[int],
        now_ns: int,
    ) -> None:
        """Keep what was read: by role, its inputs and the process that plays it."""
        self._directory = directory
        self._plan = plan
        self._inputs = inputs
        self._rings = rings
        self._pids = pids
        self._now_ns = now_ns

    def find(self) -> dict[str, dict[str, Any]]:
        """Return by merge, in the order of roles, what it waits for and who is silent."""
        found: dict[str, dict[str, Any]] = {}
        for role in self._plan.roles:
            if role.mode != "ordered":
                continue
            waiting = sum(each.waiting for each in self._inputs[role.index])
            silent = self._silent(role)
            if waiting and silent is not None:
                found[role.name] = self._wait(silent, waiting)
        return found

    def _silent(self, role: RolePlan) -> RoleInput | None:
        """Return the input of a role that is empty and says least of time; None: none is old."""
        empty = [
            each
            for each in self._inputs[role.index]
            if not each.waiting and not each.ended and each.timed
        ]
        least = min(empty, key=self._progress_ns, default=None)
        if least is None or self._now_ns - self._progress_ns(least) < SILENT_NS:
            return None
        return least

    def _progress_ns(self, source: RoleInput) -> int:
        return int(self._rings[source.ring]["progress_ns"])

    def _wait(self, silent: RoleInput, waiting: int) -> dict[str, Any]:
        ring = silent.ring
        writer = self._writer(ring)
        while self._inputs[writer.index] and not any(
            each.waiting for each in self._inputs[writer.index]
        ):
            before = self._silent(writer)
            if before is None:
                break
            ring = before.ring
            writer = self._writer(ring)
        pid = self._pid(writer, ring)
        return {
            "lane": silent.lane,
            "by": writer.name,
            "lag_slots": waiting,
            "silent_ns": self._now_ns - self._progress_ns(silent),
            "client": writer.adapter == "client",
            "pid": pid,
            "stopped": is_stopped(pid),
        }

    def _writer(self, ring: int) -> RolePlan:
        for role in self._plan.roles:
            for tx in (*role.tx, *((role.dead_letter,) if role.dead_letter else ())):
                lane = self._plan.lanes[tx.lane]
                first = max(tx.stripe, 0)
                if ring in lane_rings(self._plan, lane)[first : first + tx.stripes]:
                    return role
        raise AssertionError(ring)

    def _pid(self, writer: RolePlan, ring: int) -> int:
        """Return the process that plays a role; of several clients the one that has the ring."""
        if writer.adapter == "client" and writer.tx[0].stripes > 1:
            path = os.path.join(self._directory, self._plan.rings[ring].file)
            return lock_owner(path) or self._pids[writer.index]
        return self._pids[writer.index]


def open_inputs(read: Mapping[str, Any]) -> dict[str, str]:
    """Return by endpoint which clients are there and have not ended their input, in a sentence.

    `read` is what `RunReader.read` returns. A drain waits for them: what they publish still counts.
    """
    return {
        role["name"]: _open_text(role)
        for role in read["roles"]
        if (role["kind"], role["stage"], role["state"]) == ("ingress", "client", "running")
        and _is_open(read, role["name"])
    }


def _is_open(read: Mapping[str, Any], endpoint: str) -> bool:
    lanes = [each for each in read["lanes"] if endpoint in each["producers"]]
    if lanes:
        return not all(each["ended"] for each in lanes)
    return any(ring["end_sequence"] is None for ring in read["rings"])


def _open_text(role: Mapping[str, Any]) -> str:
    pid, stopped = role["pid"], is_stopped(role["pid"])
    state = f"pid {pid}, stopped" if stopped else f"pid {pid}"
    return (
        f"the client of `{role['name']}` ({state}) is there and has not ended its input: let it "
        f"call end() or leave, or end it (kill -KILL {pid})"
    )


def lock_owner(path: str) -> int:
    """Return the process that holds a lock on a file, as far as this one may look; 0: none."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                about = process / "fdinfo" / descriptor.name
                if os.readlink(descriptor) == path and "lock:" in about.read_text():
                    return int(process.name)
    return 0


def is_stopped(pid: int) -> bool:
    """Tell whether a process is there and stopped, by a signal or a debugger."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in {"T", "t"}


def wait_text(role: str, wait: Mapping[str, Any]) -> str:
    """Say in one sentence what a merge waits for, and what to do."""
    pid, seconds = wait["pid"], wait["silent_ns"] / 1e9
    state = f", pid {pid}" + (" (stopped)" if wait["stopped"] else "") if pid else ""
    who = f"the client of `{wait['by']}`" if wait["client"] else f"`{wait['by']}`"
    said = "published nothing" if wait["client"] else "passed nothing on"
    text = (
        f"`{role}` waits for lane `{wait['lane']}` with {wait['lag_slots']:,} at hand: "
        f"{who}{state} has {said}, nor said that time passes, for {seconds:.1f} s; "
    )
    if wait["stopped"]:
        return f"{text}let it go on (kill -CONT {pid})" + (
            f", or end it (kill -KILL {pid})" if wait["client"] else ""
        )
    if wait["client"]:
        return f"{text}it has begun a batch: let it publish that, or end it" + (
            f" (kill {pid})" if pid else ""
        )
    return f"{text}see `byteorctl status` for what its worker does"
