from collections.abc import MutableSequence, Sequence
from typing import final

from typing_extensions import Buffer

@final
class StageHandle:
    @property
    def address(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def flags(self) -> int: ...
    @property
    def touch_bytes_max(self) -> int: ...
    @property
    def state_bytes(self) -> int: ...
    def __new__(cls) -> StageHandle: ...
    def close(self) -> None: ...

@final
class Bench:
    def __new__(
        cls,
        payloads: list[bytes | None],
        slot_bytes: int,
        state: bytearray | None = None,
        first_sequence: int = 0,
        times: Sequence[int] | None = None,
        touches: MutableSequence[tuple[int, bytes]] | None = None,
    ) -> Bench: ...
    def process(self, address: int) -> list[bytes | None]: ...
    def end(self, address: int, last: bytes = b"") -> bytes: ...
    def measure(self, address: int, rounds: int) -> float: ...

STAGE_ABI: int

def builtin_names() -> list[str]: ...
def open_builtin(name: str, config: dict[str, str], payload_max: int) -> StageHandle: ...
def open_library(
    path: str,
    symbol: str,
    config: dict[str, str],
    payload_max: int,
    *,
    seed: int = 0,
    shown: str = "",
    fd: int = -1,
) -> StageHandle: ...
def open_function(
    process: int, end: int, flags: int, state_bytes: int, owner: object
) -> StageHandle: ...
def crc32c(data: Buffer, crc: int = 0) -> int: ...
def crc32c_portable(data: Buffer, crc: int = 0) -> int: ...
def drive(
    handle_address: int,
    payloads: list[bytes | None],
    slot_bytes: int,
    state: bytearray | None = None,
    first_sequence: int = 0,
    *,
    times: Sequence[int] | None = None,
    touches: MutableSequence[tuple[int, bytes]] | None = None,
) -> list[bytes | None]: ...
def drive_end(
    handle_address: int, slot_bytes: int, state: bytearray | None = None, *, last: bytes = b""
) -> bytes: ...
