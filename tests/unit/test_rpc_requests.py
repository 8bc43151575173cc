"""Request ids: one effect a request, durable before the effect, bounded."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from byteord.errors import DataError, InvalidArgumentError, NotFoundError, ResourceError
from byteord.rpc import requests
from byteord.rpc.requests import Request, RequestStore, check_request_id


class Counter:
    """An effect that counts how often it happens."""

    def __init__(self) -> None:
        """Start at none."""
        self.ids: list[str] = []

    async def __call__(self, effect_id: str) -> bytes:
        """Happen once more."""
        self.ids.append(effect_id)
        return f"answer {len(self.ids)}".encode()


def request(number: int = 1, body: bytes = b"body", principal: str = "local") -> Request:
    """Return a StartRun with an id made from `number`."""
    return Request(principal, str(uuid.UUID(int=number)), "StartRun", body)


@contextlib.asynccontextmanager
async def opened(path: Path, entries_max: int = 100) -> AsyncIterator[RequestStore]:
    """Provide an open store."""
    store = RequestStore(str(path), entries_max)
    store.open()
    try:
        yield store
    finally:
        await store.close(5.0)


@pytest.mark.asyncio
async def test_a_retry_gets_the_first_answer(tmp_path: Path) -> None:
    """The same id and body is one effect and one answer, also after a restart."""
    effect = Counter()
    async with opened(tmp_path / "ids") as store:
        assert await store.perform(request(), effect, "run-1") == b"answer 1"
        assert await store.perform(request(), effect, "run-2") == b"answer 1"
    async with opened(tmp_path / "ids") as store:
        assert await store.perform(request(), effect, "run-3") == b"answer 1"
    assert effect.ids == ["run-1"]


@pytest.mark.asyncio
async def test_retries_at_the_same_time_share_one_effect(tmp_path: Path) -> None:
    """A retry that comes while the first is under way waits for it."""
    effect = Counter()
    async with opened(tmp_path / "ids") as store:
        answers = await asyncio.gather(
            *(store.perform(request(), effect, f"run-{index}") for index in range(5))
        )
    assert answers == [b"answer 1"] * 5


@pytest.mark.asyncio
async def test_another_body_under_the_same_id_is_refused(tmp_path: Path) -> None:
    """An id belongs to the digest of its request; other principals have ids of their own."""
    effect = Counter()
    async with opened(tmp_path / "ids") as store:
        await store.perform(request(), effect, "a")
        with pytest.raises(InvalidArgumentError) as caught:
            await store.perform(request(body=b"other"), effect, "b")
        assert caught.value.reason == "REQUEST_ID_REUSED"
        await store.perform(request(body=b"other", principal="someone"), effect, "c")
    assert effect.ids == ["a", "c"]


@pytest.mark.asyncio
async def test_it_is_written_before_the_effect(tmp_path: Path) -> None:
    """While the effect happens, the request is on disk as pending with the id of the effect."""
    path = tmp_path / "ids"

    async def effect(effect_id: str) -> bytes:
        other = RequestStore(str(tmp_path / "copy"), 10)
        (tmp_path / "copy").write_bytes(path.read_bytes())
        other.open()
        [entry] = other.pending()
        assert (entry.effect_id, entry.method) == (effect_id, "StartRun")
        await other.close(1.0)
        return b"done"

    async with opened(path) as store:
        assert await store.perform(request(), effect, "run-1") == b"done"
        assert store.pending() == ()


@pytest.mark.asyncio
async def test_an_effect_that_failed_may_be_tried_again(tmp_path: Path) -> None:
    """A failure is not remembered: the retry has its chance, and its success is."""
    effect = Counter()

    async def failing(_: str) -> bytes:
        raise NotFoundError("no")

    async with opened(tmp_path / "ids") as store:
        with pytest.raises(NotFoundError):
            await store.perform(request(), failing, "a")
        assert store.entries == ()
        await store.perform(request(), effect, "b")
    async with opened(tmp_path / "ids") as store:
        assert [entry.answer for entry in store.entries] == [b"answer 1"]


@pytest.mark.asyncio
async def test_a_caller_that_gives_up_does_not_undo_the_effect(tmp_path: Path) -> None:
    """The effect goes on after its call was cancelled; the retry gets its answer."""
    go, started = asyncio.Event(), asyncio.Event()

    async def slow(_: str) -> bytes:
        started.set()
        await go.wait()
        return b"slow"

    async with opened(tmp_path / "ids") as store:
        call = asyncio.create_task(store.perform(request(), slow, "a"))
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go.set()
        assert await store.perform(request(), slow, "b") == b"slow"


@pytest.mark.asyncio
async def test_what_a_crash_interrupted_is_settled_by_the_next(tmp_path: Path) -> None:
    """A request without an answer is pending: it gets one, or may be tried again."""
    path = tmp_path / "ids"

    async def never(_: str) -> bytes:
        await asyncio.Event().wait()
        return b""

    first = RequestStore(str(path), 10)
    first.open()
    calls = [asyncio.create_task(first.perform(request(n), never, f"run-{n}")) for n in (1, 2)]
    async with asyncio.timeout(10):
        while path.read_bytes().count(b"run-") < 2:  # noqa: ASYNC110  nobody else would set an event
            await asyncio.sleep(0.001)
    await first.close(0.0)
    await asyncio.gather(*calls, return_exceptions=True)
    effect = Counter()
    async with opened(path) as store:
        one, two = store.pending()
        assert [one.effect_id, two.effect_id] == ["run-1", "run-2"]
        await store.settle(one, b"found it running")
        await store.settle(two, None)
        assert await store.perform(request(1), effect, "x") == b"found it running"
        assert await store.perform(request(2), effect, "y") == b"answer 1"
    assert effect.ids == ["y"]


@pytest.mark.asyncio
async def test_a_full_store_refuses_before_the_effect(tmp_path: Path) -> None:
    """Too many ids is RESOURCE_EXHAUSTED with what to do; known ones are still answered."""
    effect = Counter()
    async with opened(tmp_path / "ids", entries_max=3) as store:
        for number in range(3):
            await store.perform(request(number), effect, "x")
        with pytest.raises(ResourceError) as caught:
            await store.perform(request(9), effect, "x")
        assert caught.value.reason == "REQUEST_IDS_FULL"
        assert await store.perform(request(1), effect, "x") == b"answer 2"
    assert len(effect.ids) == 3


@pytest.mark.asyncio
async def test_ids_are_forgotten_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room comes back: what is older than a day goes when there is need."""
    effect = Counter()
    async with opened(tmp_path / "ids", entries_max=2) as store:
        await store.perform(request(1), effect, "x")
        await store.perform(request(2), effect, "x")
        later = time.time() + requests.KEEP_S + 5
        monkeypatch.setattr(time, "time", lambda: later)
        await store.perform(request(3), effect, "x")
        assert len(store.entries) == 1


@pytest.mark.asyncio
async def test_a_torn_last_line_is_dropped_and_other_damage_refused(tmp_path: Path) -> None:
    """What a crash leaves is read; what no crash leaves is not trusted."""
    path = tmp_path / "ids"
    effect = Counter()
    async with opened(path) as store:
        await store.perform(request(1), effect, "x")
    whole = path.read_bytes()
    path.write_bytes(whole + b'0000beef {"princ')
    async with opened(path) as store:
        assert len(store.entries) == 1
    path.write_bytes(whole.replace(b"local", b"other", 1))
    with pytest.raises(DataError, match="line 1 does not match its checksum"):
        RequestStore(str(path), 10).open()


@pytest.mark.asyncio
async def test_the_file_does_not_grow_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many failed attempts leave a small file, not a line each."""
    monkeypatch.setattr(requests, "_SLACK_LINES", 8)

    async def failing(_: str) -> bytes:
        raise NotFoundError("no")

    async with opened(tmp_path / "ids") as store:
        for number in range(50):
            with pytest.raises(NotFoundError):
                await store.perform(request(number), failing, "x")
    assert (tmp_path / "ids").read_bytes().count(b"\n") <= 10


@pytest.mark.asyncio
async def test_a_disk_that_cannot_be_written_prevents_the_effect(tmp_path: Path) -> None:
    """What cannot be written down does not happen."""
    effect = Counter()
    async with opened(tmp_path / "ids") as store:
        kept, store._descriptor = store._descriptor, -1
        full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, ASYNC230  closed below
        store._descriptor = full.fileno()
        try:
            with pytest.raises(ResourceError) as caught:
                await store.perform(request(), effect, "x")
        finally:
            store._descriptor = kept
            full.close()
        assert caught.value.reason == "REQUEST_STORE_NOT_WRITABLE"
        assert store.entries == ()
    assert effect.ids == []


def test_a_request_id_is_a_uuid() -> None:
    """Upper and lower case are one id; anything else is refused with what was seen."""
    text = str(uuid.uuid4())
    assert check_request_id(text.upper()) == text
    for wrong in ("", "1", text + "x", text.replace("-", "")):
        with pytest.raises(InvalidArgumentError) as caught:
            check_request_id(wrong)
        assert caught.value.reason == "REQUEST_ID_INVALID"
