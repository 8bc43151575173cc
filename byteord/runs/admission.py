"""Steps of letting a run in that decide and do nothing: id, ceilings, pins, the question of policy.

Pure, but for the clock and randomness of an id.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence

from byteord.deployment.model import Authority
from byteord.deployment.plan import RunPlan
from byteord.policy.governor import Asked
from byteord.runs.ceilings import check_ceiling
from byteord.runs.plan import plan_memory_bytes
from byteord.runs.view import Admission


def new_run_id() -> str:
    """Return an id that sorts by time: 11 hex digits of milliseconds, 6 random ones."""
    return f"{time.time_ns() // 1_000_000:011x}-{secrets.token_hex(3)}"


def asked_unix_ns(admission: Admission) -> int:
    """Return when a run was asked for, as ages of it count, since 1970."""
    ago_ns = time.monotonic_ns() - admission.asked_ns if admission.asked_ns else 0
    return time.time_ns() - ago_ns


def check_ceilings(plan: RunPlan, live: Sequence[RunPlan], allowed: Authority) -> None:
    """Raise ResourceError if a run beside the live ones would be beyond a ceiling."""
    region_bytes = sum(plan_memory_bytes(each) for each in live)
    workers = sum(len(each.workers) for each in live)
    more_bytes = plan_memory_bytes(plan)
    for key, what, seen, more, limit in (
        ("runs_max", "runs", len(live), 1, allowed.runs_max),
        ("workers_max", "workers", workers, len(plan.workers), allowed.workers_max),
        (
            "region_bytes_max",
            "region bytes",
            region_bytes,
            more_bytes,
            allowed.region_bytes_max,
        ),
    ):
        check_ceiling(key, what, seen=seen, more=more, allowed=limit)


def code_dirs_of(admission: Admission, authority: Authority) -> tuple[str, ...]:
    """Return the directories that the code of a run comes from."""
    job = admission.replay
    return authority.code_dirs if job is None or job.code_dirs is None else job.code_dirs


def asked_of(admission: Admission, run_id: str, digests: Mapping[str, str]) -> Asked:
    """Return a run as the governor is asked about it."""
    job = admission.replay
    return Asked(
        spec=admission.spec,
        deployment=admission.deployment,
        code=digests,
        principal=admission.principal,
        run_id=run_id,
        credential=admission.approval,
        request_id=admission.request_id,
        replay="" if job is None else ("execute" if job.execute else "dry_run_only"),
    )
