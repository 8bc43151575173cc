"""What a caller asks for, as values of the domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from byteord.spec.document import Source


@dataclass(frozen=True, slots=True)
class StartWanted:
    """A run that somebody wants to start, or to hear about."""

    spec: Source
    deployment: Source | None = None
    client_input: bool = False
    client_output: bool = False
    single_process: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Values of the deployment by dotted key, in KV form."""
    host: bool = False
    """To be held against this host (when described)."""
    approval: bytes = b""
    """Credential that came along; empty: none."""
