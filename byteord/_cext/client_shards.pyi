# The typed face of `cext/client_shards.pyx`.

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Self, final

from typing_extensions import Buffer, disjoint_base

from byteord._cext.batch import Batch

@disjoint_base
class _Shards:
    def __new__(
        cls,
        ring_fds: list[int],
        control_fd: int,
        *,
        role: int,
        unit: int,
        doorbells: Iterable[int] = (),
        wait: str = "backoff",
    ) -> Self: ...
    def _show(self, pid: int, running: bool) -> None: ...
    def _leave(self) -> None: ...
    @property
    def payload_max(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def positions(self) -> list[int]: ...

@final
class ShardPublisher(_Shards):
    def __new__(
        cls,
        ring_fds: list[int],
        control_fd: int,
        *,
        key: tuple[int, int],
        role: int,
        unit: int,
        doorbells: Iterable[int] = (),
        wait: str = "backoff",
    ) -> Self: ...
    def publish(self, data: Buffer, timeout_s: float | None = None) -> bool: ...
    def publish_many(self, messages: list[bytes], timeout_s: float | None = None) -> int: ...
    def publish_buffer(
        self, data: Buffer, item_bytes: int, timeout_s: float | None = None
    ) -> int: ...
    def batch(
        self, most: int, item_bytes: int, timeout_s: float | None = None
    ) -> AbstractContextManager[Batch]: ...
    def end(self, timeout_s: float | None = None) -> bool: ...
    def _end_for_client(self) -> bool: ...

class _Reader(_Shards):
    def __new__(
        cls,
        ring_fds: list[int],
        control_fd: int,
        *,
        cell: int,
        depends: Sequence[int] = (),
        role: int,
        unit: int,
        doorbells: Iterable[int] = (),
        wait: str = "backoff",
    ) -> Self: ...
    @property
    def ended(self) -> bool: ...
    def take(self, timeout_s: float | None = None) -> bytes | None: ...
    def __iter__(self) -> Iterator[bytes]: ...

@final
class ShardConsumer(_Reader):
    def take_many(self, most: int, timeout_s: float | None = None) -> list[bytes]: ...

@final
class StripeConsumer(_Reader):
    def take_many(self, most: int, timeout_s: float | None = None) -> list[bytes]: ...
    def batch(
        self, most: int = 256, timeout_s: float | None = None
    ) -> AbstractContextManager[Batch]: ...
