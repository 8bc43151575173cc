# The typed face of `cext/capture.pyx`.

from collections.abc import Sequence
from typing import Any, final

from byteord._cext.journal import JournalWriter

KINDS: dict[str, int]
CHOICES: dict[int, str]
STATES: tuple[str, ...]
NOTHING: int
SOME: int
CHECKPOINT: int
WAITS: int
NONSENSE: int

def native_sha256() -> bool: ...

@final
class UnitCapture:
    def __new__(cls, tapes: Sequence[tuple[str, int, int, bool, int]]) -> UnitCapture: ...
    @property
    def address(self) -> int: ...

@final
class Tape:
    def __new__(cls, fd: int, writable: bool = False) -> Tape: ...
    def stats(self) -> dict[str, Any]: ...
    @property
    def lost(self) -> bool: ...

@final
class Drain:
    def __new__(
        cls,
        fd: int,
        *,
        journal: JournalWriter | None = None,
        sequence: int = 0,
        appended: int = 0,
        sample_every: int = 1,
        digests: bool = False,
        choices: bool = False,
        waits: bool = False,
    ) -> Drain: ...
    def step(self, budget: int, unix_ns: int) -> int: ...
    @property
    def tail(self) -> int: ...
    def fail(self, error_number: int) -> None: ...
    @property
    def failed(self) -> bool: ...
    def stop_at(self, digested: int) -> None: ...
    def digest(self) -> tuple[int, str]: ...
    def end(self, messages: int) -> None: ...
    def give_up(self, messages: int) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    @property
    def error(self) -> str: ...
    @property
    def segment_file(self) -> tuple[int, int] | None: ...
