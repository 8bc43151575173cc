"""Moments for people."""

from __future__ import annotations

import time


def moment(unix_ns: int) -> str:
    """Return local date and time; `-` for 0, which means unknown."""
    if not unix_ns:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_ns / 1e9))
