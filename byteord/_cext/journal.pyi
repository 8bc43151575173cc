# The typed face of `cext/journal.pyx`.

from collections.abc import Sequence
from typing import final

from typing_extensions import Buffer

VERSION: int
SEGMENTS_MAX: int
READER_BATCH_MAX: int
HEADER_BYTES: int
SYNCS: dict[str, int]

@final
class JournalWriter:
    def __new__(
        cls,
        directory: str,
        *,
        segments: Sequence[tuple[int, int]],
        base: int,
        segment_bytes: int,
        retention_bytes: int,
        retention_ns: int,
        sync: str,
        sync_interval_ns: int,
        durable: bool,
        retention_frames: int = 0,
        staged: bool = False,
    ) -> JournalWriter: ...
    def resume(self, segment: int, offset: int) -> None: ...
    def to_sync(self) -> list[int]: ...
    @property
    def address(self) -> int: ...
    @property
    def unsure(self) -> bool: ...

@final
class JournalReader:
    def __new__(cls, directory: str) -> JournalReader: ...
    @property
    def address(self) -> int: ...

def index_base(index: int, base: int | None = None) -> int | None: ...
def scan(data: Buffer) -> dict[str, int]: ...
def frames(data: Buffer) -> list[tuple[int, int, int, bytes]]: ...
def entries(data: Buffer) -> list[tuple[int, int, int, int, bytes]]: ...
