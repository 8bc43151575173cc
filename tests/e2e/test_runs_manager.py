"""The life of runs: a real manager, real shims, real workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from byteord.errors import (
    AdapterError,
    AlreadyExistsError,
    ByteorError,
    DeadlineError,
    NotFoundError,
    ResourceError,
    StageError,
    UnavailableError,
    WrongStateError,
)
from byteord.runs.manager import RunManager
from byteord.runs.state import RunState
from byteord.runs.view import InputChunk, WatchKind
from tests.support.runs import (
    Runs,
    ended,
    input_of,
    managed,
    python_stage,
    run,
    taken,
    through,
    until,
)

LINES = b"".join(b"line %d of the input\n" % index for index in range(20_000))
ENDLESS = 'kind = "generator"\nsize = 48\nrate = 20000'
DISCARD = 'kind = "discard"'


def endless(runs: Runs, **changes: Any) -> Any:
    """Return an admission of a run that goes on until it is stopped."""
    options = {
        "ingress": ENDLESS,
        "egress": DISCARD,
        "client_input": False,
        "client_output": False,
    }
    return runs.admission(**{**options, **changes})


@pytest.mark.parametrize("single_process", [False, True], ids=["processes", "sp"])
def test_input_flows_through_to_the_output(*, single_process: bool) -> None:
    """A fed run gives every line to whoever takes it, completes, is remembered, leaves nothing."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            stages = ['stage = "identity"', python_stage("Upper")]
            view = await manager.start(runs.admission(stages, single_process=single_process))
            assert view.state is RunState.RUNNING
            assert view.ready_ns > 0
            assert runs.leftovers()
            assert set(view.code_digests) == {"s1"}
            assert all(worker.pid for worker in view.workers)
            assert len(view.workers) == 1 or not single_process
            assert await through(manager, view.id, LINES) == LINES.upper()
            last = await ended(manager, view.id)
            assert last.state is RunState.COMPLETED
            assert last.first_message_ns > 0
            assert last.region_directory == ""
            assert last.shim_pid == 0
            assert [role.received for role in last.roles[1:]] == [20_000] * 3
            assert manager.list() == []
            assert [each.id for each in manager.list(include_ended=True)] == [view.id]
            snapshot = json.loads(await manager.snapshot(view.id))
            assert snapshot["run"]["state"] == "completed"
            assert snapshot["regions"]["rings"][0]["end_sequence"] is not None

    run(work)


def test_a_run_is_found_by_id_and_by_name() -> None:
    """One live run of a name is found by it, two are ambiguous, an ended one is found last."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            first = await manager.start(endless(runs))
            assert manager.get("tested").id == manager.get(first.id).id == first.id
            second = await manager.start(endless(runs, run_id="mine"))
            assert second.id == "mine"
            with pytest.raises(WrongStateError) as caught:
                manager.get("tested")
            assert caught.value.reason == "AMBIGUOUS_NAME"
            assert [each.id for each in manager.list()] == [second.id, first.id]
            with pytest.raises(AlreadyExistsError):
                await manager.start(endless(runs, run_id="mine"))
            for each in (first, second):
                await manager.stop(each.id, "abort")
            assert manager.get("tested").state is RunState.STOPPED
            with pytest.raises(NotFoundError):
                manager.get("nosuch")
            with pytest.raises(WrongStateError) as caught:
                await manager.stop(first.id)
            assert caught.value.reason == "RUN_ENDED"

    run(work)


@pytest.mark.parametrize("mode", ["drain", "abort"])
def test_stop_ends_a_run_and_leaves_nothing(mode: Any) -> None:
    """Draining lets everything out that came in; both end with state `stopped`."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(endless(runs))
            await until(lambda: manager.get(view.id).roles[-1].received > 100)
            last = await manager.stop(view.id, mode)
            assert last.state is RunState.STOPPED
            assert last.ended_unix_ns > last.created_unix_ns
            if mode == "drain":
                assert last.roles[-1].received == last.roles[0].published

    run(work)


def test_stop_drain_gives_the_output_to_its_end() -> None:
    """A client that takes a drained run gets an end mark; the one that feeds is told."""

    async def work(runs: Runs) -> None:
        async def slow() -> AsyncIterator[InputChunk]:
            yield InputChunk(b"a\nb\n", 0)
            await asyncio.Event().wait()

        async with managed(runs) as manager:
            view = await manager.start(runs.admission())
            feeding = asyncio.ensure_future(manager.feed(view.id, slow()))
            taking = asyncio.ensure_future(taken(manager, view.id))
            await until(lambda: manager.get(view.id).roles[-1].received == 2)
            assert (await manager.stop(view.id, "drain")).state is RunState.STOPPED
            assert await taking == b"a\nb\n"
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    run(work)


def test_a_watch_sees_the_whole_life() -> None:
    """A watch tells of the start, each change and the end, with growing revisions."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            watch = manager.watch()
            view = await manager.start(endless(runs))
            mine = manager.watch(view.id)
            await manager.stop(view.id, "drain")
            kinds = [event.kind async for event in mine]
            assert kinds[0] is WatchKind.SNAPSHOT
            assert kinds[-1] is WatchKind.ENDED
            states, revisions = [], []
            async for event in watch:
                assert event.run is not None
                states.append(event.run.state)
                revisions.append(event.revision)
                if event.kind is WatchKind.ENDED:
                    break
            assert states[0] is RunState.STARTING
            assert RunState.RUNNING in states
            assert states[-1] is RunState.STOPPED
            assert revisions == sorted(set(revisions))

    run(work)


def test_a_stage_that_raises_fails_the_run_by_name() -> None:
    """The failure names stage, sequence and digest; both clients get it as their error."""

    async def work(runs: Runs) -> None:
        data = b"fine\n" * 10 + b"boom\n" + b"fine\n" * 10
        async with managed(runs) as manager:
            view = await manager.start(runs.admission([python_stage("Raises")]))
            results = await asyncio.gather(
                taken(manager, view.id),
                manager.feed(view.id, input_of(data)),
                return_exceptions=True,
            )
            last = await ended(manager, view.id)
            assert last.state is RunState.FAILED
            assert last.failure is not None
            assert last.failure.role == "s0"
            assert last.failure.sequence == 10
            assert "no boom please" in last.failure.message
            assert len(last.failure.message_sha256) == 64
            assert isinstance(results[0], StageError | bytes)
            assert json.loads(await manager.snapshot(view.id))["regions"] is not None

    run(work)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"stages": [python_stage("Broken")]}, StageError, "missing model file"),
        ({"stages": [python_stage("Nowhere")]}, StageError, "Nowhere"),
        ({"egress": 'kind = "file"\npath = "DATA/missing/out"'}, AdapterError, "missing/out"),
    ],
)
def test_a_run_that_cannot_start_is_an_error_and_leaves_nothing(
    changes: dict[str, Any], error: type[ByteorError], words: str
) -> None:
    """`start` raises what the role said; workers, shim and regions are gone by then."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            data = str(runs.top / "data")
            egress = changes.get("egress", DISCARD).replace("DATA", data)
            with pytest.raises(ByteorError) as caught:
                await manager.start(endless(runs, **{**changes, "egress": egress}))
            assert isinstance(caught.value, error), caught.value
            assert words in caught.value.message
            assert runs.leftovers() == []
            assert manager.list() == []
            [view] = manager.list(include_ended=True)
            assert view.state is RunState.FAILED
            assert caught.value.details["run"] == view.id

    run(work)


def test_missing_code_is_refused_before_anything_is_made() -> None:
    """Code that is in no code directory is an error with the directories searched."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            admission = endless(runs, stages=[python_stage("Upper")])
            (runs.top / "code" / "runs_stages.py").unlink()
            with pytest.raises(StageError) as caught:
                await manager.start(admission)
            assert caught.value.reason == "STAGE_CODE_NOT_FOUND"
            assert runs.leftovers() == []
            assert manager.list(include_ended=True) == []

    run(work)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"runs_max": 1}, "RUNS_MAX"),
        ({"workers_max": 3}, "WORKERS_MAX"),
        ({"region_bytes_max": 1 << 20}, "REGION_BYTES_MAX"),
    ],
)
def test_ceilings_refuse_before_anything_is_made(limit: dict[str, int], reason: str) -> None:
    """A run beyond a ceiling is refused by name; those that run go on."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            await manager.start(endless(runs, single_process=reason != "WORKERS_MAX"))
            before = runs.leftovers()
            with pytest.raises(ResourceError) as caught:
                await start_many(manager, runs)
            assert caught.value.reason == reason
            assert len(runs.leftovers()) >= len(before)

    run(work, **limit)


async def start_many(manager: RunManager, runs: Runs) -> None:
    """Start more runs than any of the ceilings allows."""
    for _ in range(4):
        await manager.start(endless(runs))


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


def test_a_client_that_stops_feeding_fails_its_run() -> None:
    """Input without an end mark is never taken for whole: the run fails and says so."""

    async def work(runs: Runs) -> None:
        async def short() -> AsyncIterator[InputChunk]:
            yield InputChunk(b"a\n", 0)

        async with managed(runs) as manager:
            view = await manager.start(runs.admission())
            taking = asyncio.ensure_future(taken(manager, view.id))
            with pytest.raises(ByteorError, match="before its end mark"):
                await manager.feed(view.id, short())
            last = await ended(manager, view.id)
            assert last.state is RunState.FAILED
            assert last.failure is not None
            assert "before its end mark" in last.failure.message
            await asyncio.gather(taking, return_exceptions=True)

    run(work)


def test_a_client_that_stops_taking_fails_its_run() -> None:
    """A run whose output nobody takes any more ends, failed."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(runs.admission())
            feeding = asyncio.ensure_future(manager.feed(view.id, input_of(LINES * 20)))
            chunks = manager.take(view.id)
            await anext(chunks)
            await chunks.aclose()
            last = await ended(manager, view.id)
            assert last.state is RunState.FAILED
            assert last.failure is not None
            with pytest.raises(ByteorError):
                await feeding

    run(work)


def test_a_run_whose_client_never_comes_fails() -> None:
    """A run that was started for a client does not wait for it for ever."""

    async def work(runs: Runs) -> None:
        async with managed(runs, attach_timeout_s=0.1) as manager:
            view = await manager.start(runs.admission())
            last = await ended(manager, view.id)
            assert last.state is RunState.FAILED
            assert last.failure is not None
            assert "client" in last.failure.message

    run(work)


def test_streams_are_for_one_client_each() -> None:
    """A second feeder or taker is refused and harms neither the first nor the run."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(runs.admission())
            flow = asyncio.ensure_future(through(manager, view.id, LINES * 10))
            await until(lambda: manager.get(view.id).roles[-1].received > 0)
            with pytest.raises(WrongStateError):
                await manager.feed(view.id, input_of(b"x"))
            with pytest.raises(WrongStateError):
                await taken(manager, view.id)
            assert await flow == LINES * 10
            assert (await ended(manager, view.id)).state is RunState.COMPLETED
            alone = await manager.start(endless(runs))
            with pytest.raises(WrongStateError) as caught:
                await manager.feed(alone.id, input_of(b"x"))
            assert caught.value.reason == "NO_CLIENT_INPUT"

    run(work)


def test_output_can_be_taken_after_the_end() -> None:
    """A run that ended before anybody took its output still gives it."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(runs.admission())
            await manager.feed(view.id, input_of(b"a\nb\n"))
            assert (await ended(manager, view.id)).state is RunState.COMPLETED
            assert await taken(manager, view.id) == b"a\nb\n"

    run(work)


def test_a_drain_that_takes_too_long_says_what_is_stuck() -> None:
    """A stage that hangs is named, with what waits for it; abort still ends the run."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(endless(runs, stages=[python_stage("Hangs")]))
            await until(lambda: manager.get(view.id).roles[0].published > 10)
            with pytest.raises(DeadlineError) as caught:
                await manager.stop(view.id, "drain", 1)
            assert "s0" in caught.value.message

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


@pytest.mark.parametrize("how", ["shim", "completed"])
def test_a_run_that_ended_without_a_daemon_is_put_away_by_the_next(how: str) -> None:
    """Its result is taken from what its shim left; without one it is failed. Nothing is left."""

    async def work(runs: Runs) -> None:
        first = runs.manager()
        count = "" if how == "shim" else "\ncount = 2000"
        view = await first.start(endless(runs, ingress=ENDLESS + count))
        await first.close()
        if how == "shim":
            os.kill(view.shim_pid, signal.SIGKILL)
        await until(lambda: not shim_alive(view.shim_pid))
        async with managed(runs) as manager:
            await manager.adopt()
            last = manager.get(view.id)
            wanted = RunState.FAILED if how == "shim" else RunState.COMPLETED
            assert last.state is wanted
            assert runs.leftovers() == []
            assert await manager.snapshot(view.id)

    run(work)


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
            "from byteord.deployment.model import Authority\n"
            "from byteord.runs.manager import RunManager, RunSettings\n"
            "async def main():\n"
            "    m = RunManager(RunSettings(Authority(), sys.argv[1], sys.argv[2]))\n"
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
