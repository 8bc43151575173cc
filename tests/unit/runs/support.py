"""Values and a loop for the tests of `byteord.runs`."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import uvloop

from byteord._cext.stages import crc32c
from byteord.runs.state import RunState
from byteord.runs.view import CHUNK_BYTES_MAX, InputChunk, RunView

T = TypeVar("T")
HEADER = struct.Struct("<IIQQ")


def run(work: Coroutine[Any, Any, T], timeout_s: float = 20.0) -> T:
    """Run on the daemon's kind of loop, with a deadline."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout_s):
            return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


def view(
    run_id: str = "r1", state: RunState = RunState.RUNNING, *, revision: int = 0, ended: int = 0
) -> RunView:
    """Return a run with this much to say."""
    return RunView(
        id=run_id, name=f"name-of-{run_id}", state=state, revision=revision, ended_unix_ns=ended
    )


def chunks_of(data: bytes, sizes: Sequence[int]) -> list[InputChunk]:
    """Cut `data` into chunks of these sizes, the rest as large as may be, with a true end mark."""
    chunks: list[InputChunk] = []
    offset = 0
    while offset < len(data):
        size = sizes[len(chunks)] if len(chunks) < len(sizes) else CHUNK_BYTES_MAX
        piece = data[offset : offset + size]
        chunks.append(InputChunk(piece, offset))
        offset += len(piece)
    end = InputChunk(b"", len(data), end=True, total_bytes=len(data), crc32c=crc32c(data, 0))
    return [*chunks, end]


async def stream(chunks: Sequence[InputChunk]) -> AsyncIterator[InputChunk]:
    """Yield the chunks as a client would."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)
