"""The processes of workers: forking, watching, ending, naming how they ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from byteord.deployment.plan import WorkerPlan

STDERR_FD = 2


@dataclass(slots=True)
class Process:
    """One worker's process, across its restarts."""

    plan: WorkerPlan
    pid: int = 0
    pidfd: int = -1
    state: str = "starting"
    exit_text: str = ""
    exit_code: int | None = None
    """Of the last ending: the exit status, or minus the signal's number."""
    restarts: int = 0
    restart_at: float = 0.0
    """Monotonic time of a restart that is due; 0: none."""
    restart_times: list[float] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Tell whether a process runs."""
        return self.pidfd >= 0


def start(process: Process, run: Callable[[], int], keep_fds: frozenset[int]) -> None:
    """Fork; the child keeps standard descriptors and `keep_fds`, and exits with what `run` says."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(run, keep_fds)
    process.pid = pid
    process.pidfd = os.pidfd_open(pid)
    process.state = "starting"
    process.exit_code = None
    process.restart_at = 0.0


def _child(run: Callable[[], int], keep_fds: frozenset[int]) -> None:
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for name in os.listdir("/proc/self/fd"):
            descriptor = int(name)
            if descriptor > STDERR_FD and descriptor not in keep_fds:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        code = run()
    except BaseException:  # noqa: BLE001 - the boundary of the process
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def reap(process: Process) -> None:
    """Collect a process that has ended."""
    _, status = os.waitpid(process.pid, 0)
    os.close(process.pidfd)
    process.pidfd = -1
    process.state = "exited"
    process.exit_code = os.waitstatus_to_exitcode(status)
    process.exit_text = describe_exit(process.exit_code)


def describe_exit(code: int) -> str:
    """Say how a process ended: `exit 1`, `signal 9 (SIGKILL)`; nothing for a good end."""
    if code >= 0:
        return f"exit {code}" if code else ""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"signal {-code} ({name})"


def kill(process: Process) -> None:
    """End a process at once, if it still runs."""
    if process.alive:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)


def note_restart(process: Process, *, most: int, window_s: float, backoff_ms: int) -> bool:
    """Plan a restart with backoff; False when there were `most` within the window already."""
    now = time.monotonic()
    process.restart_times = [moment for moment in process.restart_times if now - moment < window_s]
    if len(process.restart_times) >= most:
        return False
    pause = min(backoff_ms * 2 ** len(process.restart_times) / 1000, 10.0)
    process.restart_times.append(now)
    process.restart_at = now + pause
    process.restarts += 1
    return True
