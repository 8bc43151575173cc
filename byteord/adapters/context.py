"""What an adapter is told when it is opened, besides its options."""

from __future__ import annotations

from dataclasses import dataclass

REJECT_REASONS = ("oversize", "malformed", "truncated", "filtered", "corrupt", "kernel")
"""Names of the counts in `rejected`, in their order; as `enum byteor_reject` in adapter.h."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Where the adapter of a worker that died had got to, from its commit record."""

    position: tuple[int, int, int, int]
    bytes_total: int
    rejected: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OpenContext:
    """Bounds and descriptors that the run gives to an adapter."""

    payload_max: int
    """Bytes that a slot's payload holds."""
    stream_fd: int = -1
    """Packet socket to the daemon, for kind `stream`; stays the caller's."""
    read_dirs: tuple[str, ...] = ()
    """Directories that input files may be in."""
    write_dirs: tuple[str, ...] = ()
    """Directories that output files may be in."""
    socket_dirs: tuple[str, ...] = ()
    """Directories that Unix sockets may be in; empty: validation has decided."""
    resume: Resume | None = None
    """None at the run's start."""
    name: str = ""
    """The endpoint's name, for messages."""
