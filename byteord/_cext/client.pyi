# The typed face of `cext/client.pyx`.

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Self, final

from typing_extensions import Buffer, disjoint_base

from byteord._cext.batch import Batch

WAITS: dict[str, int]

class ClosedError(Exception): ...

@disjoint_base
class _Client:
    def __new__(
        cls,
        ring_fd: int,
        control_fd: int = -1,
        *,
        role: int = -1,
        unit: int = -1,
        doorbells: Iterable[int] = (),
        wait: str = "backoff",
    ) -> Self: ...
    def _leave(self) -> None: ...
    def _show(self, pid: int, running: bool) -> None: ...
    @property
    def payload_max(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def position(self) -> int: ...

@final
class Publisher(_Client):
    def __new__(
        cls,
        ring_fd: int,
        control_fd: int = -1,
        *,
        drops: bool = False,
        role: int = -1,
        unit: int = -1,
        doorbells: Iterable[int] = (),
        wait: str = "backoff",
    ) -> Self: ...
    def _progress(self) -> bool: ...
    def _resume(self) -> None: ...
    def publish(self, data: Buffer, timeout_s: float | None = None) -> bool: ...
    def publish_many(self, messages: list[bytes], timeout_s: float | None = None) -> int: ...
    def publish_buffer(
        self, data: Buffer, item_bytes: int, timeout_s: float | None = None
    ) -> int: ...
    def batch(
        self, most: int, item_bytes: int, timeout_s: float | None = None
    ) -> AbstractContextManager[Batch]: ...
    def end(self, timeout_s: float | None = None) -> bool: ...

@final
class Consumer(_Client):
    def __new__(
        cls,
        ring_fd: int,
        control_fd: int = -1,
        *,
        cell: int,
        depends: Sequence[int] = (),
        role: int = -1,
        unit: int = -1,
        doorbells: Iterable[int] = (),
        wait: str = "backoff",
    ) -> Self: ...
    @property
    def ended(self) -> bool: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def take(self, timeout_s: float | None = None) -> bytes | None: ...
    def take_many(self, most: int, timeout_s: float | None = None) -> list[bytes]: ...
    def batch(
        self, most: int = 256, timeout_s: float | None = None
    ) -> AbstractContextManager[Batch]: ...
