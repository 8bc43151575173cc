"""Streams of bytes over the API: uploads, and snapshots in chunks with their checks."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import TypeVar

from byteor.v1 import runs_pb2 as pb
from byteord._cext.stages import crc32c
from byteord.errors import InvalidArgumentError
from byteord.rpc.convert_runs import input_chunk_from_proto
from byteord.runs.view import CHUNK_BYTES_MAX, InputChunk

LETTERS_MAX = 8
"""Dead letters of one answer: each may have 64 KiB."""
T = TypeVar("T")


def some(items: Iterator[T], count: int) -> list[T]:
    """Take the next items, at most so many; none at the end."""
    return list(islice(items, count))


async def split_input(
    requests: AsyncIterator[pb.FeedInputRequest],
) -> tuple[str, AsyncIterator[InputChunk]]:
    """Return the run that the first message names, and all chunks of the stream.

    Raises InvalidArgumentError if there is no first message or it names no run; the chunks raise it
    if a later message names another.
    """
    iterator = aiter(requests)
    first = await anext(iterator, None)
    if first is None or not first.run_id:
        raise InvalidArgumentError(
            "run_id: seen none in the first message; wanted the run that is to be fed",
            reason="RUN_ID_MISSING",
        )
    return first.run_id, _chunks(first, iterator)


async def _chunks(
    first: pb.FeedInputRequest, rest: AsyncIterator[pb.FeedInputRequest]
) -> AsyncIterator[InputChunk]:
    yield input_chunk_from_proto(first)
    async for request in rest:
        if request.run_id not in ("", first.run_id):
            raise InvalidArgumentError(
                f"run_id: seen {request.run_id!r} after {first.run_id!r}; wanted one run in one "
                "stream",
                reason="RUN_ID_CHANGED",
            )
        yield input_chunk_from_proto(request)


def snapshot_chunks(
    snapshot: bytes, chunk_bytes: int = CHUNK_BYTES_MAX
) -> Iterator[pb.SnapshotRunResponse]:
    """Yield chunks with the CRC32C so far, and the SHA-256 of the whole in the last."""
    view, crc = memoryview(snapshot), 0
    for start in range(0, max(len(snapshot), 1), chunk_bytes):
        data = view[start : start + chunk_bytes]
        crc = crc32c(data, crc)
        is_last = start + chunk_bytes >= len(snapshot)
        digest = hashlib.sha256(snapshot).digest() if is_last else b""
        yield pb.SnapshotRunResponse(data=bytes(data), crc32c=crc, sha256=digest)
