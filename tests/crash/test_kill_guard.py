"""Data protection across `kill -9`: nothing passes unredacted, and the report stays exact."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.guard import KEY, REGISTRY, RULES, redact_plainly
from tests.support.poll import until
from tests.support.run import LiveRun, make_test_plan, running, spec_text

COUNT = 30_000
KILLS = 4


@pytest.mark.timeout(120)
@pytest.mark.parametrize("stage", ["dataguard_redact", "dataguard_fused"])
def test_a_killed_guard_lets_nothing_through(tmp_path: Path, stage: str) -> None:
    """Each message comes out once, in order, redacted; each is counted once by each rule."""
    messages = [
        {"type": "login", "version": 3, "user": f"secret-{n}", "ip": "10.0.0.123", "port": n}
        for n in range(COUNT)
    ]
    (tmp_path / "registry.toml").write_bytes(REGISTRY)
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in messages))
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "guard").write_bytes(KEY)
    (secrets / "guard").chmod(0o400)
    spec = (
        f'[[stages]]\nname = "guard"\nstage = "{stage}"\n[stages.config]\n'
        f"rules = {json.dumps(RULES)}\n"
    )
    deployment = (
        f'[adapters.in]\nkind = "file"\npath = "{tmp_path}/in.jsonl"\n'
        f'[adapters.out]\nkind = "file"\npath = "{tmp_path}/out.jsonl"\nmode = "truncate"\n'
        f'[dataguard]\nschemas = ["{tmp_path}/registry.toml"]\nhash_key = "secret:guard"\n'
        "[failure]\nrestarts_max = 1000\nrestart_backoff_ms = 1\n[limits]\nmax_batch = 64\n"
        '[tuning]\nfuse = "never"\n'
    )
    plan = make_test_plan(
        spec_text(spec, ring="slot_bytes = 256"),
        deployment,
        directories=(str(tmp_path),),
        secrets_dir=str(secrets),
    )
    with running(plan) as run:
        killed = sum(_kill_at(run, (1 + at) * COUNT // 20) for at in range(KILLS))
        assert run.until_state("completed", "failed", timeout_s=60)["state"] == "completed"
        report = run.role("guard")["report"]
    assert killed > 0
    output = (tmp_path / "out.jsonl").read_bytes()
    assert b"secret-" not in output
    assert output.splitlines() == [redact_plainly(each, RULES) for each in messages]
    assert report["redacted.user.hash"] == report["redacted.port.drop"] == COUNT


def _kill_at(run: LiveRun, received: int) -> int:
    """Kill the guard's worker once it has that many; 0 when the run was over before."""

    def over() -> bool:
        return run.status()["state"] not in {"starting", "running"}

    until(lambda: run.role("guard")["received"] >= received or over(), 30.0, f"{received}")
    pid = run.worker_pid("guard")
    if over() or not pid:
        return 0
    os.kill(pid, signal.SIGKILL)
    until(lambda: run.worker_pid("guard") not in {0, pid} or over(), 30.0, "a new worker")
    return 1
