"""The life of runs: a real manager, real shims, real workers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
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
    WrongStateError,
)
from byteord.runs.manager import RunManager
from byteord.runs.state import RunState
from byteord.runs.view import InputChunk, WatchKind
from tests.support.runs import (
    DISCARD,
    Runs,
    ended,
    endless,
    input_of,
    managed,
    python_stage,
    run,
    taken,
    through,
    until,
)

LINES = b"".join(b"line %d of the input\n" % index for index in range(20_000))


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


def test_a_last_message_of_a_stage_is_counted_and_timed() -> None:
    """What a stage leaves at the end of the input: one message received, the run's first out."""

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            stage = f"{python_stage('Summary')}\ndrops = true\n"
            view = await manager.start(runs.admission([stage]))
            assert await through(manager, view.id, b"a\nb\n") == b"that was it\n"
            last = await ended(manager, view.id)
            assert [role.received for role in last.roles] == [2, 2, 1]
            assert last.first_message_ns > 0

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
