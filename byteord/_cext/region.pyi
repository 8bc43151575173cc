# The typed face of `cext/region.pyx`.

from collections.abc import Mapping, Sequence
from typing import Any, final

LAYOUT_VERSION: int
CELLS_MAX: int
MEMBERS_MAX: int
STATE_DOUBLE_BYTES_MAX: int
ROLE_BYTES: int
UNIT_BYTES: int
ERRORS: dict[int, str]
STATES: tuple[str, ...]
FAILURES: tuple[str, ...]
KINDS: tuple[str, ...]
REJECTS: tuple[str, ...]

class RegionFault(Exception):  # noqa: N818 - the word of the layout
    kind: str
    def __init__(self, kind: str, text: str) -> None: ...

def membarrier_available() -> bool: ...
def calibrate_clock(window_ms: int = 20) -> int: ...

@final
class Clock:
    def __new__(cls, mult: int) -> Clock: ...
    def now_ns(self) -> int: ...

def ring_bytes(capacity: int, slot_bytes: int, cells: int) -> int: ...
def create_ring(
    fd: int,
    *,
    capacity: int,
    slot_bytes: int,
    cells: int,
    ident: Mapping[str, Any],
    clock: Clock,
) -> None: ...
def control_bytes(
    units: Sequence[Mapping[str, Any]], roles: Sequence[Mapping[str, Any]]
) -> int: ...
def create_control(
    fd: int,
    *,
    units: Sequence[Mapping[str, Any]],
    roles: Sequence[Mapping[str, Any]],
    ident: Mapping[str, Any],
    clock: Clock,
    created_ns: int = 0,
) -> None: ...

@final
class Ring:
    def __new__(cls, fd: int, writable: bool = False, wait_ms: int = 1000) -> Ring: ...
    def read(self) -> dict[str, Any]: ...
    def payload(self, sequence: int) -> bytes | None: ...
    @property
    def lost(self) -> bool: ...
