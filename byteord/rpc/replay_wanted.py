"""What a caller wants of a replay, and what it is told: values of the domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from byteord.regions.segments import Range
from byteord.spec.document import Source


@dataclass(frozen=True, slots=True)
class ReplayWanted:
    """A replay that somebody asks for; as ReplayRequest of the API."""

    request_id: str
    source_id: str = ""
    run_id: str = ""
    lane: str = ""
    ingress: str = ""
    spec: Source | None = None
    deployment: Source | None = None
    range: Range = field(default_factory=Range)
    speed: float = 0.0
    execute: bool = False
    approval: bytes = b""
    actions_max: int = 0
    input_bytes_max: int = 0
    until_divergence: bool = False
    step: int | None = None
    client_output: bool = False
    trust_code: bool = False
    payloads: bool = False
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is."""

    run_id: str
    replayed: int
    selected: int
    phase: str


@dataclass(frozen=True, slots=True)
class ReplayDone:
    """What a replay came to: fields of ReplayResult of the API, as plain data."""

    fields: Mapping[str, Any]
