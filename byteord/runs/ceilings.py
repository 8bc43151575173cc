"""Ceilings: what this daemon holds at most, checked before anything is allocated. Pure."""

from __future__ import annotations

from byteord.errors import ResourceError


def check_ceiling(key: str, what: str, *, seen: int, more: int, allowed: int) -> None:
    """Raise ResourceError (reason: the key in upper case) if `more` do not fit beside `seen`."""
    if seen + more > allowed:
        raise ResourceError(
            f"{seen} {what} are in use, {more} more are wanted, and this daemon allows {allowed}: "
            f"stop a run, ask for less, or raise {key} in the daemon's configuration",
            reason=key.upper(),
            details={"seen": str(seen), "wanted": str(more), "limit": str(allowed)},
        )
