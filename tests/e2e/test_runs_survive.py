"""Runs outlive what is killed or goes away around them: workers, shims, managers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from byteord.errors import (
    UnavailableError,
)
from byteord.runs.manager import RunManager
from byteord.runs.state import RunState
from byteord.runs.view import InputChunk, WatchKind
from tests.support.runs import (
    ENDLESS,
    Runs,
    ended,
    endless,
    input_of,
    managed,
    run,
    taken,
    until,
)

LINES = b"".join(b"line %d of the input\n" % index for index in range(20_000))


def test_a_killed_worker_is_restarted_and_the_output_is_whole() -> None:
    """`kill -9` of the ingress, the stage and the egress of a fed run: not a byte differs."""

    async def work(runs: Runs) -> None:
        more = "[tuning]\nfuse = 'never'\n[failure]\nrestarts_max = 10\nrestart_backoff_ms = 10"
        go_on = asyncio.Semaphore(0)
        async with managed(runs) as manager:
            view = await manager.start(runs.admission(more=more))
            feeding = asyncio.ensure_future(manager.feed(view.id, gated(LINES, go_on)))
            taking = asyncio.ensure_future(taken(manager, view.id))
            received = 0
            for worker in view.workers:
                go_on.release()
                received = await until(progress_of(manager, view.id, received))
                os.kill(worker.pid, signal.SIGKILL)
                await until(restart_of(manager, view.id, worker.index))
            for _ in range(len(LINES)):
                go_on.release()
            assert await taking == LINES
            assert await feeding == len(LINES)
            last = await ended(manager, view.id)
            assert last.state is RunState.COMPLETED
            assert [worker.restarts for worker in last.workers] == [1] * len(last.workers)
            assert "WorkerRestarted" in {each.type for each in last.conditions}

    run(work)


async def gated(data: bytes, go_on: asyncio.Semaphore) -> AsyncIterator[InputChunk]:
    """Yield a whole input in 100 kB pieces, each when it is let go."""
    async for chunk in input_of(data):
        for offset in range(0, len(chunk.data), 100_000):
            await go_on.acquire()
            yield InputChunk(chunk.data[offset : offset + 100_000], chunk.offset + offset)
    yield chunk


def progress_of(manager: RunManager, run_id: str, before: int) -> Callable[[], int]:
    """Return a look at what the egress has received, once it is more than before."""

    def look() -> int:
        received = manager.get(run_id).roles[-1].received
        return received if received > before else 0

    return look


def restart_of(manager: RunManager, run_id: str, worker: int) -> Callable[[], bool]:
    """Return a look at whether a worker was restarted and runs again."""

    def look() -> bool:
        view = manager.get(run_id)
        assert not view.ended, view.failure
        return view.workers[worker].restarts == 1 and view.workers[worker].state == "running"

    return look


def test_a_killed_shim_fails_the_run_and_takes_its_workers_with_it() -> None:
    """`kill -9` of a shim: the run is failed by that name, its workers and regions are gone."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(endless(runs))
            os.kill(view.shim_pid, signal.SIGKILL)
            last = await ended(manager, view.id)
            assert last.state is RunState.FAILED
            assert last.failure is not None
            assert last.failure.reason == "SHIM_DIED"
            assert "signal 9" in last.failure.message
            assert runs.leftovers() == []

    run(work)


def test_a_bound_manager_takes_its_runs_with_it() -> None:
    """A private daemon that closes leaves no run behind."""

    async def work(runs: Runs) -> None:
        manager = runs.manager(bound=True)
        await manager.start(endless(runs))
        await manager.close()
        assert runs.leftovers() == []
        with pytest.raises(UnavailableError):
            await manager.start(endless(runs))

    run(work)


def test_runs_outlive_their_manager_and_are_adopted() -> None:
    """The next daemon goes on with a run: messages flow, it can be stopped, it is remembered."""

    async def work(runs: Runs) -> None:
        first = runs.manager()
        view = await first.start(endless(runs, principal="somebody"))
        watch = first.watch(view.id)
        await first.close()
        events = [event.kind async for event in watch]
        assert events[-1] is WatchKind.GOING_DOWN
        async with managed(runs) as manager:
            await manager.adopt()
            adopted = manager.get(view.id)
            assert adopted.state is RunState.RUNNING
            assert adopted.shim_pid == view.shim_pid
            assert adopted.created_unix_ns == view.created_unix_ns
            assert adopted.principal == "somebody"
            assert "Adopted" in {each.type for each in adopted.conditions}
            before = adopted.roles[-1].received
            await until(lambda: manager.get(view.id).roles[-1].received > before)
            assert (await manager.stop(view.id, "drain")).state is RunState.STOPPED
        async with managed(runs) as third:
            await third.adopt()
            assert third.get(view.id).state is RunState.STOPPED

    run(work)


@pytest.mark.parametrize("how", ["shim", "unreadable", "completed"])
def test_a_run_that_ended_without_a_daemon_is_put_away_by_the_next(how: str) -> None:
    """Its result is taken from what its shim left; without one it is failed. Nothing is left.

    Nor when its control region cannot be read any more, and does not say who works on it.
    """

    async def work(runs: Runs) -> None:
        first = runs.manager()
        count = "\ncount = 2000" if how == "completed" else ""
        view = await first.start(endless(runs, ingress=ENDLESS + count))
        await first.close()
        if how != "completed":
            os.kill(view.shim_pid, signal.SIGKILL)
        if how == "unreadable":
            damage_version(Path(view.region_directory, "control"))
        await until(lambda: not shim_alive(view.shim_pid))
        async with managed(runs) as manager:
            await manager.adopt()
            last = manager.get(view.id)
            wanted = RunState.COMPLETED if how == "completed" else RunState.FAILED
            assert last.state is wanted
            assert runs.leftovers() == []
            assert await manager.snapshot(view.id)

    run(work)


def damage_version(path: Path) -> None:
    """Make a region say that it is of another layout."""
    with path.open("r+b") as region:
        region.seek(8)
        region.write(b"\x63")


def shim_alive(pid: int) -> bool:
    """Tell whether the process runs; a zombie does not."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_another_process_adopts_a_run() -> None:
    """A manager whose child the shim is not takes the run over, and drains it."""

    async def work(runs: Runs) -> None:
        first = runs.manager()
        view = await first.start(endless(runs))
        await first.close()
        code = (
            "import asyncio,sys\n"
            "from byteord.deployment.model import ApprovalRules, Authority\n"
            "from byteord.policy.governor import Governor\n"
            "from byteord.runs.manager import RunManager, RunSettings\n"
            "async def main():\n"
            "    g = Governor(Authority(), ApprovalRules(), sys.argv[2])\n"
            "    m = RunManager(RunSettings(Authority(), sys.argv[1], sys.argv[2]), governor=g)\n"
            "    await m.adopt()\n"
            "    v = await m.stop(sys.argv[3], 'drain')\n"
            "    print(v.state, v.roles[0].published == v.roles[-1].received)\n"
            "    await m.close()\n"
            "asyncio.run(main())\n"
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            str(runs.regions),
            str(runs.top / "state"),
            view.id,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await child.communicate()
        assert out == b"stopped True\n"
        await until(lambda: not runs.leftovers())

    run(work)


def test_a_damaged_run_directory_is_reported_and_left() -> None:
    """What cannot be read is not guessed at: it is reported, and the others are adopted."""

    async def work(runs: Runs) -> None:
        first = runs.manager()
        view = await first.start(endless(runs))
        await first.close()
        damaged = Path(view.region_directory).parent / "damaged"
        damaged.mkdir(mode=0o700)
        (damaged / "plan.json").write_text("{")
        async with managed(runs) as manager:
            await manager.adopt()
            assert manager.get(view.id).state is RunState.RUNNING
            [refused] = [data for event, data in runs.events if event == "regions.refused"]
            assert refused["directory"] == str(damaged)
            (damaged / "plan.json").unlink()
            damaged.rmdir()

    run(work)
