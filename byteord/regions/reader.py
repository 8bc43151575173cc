"""Reading a run from its regions: everything that observers know, without touching the run.

Observation is reading memory: it works on live, wedged and dead runs alike. A region is untrusted
input; what does not validate is a RegionError that says what was seen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from byteord._cext import control, region
from byteord.deployment.plan import RolePlan, RunPlan
from byteord.deployment.ports import progress_wanted, ring_files, unit_ports
from byteord.errors import RegionError
from byteord.regions.captures import Tapes
from byteord.regions.create import CONTROL, PLAN
from byteord.regions.lanes import LaneView, holds
from byteord.regions.report import read_report
from byteord.regions.waits import Waits

_STATE_SHOWN = frozenset({"starting", "running", "idle", "blocked", "ended", "failed", "stopped"})


class RunReader:
    """The regions of one run, attached read-only."""

    def __init__(self, directory: str) -> None:
        """Attach; RegionError when a region is missing, torn, foreign or of another version."""
        self.directory = directory
        self.plan = read_plan(directory)
        self.control = attach(Path(directory, CONTROL), control.Control)
        self.rings = [attach(Path(directory, file), region.Ring) for file in ring_files(self.plan)]
        self.tapes = Tapes(directory, self.plan)
        if self.control.role_count != len(self.plan.roles) or self.control.unit_count != len(
            self.plan.units
        ):
            message = f"{directory}: its plan and its control region do not belong together"
            raise RegionError(message)
        self._ports = [unit_ports(self.plan, unit) for unit in self.plan.units]
        self._workers = {
            u: w.index for w in self.plan.workers for thread in w.threads for u in thread
        }

    def close(self) -> None:
        """Let go of the memory."""
        del self.control, self.rings, self.tapes

    def histogram(
        self, role: int, which: str, bounds_ns: Sequence[int]
    ) -> tuple[list[int], int, int]:
        """Return `service` or `latency` of a role: counts up to each bound, sum in ns, count."""
        return self.control.histogram(role, which, bounds_ns)  # type: ignore[no-any-return]

    def gap_histogram(self, worker: int, bounds_ns: Sequence[int]) -> tuple[list[int], int, int]:
        """Return the gaps of a worker's loops: counts up to each bound, sum in ns, count."""
        found = [self.control.histogram(unit, "gaps", bounds_ns) for unit in self._units(worker)]
        counts = [sum(each) for each in zip(*(counts for counts, _, _ in found), strict=True)]
        return counts, sum(total for _, total, _ in found), sum(count for _, _, count in found)

    def _units(self, worker: int) -> list[int]:
        return [unit for unit, index in self._workers.items() if index == worker]

    def read_lanes(self) -> list[dict[str, Any]]:
        """Return the lanes of a LaneGraph alone: cheap, for who looks often."""
        return self._view([ring.read() for ring in self.rings]).rows()

    def _view(self, rings: list[dict[str, Any]]) -> LaneView:
        words = {
            index: self.control.words(index, ports.words) if ports.words else ()
            for index, ports in enumerate(self._ports)
        }
        return LaneView(self.plan, self._ports, rings, words)

    def read(self) -> dict[str, Any]:
        """Return the state of the run: clock, times, rings, lanes, roles, units."""
        rings = [ring.read() for ring in self.rings]
        view = self._view(rings)
        lanes = view.rows()
        now = self.control.now_ns()
        run = self.control.run()
        read = {
            "clock_ns": now,
            "created_ns": run["created_ns"],
            "ready_ns": run["ready_ns"],
            "first_message_ns": run["first_message_ns"],
            "failure": self._failure(run),
            "identity": self.control.identity(),
            "wait": self.plan.wait,
            "gaps": {
                worker.index: self.control.gaps(self._units(worker.index))
                for worker in self.plan.workers
            },
            "rings": [
                self._ring(index, ring) for index, ring in enumerate(rings[: len(self.plan.rings)])
            ],
            "lanes": lanes,
            "held": holds(self.plan, lanes, self._waits(rings, view, now)),
            "capture": self.tapes.stats(),
            "roles": [self._role(index, rings, now, view) for index in range(len(self.plan.roles))],
            "units": [
                {"index": index, **self.control.unit(index)}
                for index in range(len(self.plan.units))
            ],
        }
        self._believe()
        return read

    def _waits(
        self, rings: Sequence[Mapping[str, Any]], view: LaneView, now: int
    ) -> dict[str, dict[str, Any]]:
        if not progress_wanted(self.plan):
            return {}
        roles = self.plan.roles
        inputs = {role.index: view.inputs(role) for role in roles}
        pids = [self.control.role(role.index)["pid"] for role in roles]
        return Waits(self.directory, self.plan, inputs, rings, pids=pids, now_ns=now).find()

    def _believe(self) -> None:
        maps = {CONTROL: self.control}
        maps.update(zip(ring_files(self.plan), self.rings, strict=True))
        for name, each in maps.items():
            if each.lost:
                message = (
                    f"region {self.directory}/{name}: a page of it is gone: the file was truncated "
                    "from outside, or its filesystem is full; nothing of it is believed"
                )
                raise RegionError(message, reason="REGION_LOST")

    def _failure(self, run: dict[str, Any]) -> dict[str, Any] | None:
        if run["failed_role"] is None:
            return None
        role = self.plan.roles[run["failed_role"]]
        errors = self.control.role(role.index)["errors"]
        return {
            "reason": run["failure"],
            "role": role.name,
            "stage": role.stage or role.adapter,
            "sequence": run["failed_sequence"],
            "message_sha256": run["failed_sha256"],
            "message": errors[-1]["text"] if errors else "",
        }

    def _ring(self, index: int, ring: dict[str, Any]) -> dict[str, Any]:
        names = self._cell_names(index)
        cursor = ring["cursor"]
        cells = [
            {
                "cell": cell,
                "role": names.get(cell, ""),
                "sequence": sequence,
                "lag_slots": max(cursor - sequence, 0),
            }
            for cell, sequence in enumerate(ring["cells"])
        ]
        nobody = {"sequence": cursor, "role": "", "lag_slots": 0}
        last = min(cells, key=lambda cell: cell["sequence"], default=nobody)
        held = bool(cells) and ring["claimed"] - last["sequence"] >= ring["capacity"]
        return {
            "index": index,
            "file": self.plan.rings[index].file,
            **{
                key: ring[key]
                for key in (
                    "capacity",
                    "slot_bytes",
                    "cursor",
                    "claimed",
                    "end_sequence",
                    "progress_ns",
                )
            },
            "minimum_gating_sequence": last["sequence"],
            "held_by": last["role"] if held or last["lag_slots"] else "",
            "full": held,
            "cells": cells,
        }

    def _cell_names(self, ring: int) -> dict[int, str]:
        """Return which role has each gating cell of a ring."""
        roles = self.plan.roles
        if self.plan.model == "lane_graph":
            lane = self.plan.lanes[self.plan.rings[ring].lane]
            return {each.cell: roles[each.role].name for each in lane.consumers if each.cell >= 0}
        return {
            role.cell: role.name for role in roles if role.cell >= 0 and role.shard in {ring, -1}
        }

    def _role(
        self, index: int, rings: list[dict[str, Any]], now: int, view: LaneView
    ) -> dict[str, Any]:
        plan = self.plan.roles[index]
        role: dict[str, Any] = self.control.role(index)
        graph = self.plan.model == "lane_graph"
        sequence, lag = view.role_progress(plan) if graph else self._progress(index, rings)
        heartbeat = role.pop("heartbeat_ns")
        role.update(
            index=index,
            shard=plan.shard,
            worker=self._workers.get(role["unit"], -1),
            state=role["state"] if role["state"] in _STATE_SHOWN else "starting",
            heartbeat_age_ns=max(now - heartbeat, 0) if heartbeat else 0,
            sequence=sequence,
            lag_slots=lag,
            service=self.control.summary(index, "service"),
            latency=self.control.summary(index, "latency"),
        )
        if plan.kind == "ingress" and plan.adapter == "client":
            role.update(self._by_clients(plan, rings))
        if plan.report:
            role["report"] = read_report(self.control.state_area(index), plan.report)
        return role

    def _by_clients(self, role: RolePlan, rings: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Return what clients have published: their rings say it, whoever and how many they are."""
        own = list(range(len(self.plan.rings)))  # behind them lie the tapes of a capture
        if self.plan.model == "lane_graph":
            (tx,) = role.tx
            own = list(self.plan.lanes[tx.lane].rings[tx.stripe : tx.stripe + tx.stripes])
        published = lost = 0
        for ring in (rings[index] for index in own):
            end = ring["end_sequence"]
            published += ring["cursor"] - (end is not None and ring["cursor"] > end)
            lost += ring["dropped"]["full"]
        return {"received": published + lost, "published": published}

    def _progress(self, index: int, rings: list[dict[str, Any]]) -> tuple[int, int]:
        """Return the next sequence of a role and how many messages wait for it."""
        role = self.plan.roles[index]
        own = rings[: len(self.plan.rings)] if role.shard < 0 else [rings[role.shard]]
        if role.kind == "ingress":
            return sum(ring["cursor"] for ring in own), 0
        cell = (
            role.cell
            if role.cell >= 0
            else max(r.cell for r in self.plan.roles if r.kind == "stage")
        )
        behind = 0
        for ring in own:
            before = min((ring["cells"][d] for d in role.depends), default=ring["cursor"])
            behind += max(before - ring["cells"][cell], 0)
        return sum(ring["cells"][cell] for ring in own), behind


def read_plan(directory: str) -> RunPlan:
    """Return the plan of a run; RegionError when it cannot be read."""
    path = Path(directory, PLAN)
    try:
        return RunPlan.from_json(path.read_text())
    except FileNotFoundError:
        message = f"{path}: not there; {directory} is no run directory"
        raise RegionError(message, reason="REGION_MISSING") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: {error}"
        raise RegionError(message, reason="REGION_PLAN_UNREADABLE") from error


def open_region(path: Path, *, writable: bool = False) -> int:
    """Open a region file without following links; RegionError when it cannot be."""
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except OSError as error:
        message = f"region {path}: {error.strerror}"
        raise RegionError(message, reason="REGION_MISSING") from error


def attach(path: Path, kind: Any, *, writable: bool = False) -> Any:
    """Open, map and validate one region.

    RegionError `REGION_<kind of fault>` says what was wrong.
    """
    descriptor = open_region(path, writable=writable)
    try:
        return kind(descriptor, writable)
    except region.RegionFault as fault:
        message = f"region {path}: {fault}; it is not used"
        raise RegionError(message, reason=f"REGION_{fault.kind}") from fault
    finally:
        os.close(descriptor)
