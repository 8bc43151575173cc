"""Going before other programs of this machine while something is measured, as far as allowed.

The kernel first weighs groups of processes, one for each session (sched(7), autogroup), then the
processes of a group: a priority alone says nothing to programs of other sessions.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NICE = -20


def weigh_session(pid: int, nice: int) -> bool:
    """Give the session of a process a weight, -20 (most) to 19; tell whether that was allowed."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except OSError:
        return False
    return True


def step_forward() -> str:
    """Put this process, in a session of its own, before all others; say what was allowed.

    The leader of a process group, such as what an interactive shell starts, cannot have one: the
    session stays as it is then, since it is the shell's too and outlives the bench.
    """
    done = []
    with contextlib.suppress(OSError):
        os.setsid()
    if os.getsid(0) == os.getpid() and weigh_session(os.getpid(), NICE):
        done.append(f"autogroup {NICE}")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        done.append(f"nice {NICE}")
    return ", ".join(done) or "at ordinary priority"
