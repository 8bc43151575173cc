"""What a check is, what it is asked, and what it answers: values only.

Owns the words of the report. It must not read the host.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from byteord.deployment.profiles import DEFAULT, ISOLATED_CORE, LOW_LATENCY
from byteord.deployment.topology import Topology

if TYPE_CHECKING:
    from byteord.doctor.look import Look

ISOLATED = (ISOLATED_CORE,)
TUNED = (LOW_LATENCY, ISOLATED_CORE)
EVERY = (DEFAULT, LOW_LATENCY, ISOLATED_CORE)

GROUPS: Mapping[str, str] = {
    "K": "kernel and boot",
    "C": "CPU set and topology",
    "P": "power",
    "T": "time",
    "M": "memory",
    "I": "interrupts and kernel work",
    "S": "scheduling and limits",
    "G": "cgroup and systemd",
    "N": "network",
    "D": "storage and shared memory",
    "V": "virtualisation",
    "X": "product and security",
    "Z": "measurements",
}


class State(enum.StrEnum):
    """What a check found."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It does not apply here; the reason says why."""
    UNKNOWN = "unknown"
    """It could not be told; the reason names the privilege or the evidence that is needed."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file of the host and what it said."""

    path: str
    value: str = ""
    """As read, without surrounding white space; empty: too long to repeat, or there is no text."""
    key: str = ""
    """Beginning of the line that holds the value; empty: the value is the whole file."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge of a check says."""

    state: State
    observed: str
    reason: str = ""
    wanted: str = ""
    """More precise than the check's own; empty: that one."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change that an operator may make; byteor never makes it while it checks."""

    kind: str
    """`sysctl`, `sysfs`, `cmdline`, `systemd` or `command`."""
    name: str
    """Key, path, boot argument, directive; the command itself for `command`."""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the daemon is, holds and was told; empty: it has no such thing."""

    version: str = ""
    client_version: str = ""
    environment: str = "dev"
    private: bool = False
    """It is one of a single call: nothing of systemd or of an installation applies."""
    regions: str = "/dev/shm"  # noqa: S108  where shared memory lives
    state_dir: str = ""
    runtime_dir: str = ""
    audit_dir: str = ""
    socket: str = ""
    config: str = ""
    """File of its configuration."""
    key_set: str = ""
    metrics_address: str = ""
    runs: tuple[str, ...] = ()
    """Ids of runs that it knows."""
    workers: tuple[int, ...] = ()
    """Process ids of workers that run now."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What policy would say to a run of the spec that was named."""

    granted: bool
    said: str
    """Which approval holds, that none is needed, or why the run would be refused."""
    until_unix: float = 0.0
    """End of the approval; 0: there is none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the host is to be ready for: a profile, and what a spec and the daemon would use."""

    profile: str = DEFAULT
    topology: Topology = field(default_factory=Topology)
    cpus: tuple[int, ...] = ()
    """CPUs of workers: those of the plan, else those that two busy workers would get."""
    pairs: tuple[tuple[int, int], ...] = ()
    """CPUs between which messages are handed over."""
    busy: int = 0
    """Threads that run loops."""
    wait: str = "backoff"
    sched: str = "other"
    priority: int = 0
    mlock: bool = False
    huge_pages: bool = False
    memory_bytes: int = 0
    """Shared memory of the run; 0: no spec was named."""
    named: bool = False
    """A spec was named: the CPUs and bytes are those of its plan."""
    network: bool = False
    """Adapters of the deployment use sockets, or no deployment was named."""
    receive_buffer_bytes: int = 0
    measured: Mapping[str, Any] = field(default_factory=dict)
    """What `--measure` found, by name; empty: it was not asked for."""
    daemon: Daemon = field(default_factory=Daemon)
    permission: Permission | None = None
    """None: no spec was named."""

    @property
    def housekeeping(self) -> tuple[int, ...]:
        """Return the online CPUs that are left to everything else."""
        return tuple(cpu.number for cpu in self.topology.cpus if cpu.number not in self.cpus)

    @property
    def nodes(self) -> tuple[int, ...]:
        """Return the NUMA nodes of the workers' CPUs."""
        return tuple(sorted({cpu.node for cpu in self.topology.cpus if cpu.number in self.cpus}))


Judge = Callable[["Look", Asked], Verdict]
Remedies = Callable[[Asked], tuple[Remedy, ...]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the catalogue."""

    code: str
    title: str
    evidence: str
    """Where it looks, for people."""
    wanted: str
    judge: Judge
    fix: str
    """What to do, in words."""
    remedies: Remedies = lambda _: ()
    profiles: tuple[str, ...] = TUNED
    """Profiles that wish for it; the others only report what is there."""
    reference: str = ""
    cost: str = "read"
    """`read`: files only; `probe`: twice, a moment apart; `tool`: asks another program."""

    @property
    def group(self) -> str:
        """Return the letter of its group."""
        return self.code[0]


@dataclass(frozen=True, slots=True)
class Result:
    """A check as answered for one profile."""

    code: str
    title: str
    group: str
    cost: str
    state: State
    observed: str
    wanted: str
    reason: str
    evidence: tuple[Evidence, ...]
    fix: str
    command: str
    """Shell lines that make the fix; shown, never executed."""
    reference: str
    remedies: tuple[Remedy, ...] = ()
    cost_us: float | None = None
    """What it was measured to cost at the 99.9th percentile; None: not attributed."""
    cost_why: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One run of doctor."""

    profile: str
    cpus: tuple[int, ...]
    checks: tuple[Result, ...]
    seconds: float
    host: Mapping[str, str]
    measured: Mapping[str, Any] | None = None
    started_unix_s: float = 0.0

    def counts(self) -> dict[str, int]:
        """Return how many checks are in each state."""
        return {state.value: sum(c.state is state for c in self.checks) for state in State}


class SkippedError(Exception):
    """Raised inside a judge: the check does not apply here."""


class UnknownError(Exception):
    """Raised inside a judge: it cannot be told; the text says what is needed."""


def good(observed: object, reason: str = "") -> Verdict:
    """Say that it is as wanted."""
    return Verdict(State.OK, str(observed), reason)


def bad(observed: object, reason: str = "", *, wanted: str = "") -> Verdict:
    """Say that it costs latency or safety."""
    return Verdict(State.DEGRADED, str(observed), reason, wanted)


def failed(observed: object, reason: str = "", *, wanted: str = "") -> Verdict:
    """Say that what was asked for cannot be had."""
    return Verdict(State.FAILED, str(observed), reason, wanted)


def judge(right: object, observed: object, reason: str = "", *, wanted: str = "") -> Verdict:
    """Say `good` or `bad`."""
    return good(observed) if right else bad(observed, reason, wanted=wanted)
