"""Metrics of real runs, scraped over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from byteord.runs.manager import RunManager
from byteord.runs.view import InputChunk
from byteord.telemetry.calls import GrpcCalls
from byteord.telemetry.exporter import Collector, Exporter
from byteord.telemetry.metric_table import METRICS
from tests.support.runs import Runs, managed, python_stage, run, taken, until

STAGES = ['stage = "identity"', python_stage("Upper")]
SEPARATE = "[tuning]\nfuse = 'never'"


@contextlib.contextmanager
def exported(manager: RunManager) -> Iterator[Exporter]:
    """Serve the metrics of a manager as the daemon does."""
    calls = GrpcCalls()
    calls.started("GetRun")
    calls.finished("GetRun", "OK", 0.001)
    collector = Collector(
        version="test", runs=manager.live_runs, calls=calls, watches=lambda: manager.watches
    )
    exporter = Exporter("127.0.0.1:0", collector.text)
    try:
        yield exporter
    finally:
        exporter.close()
        collector.close()


def scrape(exporter: Exporter) -> str:
    """Return the page. Blocks whatever loop runs in this thread, on purpose."""
    with urlopen(f"http://{exporter.address}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def values(text: str, name: str, **labels: str) -> list[float]:
    """Return the values of the series of that name with these labels."""
    found = []
    for line in text.splitlines():
        head, _, value = line.rpartition(" ")
        if head.partition("{")[0] == name and all(
            f'{label}="{wanted}"' in head for label, wanted in labels.items()
        ):
            found.append(float(value))
    return found


async def lines(go_on: asyncio.Event) -> AsyncIterator[InputChunk]:
    """Feed 1,000 lines, and no end before it is let go; never a true one."""
    yield InputChunk(b"some line\n" * 1000, 0)
    await go_on.wait()


@contextlib.asynccontextmanager
async def idle_run(runs: Runs, manager: RunManager, more: str = SEPARATE) -> AsyncIterator[str]:
    """Give the id of a live run that has passed on 1,000 messages and waits for more."""
    view = await manager.start(runs.admission(STAGES, more=more))
    feeding = asyncio.ensure_future(manager.feed(view.id, lines(asyncio.Event())))
    taking = asyncio.ensure_future(taken(manager, view.id))
    try:
        await until(lambda: manager.get(view.id).roles[-1].received == 1000)
        yield view.id
    finally:
        await manager.stop(view.id, "abort")
        feeding.cancel()
        await asyncio.gather(feeding, taking, return_exceptions=True)


def test_a_real_scrape_has_every_metric_with_the_figures_of_the_run() -> None:
    """All families of the table, no other; counts as the run knows them; in base units.

    The run is recorded, or it would have no figures of that. The page is read by a call that blocks
    the event loop all the while.
    """

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            with exported(manager) as exporter:
                recorded = f'{SEPARATE}\n[capture]\ndirectory = "{runs.top}/data/captures"'
                async with idle_run(runs, manager, recorded) as run_id:
                    text = scrape(exporter)
                    view = manager.get(run_id)
                    heads = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
                    # the doctor's families come with its first visit
                    wanted = {metric.name: metric.type for metric in METRICS}
                    assert heads == {
                        name: kind
                        for name, kind in wanted.items()
                        if not name.startswith("byteor_doctor_")
                    }
                    own = {"run": run_id, "pipeline": "tested"}
                    assert values(text, "byteor_run_state", state="running", **own) == [1]
                    assert values(text, "byteor_lane_published_total", **own) == [1000]
                    assert values(text, "byteor_lane_consumed_total", **own) == [1000, 1000]
                    assert values(text, "byteor_lane_depth_slots", **own) == [0]
                    for role in ("s0", "s1", "out"):
                        assert values(text, "byteor_role_received_total", role=role) == [1000]
                    assert values(text, "byteor_role_bytes_total", role="in") == [10_000]
                    for name in ("stage_latency", "end_to_end"):
                        counts = values(text, f"byteor_{name}_seconds_count", **own)
                        assert set(counts) == {1000}
                    [ready] = values(text, "byteor_run_ready_seconds", **own)
                    assert ready == pytest.approx(view.ready_ns / 1e9)
                    assert values(text, "byteor_worker_up", **own) == [1] * len(view.workers)
                    memory = values(text, "byteor_worker_resident_memory_bytes", **own)
                    assert len(memory) == len(view.workers)
                    assert min(memory) > 1 << 20
                    assert max(values(text, "byteor_worker_heartbeat_age_seconds", **own)) < 10
                    assert values(text, "byteor_scrape_errors_total") == [0]

    run(work)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_a_real_scrape() -> None:
    """`promtool check metrics` has nothing to say of the page of a live run."""

    async def work(runs: Runs) -> str:
        async with managed(runs) as manager:
            with exported(manager) as exporter:
                async with idle_run(runs, manager):
                    return scrape(exporter)

    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=run(work),
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_series_go_with_their_run() -> None:
    """After a run has ended nothing of it is on the page, and its memory is let go."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            with exported(manager) as exporter:
                async with idle_run(runs, manager) as run_id:
                    assert run_id in scrape(exporter)
                assert run_id not in scrape(exporter)
                assert run_id not in Path("/proc/self/maps").read_text()  # noqa: ASYNC240 - quick

    run(work)


def test_a_stopped_shim_and_a_killed_worker_are_seen() -> None:
    """With the supervision stopped, the page still comes and shows the worker that is gone."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            with exported(manager) as exporter:
                async with idle_run(runs, manager) as run_id:
                    view = manager.get(run_id)
                    os.kill(view.shim_pid, signal.SIGSTOP)
                    try:
                        os.kill(view.workers[1].pid, signal.SIGKILL)
                        await until(
                            lambda: values(scrape(exporter), "byteor_worker_up", worker="1") == [0]
                        )
                        up = values(scrape(exporter), "byteor_worker_up", run=run_id)
                        assert up.count(0) == 1
                    finally:
                        os.kill(view.shim_pid, signal.SIGCONT)

    run(work)


def test_an_unreadable_run_does_not_hide_the_others() -> None:
    """A run whose regions cannot be trusted is counted; the other runs are still shown."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            with exported(manager) as exporter:
                async with idle_run(runs, manager) as good, idle_run(runs, manager) as bad:
                    control = Path(manager.get(bad).region_directory, "control")
                    with control.open("r+b") as file:  # noqa: ASYNC230 - a few bytes
                        head = file.read(64)
                        file.seek(0)
                        file.write(b"\xff" * 64)
                        file.flush()
                        text = scrape(exporter)
                        file.seek(0)
                        file.write(head)
                    assert values(text, "byteor_run_state", run=bad, state="running") == [1]
                    assert values(text, "byteor_lane_published_total", run=bad) == []
                    assert values(text, "byteor_lane_published_total", run=good) == [1000]
                    assert values(scrape(exporter), "byteor_scrape_errors_total") == [1]

    run(work)
