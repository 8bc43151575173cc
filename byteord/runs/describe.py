"""How a run is shown.

From the shim's report and what the control region says to a `RunView` and a snapshot. Pure, except
for the resident memory that `/proc` tells.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from byteord.deployment.plan import RunPlan, WorkerPlan
from byteord.regions.lanes import hold_text
from byteord.regions.waits import open_inputs
from byteord.runs.lanes import ring_holds, ring_lanes
from byteord.runs.shim_client import ShimStatus, ShimWorker
from byteord.runs.view import (
    CaptureView,
    ConsumerView,
    ErrorView,
    HoldView,
    JitterView,
    LaneStatusView,
    RoleView,
    RunView,
    StreamView,
    WorkerView,
)
from byteord.runs.words import Words, shown_role
from byteord.spec.stage_key import shown_target
from byteord.tuning.monitor import Report

SNAPSHOT_VERSION = 1
_SHA256 = "sha256:"
_HOST_KEYS = (
    "actions_dir",
    "ca_text",
    "code_dirs",
    "code_store",
    "exec_allowed",
    "read_dirs",
    "schemas",
    "secrets_dir",
    "url_prefixes",
    "write_dirs",
)
"""Of a plan: where the daemon lets things lie, and what lies there."""
ROLE_OVER = frozenset({"ended", "failed", "stopped"})
UNSEEN_EXIT = "unknown: its shim died first"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def confinement_of(plan: RunPlan, worker: WorkerPlan, pid: int) -> str:
    """Return what the kernel says of a worker that is to be confined; empty for another.

    Landlock does not show in `/proc`; a worker that could not get it has not loaded the code.
    """
    units = [plan.units[unit] for thread in worker.threads for unit in thread]
    if not any(plan.roles[role].confined for unit in units for role in unit.roles):
        return ""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            said = {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
    except OSError:
        return "wanted; not running"
    held = [
        name
        for name, key, value in (
            ("no_new_privs", "NoNewPrivs", "1"),
            ("no capabilities", "CapEff", "0" * 16),
            ("seccomp", "Seccomp", "2"),
        )
        if said.get(key) == value
    ]
    return ", ".join(held) or "wanted; not applied yet"


def role_views(plan: RunPlan, read: Mapping[str, Any] | None) -> tuple[RoleView, ...]:
    """Return the roles as read, or as planned when nothing was read yet."""
    if read is not None:
        return tuple(_role(each) for each in read["roles"])
    workers = _workers_of_roles(plan)
    return tuple(
        RoleView(
            role.name,
            role.kind,
            role.stage or role.adapter,
            "starting",
            workers.get(role.index, -1),
        )
        for role in plan.roles
    )


def worker_views(
    plan: RunPlan,
    status: ShimStatus | None,
    read: Mapping[str, Any] | None,
    tuning: Report | None = None,
) -> tuple[WorkerView, ...]:
    """Return the workers, with what their shim and their roles say of them."""
    reported = {each.index: each for each in status.workers} if status else {}
    of_role = _workers_of_roles(plan)
    views = []
    for worker in plan.workers:
        seen = reported.get(worker.index) or ShimWorker(worker.index, 0, "starting", 0, "")
        mine = [role for role in (read["roles"] if read else ()) if role["worker"] == worker.index]
        views.append(
            WorkerView(
                index=worker.index,
                pid=seen.pid,
                state=seen.state,
                roles=tuple(
                    role.name for role in plan.roles if of_role.get(role.index) == worker.index
                ),
                cpus=worker.cpus,
                restarts=seen.restarts,
                heartbeat_age_ns=max((role["heartbeat_age_ns"] for role in mine), default=0),
                cycle_ns_max=max((role["cycle_ns_max"] for role in mine), default=0),
                exit=seen.exit,
                rss_bytes=resident_bytes(seen.pid) if seen.pid else 0,
                confinement=confinement_of(plan, worker, seen.pid),
                tuning=(tuning or {}).get(worker.index, ()),
                jitter=_jitter(read, worker.index),
            )
        )
    return tuple(views)


def without_processes(
    workers: tuple[WorkerView, ...], roles: tuple[RoleView, ...]
) -> tuple[tuple[WorkerView, ...], tuple[RoleView, ...]]:
    """Return both as they are once a run is over, whatever was last said of them.

    Where nobody was left to say how a worker ended, that is said.
    """
    return (
        tuple(
            each
            if each.state == "exited"
            else replace(each, state="exited", pid=0, exit=each.exit or UNSEEN_EXIT)
            for each in workers
        ),
        tuple(
            each if each.state in ROLE_OVER else replace(each, state="stopped") for each in roles
        ),
    )


def _jitter(read: Mapping[str, Any] | None, worker: int) -> JitterView | None:
    gaps = read["gaps"].get(worker) if read is not None else None
    if gaps is None:
        return None
    return JitterView(
        gaps=gaps["count"],
        stolen_ns=gaps["sum"],
        gap_ns_p50=gaps["p50"],
        gap_ns_p99=gaps["p99"],
        gap_ns_p999=gaps["p999"],
        gap_ns_max=gaps["max"],
        gap_ns_min=gaps["min"],
    )


def lane_views(read: Mapping[str, Any] | None) -> tuple[LaneStatusView, ...]:
    """Return the lanes as read: those of a LaneGraph, the rings of a SingleRing."""
    if read is None:
        return ()
    return tuple(_lane(each) for each in read.get("lanes", ())) or ring_lanes(read)


def capture_view(plan: RunPlan, read: Mapping[str, Any] | None) -> CaptureView | None:
    """Return how a run is recorded, as read; None where it is not."""
    capture = plan.capture
    if capture is None:
        return None
    rows = read.get("capture", ()) if read is not None else ()
    streams = tuple(StreamView(**{key: row[key] for key in StreamView.__slots__}) for row in rows)
    directory = os.path.join(capture.directory, plan.run_id)
    return CaptureView(directory, capture.keep, capture.outputs, capture.on_full, streams)


def hold_views(read: Mapping[str, Any] | None) -> tuple[HoldView, ...]:
    """Return which roles are held back by full lanes, as read."""
    if read is None:
        return ()
    if not read.get("lanes"):
        return ring_holds(read)
    return tuple(
        HoldView(
            role, each["lane"], each["by"], each["lag_slots"], each["root"], hold_text(role, each)
        )
        for role, each in read["held"].items()
    )


def _lane(raw: Mapping[str, Any]) -> LaneStatusView:
    return LaneStatusView(
        name=raw["name"],
        kind=raw["kind"],
        on_full=raw["on_full"],
        capacity=raw["capacity"],
        slot_bytes=raw["slot_bytes"],
        stripes=raw["stripes"],
        depth=raw["depth"],
        published=raw["published"],
        consumed=raw["consumed"],
        dropped={reason: count for reason, count in raw["dropped"].items() if count},
        overruns=raw["overruns"],
        full=raw["full"],
        held_by=raw["held_by"],
        producers=tuple(raw["producers"]),
        consumers=tuple(
            ConsumerView(
                each["role"],
                each["lossy"],
                each["consumed"],
                each["lag_slots"],
                each["missed"],
                each["nonsense"],
            )
            for each in raw["consumers"]
        ),
    )


def elapsed_ns(read: Mapping[str, Any] | None, key: str) -> int:
    """Return the time from the call that started the run to the moment `key` of its clock.

    0 if that has not come.
    """
    if read is None or not read[key]:
        return 0
    return max(1, int(read[key]) - int(read["created_ns"]))


def snapshot_json(
    view: RunView, plan: RunPlan, read: Mapping[str, Any] | None, *, taken_unix_ns: int
) -> bytes:
    """Return the snapshot: the run, its plan, and its rings, roles and units as they may be told.

    `regions` null: unreadable.
    """
    document = {
        "snapshot_version": SNAPSHOT_VERSION,
        "taken_unix_ns": taken_unix_ns,
        "run": asdict(view),
        "plan": json.loads(plan.to_json()),
        "regions": read,
    }
    return json.dumps(document, separators=(",", ":"), default=_jsonable).encode()


def stuck_roles(read: Mapping[str, Any] | None) -> str:
    """Say which roles have not ended, how far behind each is, and who holds each ring back."""
    if read is None:
        return "its regions cannot be read"
    open_roles = [role for role in read["roles"] if role["state"] not in ("ended", "stopped")]
    held = {each.role: each.message for each in hold_views(read)}
    waiting = [role for role in open_roles if role["lag_slots"] or role["name"] in held]
    clients = open_inputs(read)
    said = [
        held.get(role["name"])
        or clients.get(role["name"])
        or f"{role['name']} is {role['state']} with {role['lag_slots']} messages waiting"
        for role in waiting or open_roles
    ]
    said += [text for text in clients.values() if text not in said]
    said += [f"lane {each.name} holds {each.depth}" for each in lane_views(read) if each.depth]
    holders: Sequence[str] = sorted({ring["held_by"] for ring in read["rings"] if ring["held_by"]})
    if holders and not read.get("lanes"):
        said.append("held back by " + ", ".join(holders))
    return "; ".join(said) or "every role has ended"


def _workers_of_roles(plan: RunPlan) -> dict[int, int]:
    of_unit = {
        unit: worker.index
        for worker in plan.workers
        for thread in worker.threads
        for unit in thread
    }
    return {
        role: of_unit[unit.index]
        for unit in plan.units
        if unit.index in of_unit
        for role in unit.roles
    }


def _role(raw: Mapping[str, Any]) -> RoleView:
    service, latency = raw["service"], raw["latency"]
    return RoleView(
        name=raw["name"],
        kind=raw["kind"],
        stage=raw["stage"],
        state=raw["state"],
        worker=raw["worker"],
        received=raw["received"],
        published=raw["published"],
        dropped=raw["dropped"],
        skipped=raw["skipped"],
        rejected={reason: count for reason, count in raw["rejected"].items() if count},
        sequence=raw["sequence"],
        lag_slots=raw["lag_slots"],
        bytes=raw["bytes"],
        service_ns_p50=int(service["p50"]),
        service_ns_p99=int(service["p99"]),
        latency_ns_p50=int(latency["p50"]),
        latency_ns_p99=int(latency["p99"]),
        report=raw.get("report", {}),
        errors=tuple(
            ErrorView(each["code"], each["count"], each["first_sequence"], each["text"])
            for each in raw["errors"]
        ),
    )


class Payloads(enum.Enum):
    """What a snapshot tells of samples of rejected input."""

    SHOWN = "shown"
    DIGESTS = "digests"
    NOTHING = "nothing"

    @classmethod
    def of(cls, environment: str, *, guarded: bool) -> Payloads:
        """Return what a run's environment allows; under rules short ones could be guessed."""
        if guarded:
            return cls.NOTHING
        return cls.SHOWN if environment == "dev" else cls.DIGESTS


def told(read: Mapping[str, Any] | None, words: Words, payloads: Payloads) -> dict[str, Any] | None:
    """Return regions as read, without what must not be told of messages and by stages."""
    if read is None:
        return None
    return {**read, "roles": [_told_of(role, words, payloads) for role in read["roles"]]}


def _told_of(role: Mapping[str, Any], words: Words, payloads: Payloads) -> dict[str, Any]:
    shown = words.role_errors(role)
    samples = role.get("samples", {})
    if payloads is Payloads.SHOWN or not samples:
        return shown
    digests = payloads is Payloads.DIGESTS
    told = {reason: _digest(sample) for reason, sample in samples.items()} if digests else {}
    return {**shown, "samples": told}


def shown_snapshot(snapshot: bytes, *, sees: bool) -> bytes:
    """Return a snapshot as people see it: without free values of the spec and the host's own.

    `sees` False: for somebody who may see no payload: samples as digests.
    """
    document = json.loads(snapshot)
    plan = document.get("plan") or {}
    plan["roles"] = [shown_role(role) for role in plan.get("roles") or ()]
    for key in _HOST_KEYS:
        plan.pop(key, None)
    for effect in plan.get("effects") or ():
        effect["target"] = shown_target(str(effect["capability"]), str(effect["target"]))
    if not sees:
        _hide_samples(document)
    return json.dumps(document, separators=(",", ":")).encode()


def _hide_samples(document: dict[str, Any]) -> None:
    for role in (document.get("regions") or {}).get("roles") or ():
        role["samples"] = {
            reason: sample if sample.startswith(_SHA256) else _digest(bytes.fromhex(sample))
            for reason, sample in (role.get("samples") or {}).items()
        }


def _digest(sample: bytes) -> str:
    return _SHA256 + hashlib.sha256(sample).hexdigest()


def _jsonable(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
