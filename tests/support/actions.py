"""Runs of one action stage from a file to a file, without a daemon: the lease is the test's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from byteord._cext.control import Control
from byteord.deployment.plan import EffectPlan, RunPlan
from byteord.regions.create import CONTROL
from byteord.regions.reader import attach
from byteord.stages.actions.stage import idempotency_key
from tests.support.run import LiveRun, make_test_plan, spec_text

FOREVER = (1 << 63) - 1
LINES = [f"message {n}" for n in range(20)]


def keys_of(lines: list[str]) -> list[str]:
    """Return the keys of messages in this order."""
    contents = [hashlib.sha256(line.encode()).hexdigest() for line in lines]
    return [idempotency_key("t1", "s", at, content) for at, content in enumerate(contents)]


def action_plan(
    tmp_path: Path, stage: str, lines: list[str], limits: str = "", *, mode: str = "act",
    policy: str = "hold", failure: str = "", allow: tuple[str, ...] = (), ring: str = "",
) -> RunPlan:  # fmt: skip
    """Return the plan of one action stage `s` between two files."""
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in lines))
    spec = spec_text(f"[[stages]]\nname = 's'\nstage = '{stage}'\n", ring=ring)
    deployment = (
        f'[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.txt"\n'
        f'[adapters.out]\nkind = "file"\npath = "{tmp_path}/out.txt"\nmode = "truncate"\n'
        f"[actions]\nbackoff_ms = 10\nbackoff_max_ms = 50\n{limits}\n[failure]\n{failure}\n"
    )
    url = stage.partition(":")[2]
    plan = make_test_plan(
        spec, deployment, directories=(str(tmp_path),), exec_allowed=allow,
        url_prefixes=(url.rpartition("/")[0],) if "127.0.0.1" in url else (),
    )  # fmt: skip
    role = next(role.index for role in plan.roles if role.stage)
    effect = EffectPlan(role, stage.partition(":")[0], "", mode)
    return replace(plan, effects=(effect,), effects_policy=policy)


def give_lease(run: LiveRun, until_ns: int = FOREVER) -> None:
    """Let effects happen until a time of the run's clock."""
    control: Control = attach(Path(run.directory, CONTROL), Control, writable=True)
    control.set_lease(until_ns)


def journal_of(run: LiveRun) -> list[dict[str, Any]]:
    """Return what the journals say."""
    found = sorted(Path(run.directory).glob("actions-*.journal"))
    return [json.loads(line) for path in found for line in path.read_text().splitlines()]


def report_of(run: LiveRun) -> dict[str, int]:
    """Return what the stage counts."""
    return dict(run.role("s")["report"])
