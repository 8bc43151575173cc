# The typed face of `cext/replay.pyx`.

from collections.abc import Sequence
from typing import Any, Final, Protocol, final

from typing_extensions import Buffer

UINT64_MAX: Final[int]
GAPS_KEPT_MAX: Final[int]
DIVERGED: Final[tuple[str, ...]]
PHASES: Final[tuple[str, ...]]

class _Handle(Protocol):
    @property
    def address(self) -> int: ...

@final
class Segments:
    def __new__(cls, buffers: Sequence[Buffer]) -> Segments: ...
    def survey(
        self,
        *,
        by_rx: bool,
        from_sequence: int = 0,
        to_sequence: int = ...,
        from_unix_ns: int = 0,
        to_unix_ns: int = ...,
        last: int = 0,
        bytes_max: int = ...,
    ) -> dict[str, Any]: ...
    def find(
        self, *, own: int | None = None, rx: int | None = None, time_ns: int | None = None
    ) -> tuple[int, int, int, int, bytes] | None: ...
    def scripts(self) -> tuple[bytes, bytes, bytes, dict[int, bytes], dict[int, bytes]]: ...

@final
class ReplaySource:
    def __new__(
        cls,
        segments: Segments,
        *,
        low: int,
        high: int,
        origin_ns: int,
        speed: float,
        whole: bool = False,
    ) -> ReplaySource: ...
    @property
    def address(self) -> int: ...

@final
class DigestSink:
    def __new__(
        cls,
        area: Buffer,
        *,
        inner: _Handle | None = None,
        budget: Buffer | None = None,
        actions_max: int = 0,
        expected: Segments | None = None,
        stops: bool = False,
    ) -> DigestSink: ...
    @property
    def address(self) -> int: ...

def take_action(area: Buffer, most: int) -> bool: ...
def area_bytes(marks: Sequence[tuple[int, bytes]]) -> bytes: ...
def read_area(data: Buffer) -> dict[str, Any]: ...
def trace_bytes(time_ns: int, room: int) -> bytes: ...
def address_of(area: Buffer) -> int: ...
def read_trace(data: Buffer) -> tuple[list[dict[str, Any]], int]: ...
