"""What one attempt of an action came to, and how long to wait before the next. Pure."""

from __future__ import annotations

import email.utils
import random
from dataclasses import dataclass

RETRY_AFTER_S_MAX = 300.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: `text` says what happened, for people and the journal."""

    ok: bool
    text: str
    retryable: bool = False
    retry_after_s: float = 0.0


def backoff_s(attempt: int, *, first_s: float, most_s: float, chance: random.Random) -> float:
    """Return the pause after the failed attempt number `attempt` (0 first): doubled, jittered."""
    return float(min(most_s, first_s * 2**attempt) * chance.uniform(0.5, 1.0))


def retry_after_s(header: str | None, now_unix: float) -> float:
    """Return the seconds that a Retry-After header asks for (RFC 9110), bounded; 0 for nonsense."""
    if not header:
        return 0.0
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_S_MAX)
    try:
        wanted = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wanted - now_unix, 0.0), RETRY_AFTER_S_MAX)
