"""Recording a run, as the daemon sets it up: the plan of it, its directory, what is known at start.

Owns that step. What the recorder then writes is `byteord.worker.recorder`'s; the end is written by
the shim.
"""

from __future__ import annotations

import os
import platform
import posixpath
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from byteord.adapters.paths import beneath
from byteord.capture.files import RunDocuments
from byteord.deployment.capture import (
    Capture,
    CapturePlan,
    tape_slots,
)
from byteord.deployment.plan import RunPlan
from byteord.deployment.tapes import tapes_of
from byteord.errors import ResourceError
from byteord.regions.captures import (
    ABOUT,
    DEPLOYMENT,
    FORMAT_VERSION,
    SPEC,
    keeps_messages,
    run_directory,
    write_json,
)
from byteord.runs.journal_dirs import make_directory

_CPUINFO = "/proc/cpuinfo"


def with_capture(plan: RunPlan, capture: Capture) -> RunPlan:
    """Return a plan that says how the run is recorded, if it is."""
    if not capture.on:
        return plan
    allowed, parts = beneath(capture.directory, plan.write_dirs)
    recorded = CapturePlan(
        directory=posixpath.join(allowed, *parts),
        keep=capture.keep,
        last_messages=capture.last_messages,
        last_time_s=capture.last_time_s,
        sample_every=capture.sample_every,
        outputs=capture.outputs,
        on_full=capture.on_full,
        segment_bytes=capture.segment_bytes,
        retention_bytes=capture.retention_bytes,
        tape_slots=tape_slots(capture),
        hash_seed=secrets.randbelow(1 << 32),
        tapes=tapes_of(plan),
        sync=capture.sync,
        sync_interval_ms=capture.sync_interval_ms,
    )
    return replace(plan, capture=recorded)


def begin_capture(plan: RunPlan, documents: RunDocuments, code: Mapping[str, str]) -> None:
    """Make the directory of a run's capture and write what is known of the run.

    DeniedError, NotFoundError, AdapterError or ResourceError says why not.
    """
    capture = plan.capture
    if capture is None:
        return
    make_directory(capture.directory, plan.write_dirs)
    directory = run_directory(capture, plan.run_id)
    try:
        directory.mkdir(mode=0o700)
        for tape in capture.tapes:
            (directory / tape.stream).mkdir(mode=0o700, exist_ok=True)
            if keeps_messages(capture, tape):
                (directory / tape.stream / tape.name).mkdir(mode=0o700)
        _write(directory / SPEC, documents.spec_kv)
        _write(directory / DEPLOYMENT, documents.deployment_kv)
        write_json(directory / ABOUT, describe_capture(plan, capture, code))
    except OSError as error:
        raise ResourceError(
            f"capture {directory}: {error.strerror}; make room or give rights there, or delete "
            "[capture] from the deployment",
            reason="CAPTURE_FAILED",
        ) from error


def describe_capture(
    plan: RunPlan, capture: CapturePlan, code: Mapping[str, str]
) -> dict[str, Any]:
    """Return what `capture.json` says at the start of a run."""
    recorded = {tape.name for tape in capture.tapes if tape.stream == "out"}

    def names(stream: str) -> list[dict[str, Any]]:
        tapes = (tape for tape in capture.tapes if tape.stream == stream)
        return [{"name": tape.name, "role": plan.roles[tape.role].kind} for tape in tapes]

    return {
        "capture_v": FORMAT_VERSION,
        "run": plan.run_id,
        "spec_name": plan.name,
        "spec_sha256": plan.spec_sha256,
        "deployment_sha256": plan.deployment_sha256,
        "environment": plan.environment,
        "model": plan.model,
        "started_unix_ns": time.time_ns(),
        "ended_unix_ns": None,
        "state": None,
        "keep": capture.keep,
        "last_messages": capture.last_messages,
        "last_time_s": capture.last_time_s,
        "sample_every": capture.sample_every,
        "outputs": capture.outputs,
        "on_full": capture.on_full,
        "sync": capture.sync,
        "ingresses": names("in"),
        "egresses": names("out"),
        "unrecorded": [
            role.name for role in plan.roles if role.kind == "egress" and role.name not in recorded
        ],
        "choosers": names("choices"),
        "conditions": conditions(capture, code, plan.seed),
    }


def conditions(capture: CapturePlan, code: Mapping[str, str], seed: int) -> dict[str, Any]:
    """Return what a replay has to have in common with the run for its digests to be comparable."""
    return {
        **host_conditions(),
        "pythonhashseed": capture.hash_seed,
        "seed": seed,
        "code": dict(code),
    }


def host_conditions() -> dict[str, Any]:
    """Return those of them that this host and its interpreter make."""
    packages = {each.name: each.version for each in metadata.distributions()}
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "packages": dict(sorted(packages.items())),
        "machine": platform.machine(),
        "cpu_flags": _cpu_flags(),
    }


def _cpu_flags() -> list[str]:
    try:
        with open(_CPUINFO, encoding="ascii") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in {"flags", "Features"}:
                    return sorted(value.split())
    except OSError:
        pass
    return []


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
