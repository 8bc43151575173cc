from collections.abc import Sequence
from typing import Literal, overload

from byteord._cext.adapters import SinkHandle, SourceHandle

@overload
def drain(
    handle: SourceHandle,
    *,
    slot_bytes: int = 256,
    max_batch: int = 64,
    limit: int | None = None,
    now_ns: int = 0,
    stamped: Literal[False] = False,
    once: bool = False,
) -> list[bytes]: ...
@overload
def drain(
    handle: SourceHandle,
    *,
    slot_bytes: int = 256,
    max_batch: int = 64,
    limit: int | None = None,
    now_ns: int = 0,
    stamped: Literal[True],
    once: bool = False,
) -> list[tuple[bytes, int]]: ...
def push(
    handle: SinkHandle,
    payloads: Sequence[bytes],
    *,
    slot_bytes: int = 256,
    flags: Sequence[int] | None = None,
    first_sequence: int = 0,
) -> int: ...
def finish(handle: SinkHandle) -> int: ...
def spin(
    source_handle: SourceHandle,
    sink_handle: SinkHandle | None = None,
    *,
    slot_bytes: int = 64,
    max_batch: int = 256,
    messages: int,
) -> int: ...
