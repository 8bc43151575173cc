"""Times: messages of the API to nanoseconds since the epoch and back. Pure."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

_SECOND_NS = 1_000_000_000


def timestamp(unix_ns: int) -> Timestamp | None:
    """Return a time, or None for 0: it has not come."""
    if not unix_ns:
        return None
    return Timestamp(seconds=unix_ns // _SECOND_NS, nanos=unix_ns % _SECOND_NS)


def unix_ns(time: Timestamp) -> int:
    """Return nanoseconds since the epoch."""
    return time.seconds * _SECOND_NS + time.nanos
