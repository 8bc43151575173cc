"""What validation estimates of a run, held against the plan that is made of it."""

from __future__ import annotations

import pytest

from byteord.deployment.memory import estimate_memory, workers_of
from byteord.runs.plan import make_plan, plan_memory_bytes
from tests.unit.spec.documents import AUTHORITY, HOST, SPEC, check, stages_spec

SHARDED = (
    f'{SPEC}\n[ring]\nshards = 8\nordering = "per_key"\nshard_key = {{ offset = 0, length = 4 }}\n'
)
CHAIN = stages_spec(
    'name = "a"\nstage = "look"',
    'name = "p"\nstage = "python:m:C"\ndepends_on = [0]\nmutates = "all"\n'
    'state = "state"\nstate_bytes = 100000',
    'name = "b"\nstage = "trim"\ndepends_on = [1]',
    'name = "c"\nstage = "keep"\nconfig.value = 1\ndepends_on = [2]',
)
SPECS = {
    "small": f"{SPEC}\n[ring]\ncapacity = 8\nslot_bytes = 64\n",
    "plain": SPEC,
    "large": f"{SPEC}\n[ring]\ncapacity = 65536\n",
    "sharded": SHARDED,
    "chain": CHAIN,
}


@pytest.mark.parametrize("fuse", ["never", "always"])
@pytest.mark.parametrize("policy", ["stop_pipeline", "skip"])
@pytest.mark.parametrize("name", sorted(SPECS))
def test_estimates_agree_with_the_plan(name: str, policy: str, fuse: str) -> None:
    """Workers are those of the plan; memory is never less, and less than twice as much."""
    report = check(SPECS[name], overrides={"tuning.fuse": fuse, "failure.policy": policy})
    assert report.spec is not None
    assert report.deployment is not None
    plan = make_plan(
        report.spec,
        report.deployment,
        run_id="x",
        single_process=False,
        host=HOST,
        authority=AUTHORITY,
    )
    assert workers_of(report.spec, report.deployment) == len(plan.workers)
    real = plan_memory_bytes(plan)
    assert real <= estimate_memory(report.spec, report.deployment).total_bytes <= real * 1.5 + 2**19
