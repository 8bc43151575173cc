"""Tuning while runs live: what is taken away is told, what must not begin does not, stalls show."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from byteord.deployment.model import Environment
from byteord.errors import WrongStateError
from byteord.runs.host import read_host
from byteord.runs.manager import RunManager, RunSettings
from byteord.runs.view import Admission, RunView, WatchKind
from byteord.telemetry.calls import GrpcCalls
from byteord.telemetry.exporter import Collector, Exporter
from byteord.tuning.knobs import Knob
from tests.support.cli import byteorctl
from tests.support.daemon import running_daemon
from tests.support.poll import until as until_now
from tests.support.run import make_test_plan, running
from tests.support.runs import Runs, endless, managed, run, until
from tests.support.tuned_run import GENERATED, SPEC

CPUS = sorted(os.sched_getaffinity(0))
TOLD_S = 5.0
PINNED = f'[tuning]\nfuse = "always"\npin = [{CPUS[-1]}]\n'
REAL_TIME = f'{PINNED}sched = "fifo"\npriority = 7\n'
ISOLATED = '[tuning]\nprofile = "isolated-core"\nwait = "backoff"\nfuse = "always"\n'
NOT_HELD = "cpu_dma_latency = -1\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="real time needs a right")
needs_two = pytest.mark.skipif(len(CPUS) < 2, reason="needs a second CPU")


def knob(view: RunView, name: str) -> Knob:
    """Return a knob of the run's only worker."""
    return next(each for each in view.workers[0].tuning if each.knob == name)


def widen(pid: int) -> None:
    """Let a worker run anywhere, as `taskset -p` does."""
    os.sched_setaffinity(pid, CPUS)


def slow_down(pid: int) -> None:
    """Lower a worker's priority, as `renice` does."""
    os.setpriority(os.PRIO_PROCESS, pid, 17)


def calm_down(pid: int) -> None:
    """Take real time from a worker, as `chrt -o` does."""
    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


@pytest.mark.parametrize(
    ("name", "tuning", "take_away"),
    [
        pytest.param("affinity", PINNED, widen, marks=needs_two),
        ("priority", PINNED, slow_down),
        pytest.param("scheduler", REAL_TIME, calm_down, marks=needs_root),
    ],
    ids=["affinity", "priority", "scheduler"],
)
def test_a_knob_that_is_taken_away_is_told_within_five_seconds(
    name: str, tuning: str, take_away: Callable[[int], None]
) -> None:
    """Events, status, snapshot and metrics say what changed, from what, and how to mend it."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(endless(runs, more=tuning))
            await until(lambda: _tuned(manager.get(view.id)) == "true", "tuned")
            before = knob(manager.get(view.id), name)
            watch = manager.watch(view.id)
            take_away(manager.get(view.id).workers[0].pid)
            began = time.monotonic()
            async for event in watch:
                if event.kind is WatchKind.CHANGED and event.run and _tuned(event.run) == "false":
                    break
            assert time.monotonic() - began < TOLD_S
            after = knob(manager.get(view.id), name)
            assert (before.state, after.state) == ("applied", "degraded")
            assert after.requested == before.requested
            assert after.applied != before.applied
            assert after.since_unix_ns > before.since_unix_ns
            assert "changed from outside" in after.reason
            assert after.fix
            snapshot = json.loads(await manager.snapshot(view.id))
            assert name in [
                each["knob"]
                for each in snapshot["run"]["workers"][0]["tuning"]
                if each["state"] == "degraded"
            ]
            assert _scraped(manager, name) == 1.0
            await watch.aclose()

    run(work)


def _tuned(view: RunView) -> str:
    return next((each.status for each in view.conditions if each.type == "Tuned"), "")


def _scraped(manager: RunManager, name: str) -> float:
    collector = Collector(version="test", runs=manager.live_runs, calls=GrpcCalls())
    exporter = Exporter("127.0.0.1:0", collector.text)
    try:
        with urlopen(f"http://{exporter.address}/metrics", timeout=10) as answer:
            page = answer.read().decode()
    finally:
        exporter.close()
        collector.close()
    [line] = [
        line
        for line in page.splitlines()
        if line.startswith("byteor_worker_tuning_state{") and f'knob="{name}"' in line
    ]
    return float(line.rpartition(" ")[2])


def in_staging(runs: Runs, tuning: str) -> Admission:
    """Return the admission of an endless run as staging has it."""
    admission = endless(runs, more=tuning)
    deployment = replace(admission.deployment, environment=Environment.STAGING)
    return replace(admission, deployment=deployment)


def test_isolated_core_outside_dev_does_not_start_on_a_host_that_cannot() -> None:
    """Before anything is allocated the refusal names every knob with its fix; or it is allowed."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            with pytest.raises(WrongStateError, match="isolcpus=") as refused:
                await manager.start(in_staging(runs, ISOLATED))
            assert refused.value.reason == "TUNING_DEGRADED"
            assert manager.list(include_ended=True) == []
            assert not runs.leftovers()
            view = await manager.start(in_staging(runs, f"{ISOLATED}allow_degraded = true\n"))
            await until(lambda: _tuned(manager.get(view.id)) == "false", "degraded")
            assert manager.get(view.id).state == "running"

    run(work)


@needs_root
def test_what_only_shows_when_it_is_applied_stops_the_start_too() -> None:
    """A host that looked well but does not honour the profile: nothing was taken from the input."""

    async def work(runs: Runs) -> None:
        facts = read_host()
        hopeful = replace(facts, topology=replace(facts.topology, isolated=tuple(CPUS)))
        settings = RunSettings(runs.authority, str(runs.regions), str(runs.top / "state"))
        manager = RunManager(settings, governor=runs.governor(), host=lambda: hopeful)
        with pytest.raises(WrongStateError, match="isolation of") as refused:
            await manager.start(in_staging(runs, f"{ISOLATED}{NOT_HELD}"))
        assert refused.value.reason == "TUNING_DEGRADED"
        [view] = manager.list(include_ended=True)
        whole = manager.get(view.id)
        assert [role.received for role in whole.roles] == [0, 0, 0]
        assert whole.failure is not None
        assert "allow_degraded" in whole.failure.message
        await manager.close()
        assert not runs.leftovers()

    run(work)


def test_a_restarted_worker_is_tuned_again_and_read_back() -> None:
    """After `kill -9` the next process has what the first one had, on its own evidence."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(endless(runs, more=PINNED))
            await until(lambda: _tuned(manager.get(view.id)) == "true", "tuned")
            first = manager.get(view.id).workers[0].pid
            os.kill(first, signal.SIGKILL)

            def again() -> bool:
                worker = manager.get(view.id).workers[0]
                mine = f"/proc/{worker.pid}/"
                return (
                    worker.pid not in (0, first)
                    and mine in knob(manager.get(view.id), "affinity").evidence
                )

            await until(again, "evidence of the new process")
            pid = manager.get(view.id).workers[0].pid
            assert os.sched_getaffinity(pid) == {CPUS[-1]}
            assert _tuned(manager.get(view.id)) == "true"

    run(work)


def test_a_stall_of_the_host_shows_as_a_gap_of_the_worker() -> None:
    """Time in which somebody else had the CPU is in the worker's histogram, not only in latency."""
    stalled_ms = 60

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            tuning = '[tuning]\nwait = "spin"\nfuse = "always"\n'
            view = await manager.start(endless(runs, more=tuning))
            await until(lambda: manager.get(view.id).roles[-1].received > 100, "flow")
            pid = manager.get(view.id).workers[0].pid
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(stalled_ms / 1000)  # the stall itself, not a wait for something
            os.kill(pid, signal.SIGCONT)
            await until(lambda: _longest(manager, view.id) >= stalled_ms * 1_000_000, "the gap")
            jitter = manager.get(view.id).workers[0].jitter
            assert jitter is not None
            assert jitter.stolen_ns >= stalled_ms * 1_000_000
            assert 0 < jitter.gap_ns_p50 <= jitter.gap_ns_p999 + 1

    run(work)


def _longest(manager: RunManager, run_id: str) -> int:
    jitter = manager.get(run_id).workers[0].jitter
    return jitter.gap_ns_max if jitter else 0


@needs_two
def test_threads_of_a_single_process_are_placed_one_by_one() -> None:
    """With all roles in one process each loop's thread has the CPU that was planned for it."""
    text = f'{GENERATED}[tuning]\nfuse = "never"\npin = [{CPUS[1]}, {CPUS[0]}]\n'
    plan = make_test_plan(SPEC, text, single_process=True)
    with running(plan) as live:
        live.until_state("running")
        pid = live.worker_pid("a")
        until_now(lambda: _place(pid, "byteor-w0") == {CPUS[1]}, 10.0, "the first thread in place")
        until_now(lambda: _place(pid, "byteor-w0.1") == {CPUS[0]}, 10.0, "the second one, too")


def _place(pid: int, name: str) -> set[int]:
    """Return the CPUs of the thread of that name; none while it is not there."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = [task.name for task in tasks if (task / "comm").read_text().strip() == name]
    return set(os.sched_getaffinity(int(found[0]))) if found else set()


def test_the_client_shows_plan_refusal_and_state(tmp_path: Path) -> None:
    """`describe --host` tells before, `run` refuses with exit 1, `status` shows every knob."""
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    strict, loose = tmp_path / "strict.toml", tmp_path / "loose.toml"
    strict.write_text(f'environment = "staging"\n{GENERATED}{ISOLATED}')
    loose.write_text(f'environment = "staging"\n{GENERATED}{ISOLATED}allow_degraded = true\n')
    with running_daemon(config={"environment": "staging"}) as daemon:
        env = {"BYTEOR_SOCKET": str(daemon.socket)}
        said = _ok(byteorctl("describe", spec, "--deployment", strict, "--host", "-o", "json",
                             env=env))  # fmt: skip
        described: dict[str, Any] = json.loads(said)
        assert "isolation" in [each["knob"] for each in described["falls_short"]]
        assert described["asked"]["strict"] is True
        assert described["placement"][0]["cpus"] in map(str, CPUS)
        refused = byteorctl("run", spec, "--deployment", strict, "--detach", env=env)
        assert refused.returncode == 1, refused.stderr
        assert b"isolcpus=" in refused.stderr
        run_id = _ok(byteorctl("run", spec, "--deployment", loose, "--detach", env=env)).strip()
        shown = until_now(lambda: _status_of(run_id, env), 15.0, "a status with knobs")
        assert "isolation" in shown
        assert "falls short" in shown.lower()
        _ok(byteorctl("stop", run_id, env=env))


def _status_of(run_id: str, env: dict[str, str]) -> str:
    shown = _ok(byteorctl("status", run_id, env=env))
    return shown if "degraded" in shown else ""


def _ok(done: Any) -> str:
    assert done.returncode == 0, done.stderr
    return str(done.stdout.decode())
