"""The real client as a process, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TIMEOUT_S = 60.0


def command_of(*arguments: str | Path) -> list[str]:
    """Return the command line of byteorctl with these arguments."""
    return [sys.executable, "-m", "byteorctl", *map(str, arguments)]


def byteorctl(
    *arguments: str | Path,
    stdin: bytes = b"",
    timeout_s: float = TIMEOUT_S,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run byteorctl to its end; `stdin` is what it can read."""
    return subprocess.run(
        command_of(*arguments),
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **(env or {})},
    )
