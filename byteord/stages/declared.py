"""What a built-in stage is to the catalogue: keys, and a function that reads a configuration.

The function reads through a Reader, which keeps the problems, and returns what the stage declares.
The native side (`cext/stage_*.c`) reads the same keys; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from byteord.spec.model import ByteRange, ConfigKey, StateKind
from byteord.stages.reader import Reader

ENDIANS = ("little", "big")
INTEGER_BYTES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a stage does with one configuration."""

    mutates: tuple[ByteRange, ...] = ()
    drops: bool = False
    resizes: bool = False
    state_bytes: int = 0

    @property
    def state(self) -> StateKind:
        """Where it keeps what it remembers."""
        return StateKind.STATE if self.state_bytes else StateKind.STATELESS


@dataclass(frozen=True, slots=True)
class Builtin:
    """One built-in stage: how it is described and how its configuration is read."""

    name: str
    summary: str
    keys: tuple[ConfigKey, ...]
    configure: Callable[[Reader], Declared]


def offset_key(doc: str) -> ConfigKey:
    """Return the key `offset`."""
    return ConfigKey("offset", "integer", doc, default=0)


def endian_key(doc: str) -> ConfigKey:
    """Return the key `endian`."""
    return ConfigKey("endian", "string", doc, default="little", choices=ENDIANS)
