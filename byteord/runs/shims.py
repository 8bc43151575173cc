"""Shims before they have a run: starting them, keeping one ready, giving one its run.

A shim spends its first tenth of a second on importing; one that waits has done that. Owns the
processes that wait and the decision whether one is still what a fresh one would be. A shim that
waits holds nothing but its end of a socket, and ends with the daemon, however that goes. Not safe
for threads: everything happens on the event loop, or before there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from typing import NamedTuple

from byteord.deployment.plan import RunPlan
from byteord.errors import UnavailableError
from byteord.regions.create import runs_directory
from byteord.shim.order import Order, send_order, waiting_place

NUMPY = "numpy"
_CLEARED = ("PYTHON", "LD_", "BYTEOR_", "GRPC_")
_STANDING = (
    b"Uid",
    b"Gid",
    b"Groups",
    b"CapPrm",
    b"CapEff",
    b"CapBnd",
    b"CapAmb",
    b"NoNewPrivs",
    b"Seccomp",
    b"Cpus_allowed",
    b"Mems_allowed",
)
UNLIMITED = -1
REFILL_S = 0.1
"""After a start: the next shim's imports must not compete with the first messages of the run."""


class Kind(NamedTuple):
    """What a shim must have been started with for its run."""

    numpy: bool = False
    """NumPy is loaded in it, and so in its workers."""
    hash_seed: int | None = None
    """Its PYTHONHASHSEED and that of its workers; None: a random one."""


PLAIN, WITH_NUMPY = Kind(), Kind(numpy=True)


@dataclass(frozen=True, slots=True)
class Shim:
    """A shim process that is the caller's child and waits for its order on `channel`."""

    pid: int
    channel: socket.socket
    kind: Kind
    environment: Mapping[str, str]
    """The daemon's, when it was started."""

    def order(self, order: Order) -> None:
        """Give it its run, whose log is made here; UnavailableError when it has gone."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(os.path.join(order.directory, "shim.log"), flags, 0o600)
        try:
            send_order(self.channel, order._replace(log_fd=log))
        except OSError as error:
            raise UnavailableError(
                f"the shim of the run (pid {self.pid}) ended before its run began: {error}; try "
                "again",
                reason="SHIM_SPAWN",
            ) from error
        finally:
            os.close(log)

    def end(self) -> None:
        """End it, whatever it does, and collect it."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def as_fresh(self) -> bool:
        """Tell whether it lives and is what a shim started now would be.

        Daemon and shim may have been moved apart since: to other CPUs, another control group.
        """
        with contextlib.suppress(ChildProcessError):
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return False
        if self.environment != clean_environment(os.environ):
            return False
        mine = standing(os.getpid())
        return bool(mine) and mine == standing(self.pid)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a shim.

    Nothing that changes what Python or the loader would load.
    """
    return {key: value for key, value in environment.items() if not key.startswith(_CLEARED)}


def standing(pid: int) -> tuple[bytes, ...]:
    """Return what the kernel says of a process that its children inherit; nothing if unreadable."""
    found = []
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            found += [line for line in file if line.partition(b":")[0] in _STANDING]
        for name in ("cgroup", "limits", "oom_score_adj"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                found.append(file.read())
        order = os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)
        found.append(b"%d %d" % order)
    except OSError:
        return ()
    return tuple(found)


def spawn_shim(runs_directory: str, kind: Kind = PLAIN) -> Shim:
    """Start a shim that waits; it is the caller's to reap, since it may outlive any object.

    Raises UnavailableError when it cannot be made.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = clean_environment(os.environ)
    place = waiting_place(runs_directory)
    isolated = ["-I"] if kind.hash_seed is None else ["-P", "-s"]  # -I would not look at the seed
    seed = {} if kind.hash_seed is None else {"PYTHONHASHSEED": str(kind.hash_seed)}
    command = [sys.executable, *isolated, "-m", "byteord.shim", place, str(theirs.fileno())]
    command += [NUMPY] if kind.numpy else []
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            cwd="/",
            env={**environment, **seed},
        )
    except OSError as error:
        ours.close()
        raise UnavailableError(
            f"the shim of the run cannot be started: {error}; free processes or memory and try "
            "again",
            reason="SHIM_SPAWN",
        ) from error
    finally:
        theirs.close()
    child.returncode = 0
    return Shim(child.pid, ours, kind, environment)


def kind_of(plan: RunPlan) -> Kind:
    """Return the shim that a run wants."""
    return Kind(numpy=wants_numpy(plan), hash_seed=plan.hash_seed)


def wants_numpy(plan: RunPlan) -> bool:
    """Tell whether the shim of a run may have NumPy loaded before its workers ask for it.

    Not where none of them is Python, where all of it would be locked into the memory of each, or
    where a code directory has a module of that name, which must then be the one that loads.
    """
    if plan.tuning.mlock or not any(role.stage.startswith("python:") for role in plan.roles):
        return False
    names = [NUMPY + suffix for suffix in ("", ".py", *EXTENSION_SUFFIXES)]
    return not any(
        os.path.lexists(os.path.join(directory, name))
        for directory in plan.code_dirs
        for name in names
    )


class ShimReserve:
    """The shims of one daemon that wait: at most one, and one with NumPy once that is wanted."""

    def __init__(self, regions_root: str, *, starts: int = 0, numpy: bool = False) -> None:
        """Start nothing yet.

        `starts`: how many runs are expected, UNLIMITED in a daemon that stays; 0: no shim waits
        between runs. `numpy`: some of them will want it.
        """
        self._runs_directory = str(runs_directory(regions_root))
        self._starts = starts
        self._kinds = {Kind(numpy=numpy)}
        self._waiting: dict[Kind, Shim] = {}
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes that wait."""
        return tuple(shim.pid for shim in self._waiting.values())

    def fill(self) -> None:
        """Start what is to wait and does not; what cannot be started now will be with its run."""
        if self._starts == 0 or self._closed:
            return
        for kind in self._kinds - set(self._waiting):
            with contextlib.suppress(UnavailableError):
                self._waiting[kind] = spawn_shim(self._runs_directory, kind)

    def prepare(self, kind: Kind) -> None:
        """Have a shim on its way for a run that is being let in. Raises UnavailableError."""
        if self._usable(kind) is None:
            self._waiting[kind] = spawn_shim(self._runs_directory, kind)
        if self._starts == UNLIMITED and kind.hash_seed is None:
            self._kinds.add(kind)

    def take(self, kind: Kind) -> Shim:
        """Return a shim that nobody else has, the caller's from now on. Raises UnavailableError."""
        usable = self._usable(kind)
        if usable is not None:
            shim = self._waiting.pop(usable)
            if shim.as_fresh():
                return shim
            shim.end()
        return spawn_shim(self._runs_directory, kind)

    def settle(self) -> None:
        """A start is over, well or not: soon have the next one wait, if one is expected."""
        self._starts -= self._starts > 0
        self._end_waiting(set() if self._starts == 0 else self._kinds)
        if self._starts:
            pause_s = REFILL_S if self._starts == UNLIMITED else 0.0  # counted runs come in a row
            asyncio.get_running_loop().call_later(pause_s, self.fill)

    def close(self) -> None:
        """End what waits, for good."""
        self._closed = True
        self._end_waiting(set())

    def _usable(self, kind: Kind) -> Kind | None:
        kinds = (kind, PLAIN) if kind == WITH_NUMPY else (kind,)
        return next((each for each in kinds if each in self._waiting), None)

    def _end_waiting(self, but: set[Kind]) -> None:
        for kind in set(self._waiting) - but:
            self._waiting.pop(kind).end()
