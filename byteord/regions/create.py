"""Making and removing the directory of a run: its plan and its regions, all or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from byteord._cext import region
from byteord.deployment.capture import TAPE_SLOT_BYTES
from byteord.deployment.plan import RunPlan, UnitPlan
from byteord.deployment.ports import index_file, journal_lanes, unit_areas
from byteord.errors import AlreadyExistsError, ByteorError, DeniedError, ResourceError
from byteord.regions.clock import clock_mult, membarrier_available
from byteord.regions.journals import journal_directory

CONTROL = "control"
PLAN = "plan.json"


def runs_directory(regions_root: str) -> Path:
    """Return the directory that holds all runs of this user."""
    return Path(regions_root, f"byteor-{os.getuid()}")


def run_directories(regions_root: str) -> list[str]:
    """Return the directories of runs, live or dead, in name order."""
    root = runs_directory(regions_root)
    try:
        return sorted(
            entry.path for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)
        )
    except FileNotFoundError:
        return []


def create_run(regions_root: str, plan: RunPlan, *, asked_ns: int = 0) -> str:
    """Create the directory of a run with all its regions and return it.

    The run's age counts from `asked_ns` (CLOCK_MONOTONIC; 0: now).

    ResourceError (`SHM_FULL`, with wanted_bytes and free_bytes) when they do not fit;
    AlreadyExistsError when the run is there. On any error nothing is left behind.
    """
    directory = _make_directory(regions_root, plan.run_id)
    try:
        _fill(directory, plan, asked_ns)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return str(directory)


def remove_run(directory: str) -> None:
    """Remove a run's directory and everything in it; nothing happens if it is gone."""
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(
        OSError
    ):  # the last run of the user takes the directory of runs with it
        Path(directory).parent.rmdir()


def _make_directory(regions_root: str, run_id: str) -> Path:
    root = runs_directory(regions_root)
    for _ in range(3):
        root.mkdir(mode=0o700, exist_ok=True)
        _check_owner(root)
        directory = root / run_id
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            message = f"run directory {directory} exists already"
            raise AlreadyExistsError(message) from None
        except FileNotFoundError:
            continue  # another run's removal took the parent
        return directory
    message = f"{root} keeps vanishing; another process removes it"
    raise ByteorError(message)


def _check_owner(path: Path) -> None:
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o022:
        message = (
            f"{path}: seen mode {stat.filemode(info.st_mode)} of uid {info.st_uid}, wanted a "
            "directory of uid "
            f"{os.getuid()} that nobody else can write; remove it"
        )
        raise DeniedError(message, reason="REGION_DIRECTORY_UNSAFE")


def _fill(directory: Path, plan: RunPlan, asked_ns: int) -> None:
    clock = region.Clock(clock_mult())
    identity = {
        "pid": os.getpid(),
        "start_ticks": start_ticks(os.getpid()),
        "membarrier": membarrier_available(),
        "spec_sha256": bytes.fromhex(plan.spec_sha256),
        "run_id": plan.run_id,
        "boot_id": boot_id(),
    }
    for ring in plan.rings:
        size = {"capacity": ring.capacity, "slot_bytes": ring.slot_bytes, "cells": ring.cells}
        _create(directory / ring.file, region.create_ring, ident=identity, clock=clock, **size)
    for lane in journal_lanes(plan):
        size = {"capacity": 8, "slot_bytes": 64, "cells": 0}
        _create(
            directory / index_file(lane), region.create_ring, ident=identity, clock=clock, **size
        )
        if lane.journal is not None and not lane.journal.durable:
            journal_directory(str(directory), lane).mkdir(mode=0o700)
    capture = plan.capture
    for tape in capture.tapes if capture else ():
        slots = capture.slots_of(tape) if capture else 0
        size = {"capacity": slots, "slot_bytes": TAPE_SLOT_BYTES, "cells": 1}
        _create(directory / tape.file, region.create_ring, ident=identity, clock=clock, **size)
    units, roles = control_tables(plan)
    _create(
        directory / CONTROL,
        region.create_control,
        units=units,
        roles=roles,
        ident=identity,
        clock=clock,
        created_ns=asked_ns,
    )
    try:
        (directory / PLAN).write_text(plan.to_json())
    except OSError as error:
        raise _full(directory / PLAN, error) from error


def _create(path: Path, make: Any, **arguments: Any) -> None:
    descriptor = os.open(
        path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        make(descriptor, **arguments)
    except region.RegionFault as fault:
        raise _full(path, fault) from fault
    finally:
        os.close(descriptor)


def _full(path: Path, error: Exception) -> ByteorError:
    no_space = (
        getattr(error, "kind", "") == "NO_SPACE" or getattr(error, "errno", 0) == errno.ENOSPC
    )
    if not no_space:
        return ByteorError(f"{path}: {error}")
    info = os.statvfs(path.parent)
    free = info.f_bavail * info.f_frsize
    wanted = _planned_bytes(path)
    message = (
        f"{path.parent.parent.parent} is full: region {path.name} wants {wanted or 'more'} "
        f"bytes, {free} are free; "
        f"make ring.capacity or ring.slot_bytes smaller, stop other runs, or mount a larger tmpfs"
    )
    details = {"wanted_bytes": str(wanted), "free_bytes": str(free), "region": path.name}
    return ResourceError(message, reason="SHM_FULL", details=details)


def _planned_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def control_tables(plan: RunPlan) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the units and roles of a plan as the control region wants them."""
    where = {
        role: (unit.index, member) for unit in plan.units for member, role in enumerate(unit.roles)
    }
    worker_of = {
        unit: worker.index
        for worker in plan.workers
        for thread in worker.threads
        for unit in thread
    }
    units = [_unit_row(plan, unit, worker_of.get(unit.index, 0)) for unit in plan.units]
    roles = [
        {
            "name": role.name,
            "stage": role.stage or role.adapter,
            "kind": role.kind,
            "unit": where[role.index][0],
            "member": where[role.index][1],
            "ring": role.shard,
            "cell": role.cell,
            "depends": list(role.depends),
            "state_bytes": role.state_bytes,
        }
        for role in plan.roles
    ]
    return units, roles


def _unit_row(plan: RunPlan, unit: UnitPlan, worker: int) -> dict[str, Any]:
    slots, log = unit_areas(plan, unit)
    return {
        "worker": worker,
        "roles": list(unit.roles),
        "undo_bytes": slots + log,
        "undo_slot_bytes": slots,
    }


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot.

    With the pid it names the process for good.
    """
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text.rpartition(")")[2].split()[19])


def boot_id() -> str:
    """Return the id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
