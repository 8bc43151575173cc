"""The spec as values: immutable, complete after defaults, independent of how it was written.

Owns the shape of a SingleRing spec and the seams through which validation learns about stages. It
must not read files, import stage code or know about deployments.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

STAGES_MAX = 4
CAPACITY_MIN, CAPACITY_MAX, CAPACITY_DEFAULT = 8, 1 << 24, 1024
SLOT_BYTES_MIN, SLOT_BYTES_MAX, SLOT_BYTES_DEFAULT = 64, 65_536, 256
SLOT_HEADER_BYTES = 16
SHARDS_MAX = 64

Scalar = str | int | bool
"""A value of canonical KV."""


class Model(enum.StrEnum):
    """The execution model; a spec names it, it is never guessed."""

    SINGLE_RING = "single_ring"
    LANE_GRAPH = "lane_graph"


class Ordering(enum.StrEnum):
    """What order the egress keeps."""

    STRICT = "strict"
    PER_KEY = "per_key"


class StateKind(enum.StrEnum):
    """Where a stage keeps what it remembers."""

    STATELESS = "stateless"
    STATE = "state"
    PRIVATE = "private"


class EndpointKind(enum.StrEnum):
    """Direction of an endpoint."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """Payload bytes `offset` to `offset + length`; `length` 0 means to the end of the payload."""

    offset: int
    length: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the graph, with everything that it declares."""

    name: str
    stage: str
    """Key: `filter`, `python:module:Class`, `cabi:library.so:symbol`, `numba:module:function`."""
    depends_on: tuple[int, ...] = ()
    """Indices of earlier stages, strictly increasing; empty: it follows the producer."""
    config: Mapping[str, Scalar] = field(default_factory=dict)
    """Flattened: nested keys dotted, arrays by decimal index."""
    mutates: tuple[ByteRange, ...] = ()
    drops: bool = False
    resizes: bool = False
    state: StateKind = StateKind.STATELESS
    state_bytes: int = 0
    deterministic: bool = False
    effects: tuple[str, ...] | None = None
    """Capabilities it uses; () declared effect-free; None undeclared, counts as side-effecting."""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Ring:
    """The one sequenced ring of a SingleRing spec."""

    capacity: int = CAPACITY_DEFAULT
    slot_bytes: int = SLOT_BYTES_DEFAULT
    producer: str = "single"
    scheduling: str = "dedicated"
    shards: int = 1
    ordering: Ordering = Ordering.STRICT
    shard_key: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A named place where bytes enter or leave; the deployment binds an adapter to it."""

    name: str
    kind: EndpointKind


@dataclass(frozen=True, slots=True)
class Spec:
    """A valid spec after defaults. `sha256` is the lower-case hex SHA-256 of its canonical KV."""

    name: str
    model: Model
    ring: Ring
    stages: tuple[Stage, ...]
    ingress: Endpoint
    egress: Endpoint
    kv: bytes
    sha256: str

    @property
    def egresses(self) -> tuple[Endpoint, ...]:
        """Return its one egress, as a graph returns its several."""
        return (self.egress,)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return both ends, as a graph returns its several."""
        return (self.ingress, self.egress)


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One configuration key that a stage or an adapter knows."""

    name: str
    """May end in `.*` for a table or an array of scalars."""
    type: str
    """`string`, `integer`, `number`, `boolean`, `bytes` (text or `hex:...`), `duration`, `size`."""
    doc: str
    default: Scalar | None = None
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageInfo:
    """What the catalogue knows about a built-in stage with a given configuration."""

    name: str
    summary: str
    keys: tuple[ConfigKey, ...]
    mutates: tuple[ByteRange, ...] = ()
    drops: bool = False
    resizes: bool = False
    state: StateKind = StateKind.STATELESS
    state_bytes: int = 0
    deterministic: bool = True
    effects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """A finding about one configuration key, relative to its table."""

    key: str
    code: str
    seen: str
    wanted: str
    fix: str


class StageCatalogue(Protocol):
    """What validation asks about stages; implemented by `byteord.stages.catalogue`."""

    def names(self) -> Sequence[str]:
        """Return the names of the built-in stages."""

    def info(self, name: str) -> StageInfo | None:
        """Return what is known of a built-in stage with default configuration, or None."""

    def configured(self, name: str, config: Mapping[str, Scalar], payload_max: int) -> StageInfo:
        """Return what a built-in stage declares with this (valid) configuration."""

    def check(
        self, name: str, config: Mapping[str, Scalar], payload_max: int
    ) -> list[ConfigProblem]:
        """Return every problem of a built-in stage's configuration."""
