# The typed face of `cext/graph.pyx`.

from collections.abc import Mapping, Sequence
from typing import Any, final

PORTS_MAX: int
PICKS: dict[str, int]
ROUTES: dict[str, int]

@final
class Graph:
    def __new__(
        cls,
        *,
        area: int,
        words: int,
        entries: int,
        staging_bytes: int,
        copy_bytes: int,
        extra_max: int,
        wants_progress: bool,
        rx: Sequence[Mapping[str, Any]],
        tx: Sequence[Mapping[str, Any]],
        members: Sequence[Mapping[str, Any]],
    ) -> Graph: ...
    @property
    def address(self) -> int: ...
