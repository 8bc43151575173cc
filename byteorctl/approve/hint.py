"""The command line that asks for an approval of a run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byteorctl.commands.run import Wanted


def request_line(wanted: Wanted) -> str:
    """Return the exact `approve request` for a run that was refused."""
    words = ["byteorctl", "approve", "request", wanted.spec.path]
    if wanted.deployment is not None:
        words += ["--deployment", wanted.deployment.path]
    words += ["--input"] if wanted.input is not None else []
    words += ["--output"] if wanted.output is not None else []
    for key, value in wanted.overrides.items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)
