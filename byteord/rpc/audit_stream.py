"""The audit log as a stream: what is there, then what is written while somebody reads.

Reads the files that the log has written, in a thread; it never touches the log itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator

from byteor.trust import keys
from byteor.trust.audit_log import parse_record, read_segment, segment_files
from byteor.trust.strict import dumps
from byteor.v1 import governance_pb2 as pb
from byteord.errors import WrongStateError
from byteord.policy.audit import AuditLog

LINES_MAX = 512
"""Of one message: less than 1 MiB of usual records."""
BYTES_MAX = 1 << 20
_LOOK_S = 0.25


async def read(
    log: AuditLog, *, first: int, last: int, follow: bool
) -> AsyncGenerator[pb.ReadAuditResponse, None]:
    """Yield records from a sequence on, or the last so many; the first message says who signs.

    Raises WrongStateError when the log never could be opened.
    """
    try:
        public = keys.public_pem(log.key.public)
    except RuntimeError:
        raise WrongStateError(log.problem, reason="AUDIT_NOT_READABLE") from None
    if not (first or last or follow):  # all of it: somebody takes a copy, which shall prove itself
        await asyncio.to_thread(log.cover)
    following = max(first, log.sequence - last) if last else first
    checkpoint = log.last_checkpoint()
    head = pb.ReadAuditResponse(
        checkpoint=dumps(checkpoint) if checkpoint else b"", public_key=public
    )
    yield head
    while True:
        lines = await asyncio.to_thread(_lines, log.directory, following)
        for part in _parts(lines):
            yield pb.ReadAuditResponse(lines=part)
        if lines:
            following = parse_record(lines[-1]).sequence + 1
        elif not follow:
            return
        else:
            await asyncio.sleep(_LOOK_S)


def _lines(directory: str, first: int) -> list[bytes]:
    """Return the whole lines of records from a sequence on, of one segment at a time."""
    files = segment_files(directory)
    begins = [int(os.path.basename(path)[6:18]) for path in files]
    for index, path in enumerate(files):
        if index + 1 < len(files) and begins[index + 1] <= first:
            continue
        lines = read_segment(path).lines[max(0, first - begins[index]) :]
        if lines:
            return list(lines)
    return []


def _parts(lines: list[bytes]) -> list[list[bytes]]:
    """Return the lines in parts that fit a message."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for line in lines:
        if len(parts[-1]) >= LINES_MAX or size + len(line) > BYTES_MAX:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += len(line)
    return [part for part in parts if part]
