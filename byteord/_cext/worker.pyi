# The typed face of `cext/worker.pyx`.

from collections.abc import Mapping, Sequence
from typing import Any, final

GATES: tuple[str, ...]
KINDS: dict[str, int]
ROLE_KINDS: dict[str, int]
WAITS: dict[str, int]
FAILURES: tuple[str, ...]

@final
class Host:
    def __new__(cls, control_fd: int, ring_fds: Sequence[int]) -> Host: ...
    def add_unit(
        self,
        index: int,
        *,
        kind: str,
        rings: Sequence[int],
        members: Sequence[Mapping[str, Any]],
        depends: Sequence[int],
        ranges: Sequence[tuple[int, int]],
        save_headers: bool,
        slot_stride: int,
        max_batch: int,
        rerunnable: bool,
        skip_failed: bool,
        scan_live: bool,
        shard_key: tuple[int, int] | None,
        doorbells: Sequence[int],
        own_doorbell: int,
        wait: str,
        sleep_ns_max: int,
        all_live: bool = False,
        graph: int = 0,
        capture: int = 0,
        gate: str = "",
    ) -> None: ...
    def mappings(self) -> list[tuple[int, int]]: ...
    def ring_address(self, index: int) -> int: ...
    def area_address(self, index: int) -> int: ...
    def role_address(self, index: int) -> int: ...
    def trace(self, area: int) -> None: ...
    def end_at_lost_page(self, code: int) -> None: ...
    def recover(self, index: int, pid: int) -> None: ...
    def unfinished(self, units: Sequence[int]) -> list[int]: ...
    def halt(self) -> None: ...
    def run(self, units: Sequence[int]) -> list[dict[str, Any]]: ...
