"""What a doctor read on a host, kept so that the same checks can be made elsewhere.

Owns which files may be kept: those of the kernel that hold figures and switches, none that names
people, paths of theirs, programs or their arguments. What is withheld makes its checks `unknown`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from byteord.doctor.kernel import ClockState, FileMode, Kernel, Space
from byteord.doctor.model import Asked, Daemon
from byteord.errors import DataError
from byteord.tuning.root import HostRoot

FACTS_VERSION = 1
FACTS_BYTES_MAX = 3 << 20
WITHHELD = "withheld"
_KEPT = re.compile(
    r"/sys/(devices/system|module|kernel/mm|class/(net|thermal|powercap)|fs/cgroup|bus)/"
    r"|/sys/kernel/(realtime|debug/sched)"
    r"|/proc/(sys/(kernel|vm|net|fs)/|irq/|pressure/)"
    r"|/proc/(cpuinfo|meminfo|interrupts|softirqs|stat|vmstat|schedstat|loadavg|zoneinfo|swaps"
    r"|buddyinfo|timer_list|version|uptime|softirqs|net/(softnet_stat|snmp|netstat|dev|udp))\Z"
    r"|/proc/self/(status|limits|stat|schedstat|sched|cgroup)\Z"
)
_NOT = re.compile(
    r"/proc/sys/kernel/(hostname|domainname|core_pattern|modprobe|hotplug|random/|poweroff_cmd"
    r"|usermodehelper|version)|/proc/sys/fs/binfmt_misc|uevent\Z"
)
_BOOT_WORDS = re.compile(
    r"(isolcpus|nohz|nohz_full|rcu_nocbs|rcu_nocb_poll|irqaffinity|idle|processor\.max_cstate"
    r"|intel_idle\.max_cstate|intel_pstate|amd_pstate|mitigations|nosmt|nosoftlockup|nmi_watchdog"
    r"|tsc|clocksource|hugepages|hugepagesz|default_hugepagesz|transparent_hugepage|skew_tick"
    r"|audit|mce|preempt|threadirqs|cpuidle\.off|kthread_cpus|numa_balancing|quiet|ro|rw)"
    r"(=[A-Za-z0-9_.,:\-]{1,64})?\Z"
)
_BOOT = "/proc/cmdline"


def may_leave(path: str) -> bool:
    """Tell whether a file of the host holds nothing but figures and switches."""
    if path == _BOOT:
        return True
    return bool(_KEPT.match(path)) and not _NOT.search(path) and ".." not in path


def shown_text(path: str, text: str) -> str:
    """Return what may leave of a file's text: of the boot arguments the words that are known."""
    if path != _BOOT:
        return text
    return " ".join(word for word in text.split() if _BOOT_WORDS.match(word))


@dataclass(frozen=True, slots=True)
class Facts:
    """Answers of one host by question. The second look's texts stand apart where they differ."""

    texts: dict[str, str] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    globs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    there: dict[str, bool] = field(default_factory=dict)
    writable: dict[str, bool] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    kernel: dict[str, Any] = field(default_factory=dict)
    asked: Asked = field(default_factory=Asked)
    facts_v: int = FACTS_VERSION


class RecordingRoot(HostRoot):
    """The host itself, which remembers what it was asked."""

    __slots__ = ("_facts", "_later")

    def __init__(self, facts: Facts, *, later: bool = False) -> None:
        """Write into `facts`; `later`: this is the second look."""
        super().__init__("/")
        object.__setattr__(self, "_facts", facts)
        object.__setattr__(self, "_later", later)

    def text(self, name: str) -> str | None:
        """Return the text of a file."""
        text = super().text(name)
        if may_leave(name):
            facts: Facts = self._facts  # type: ignore[attr-defined]
            if text is None:
                facts.missing[name] = super().missing(name)
            elif self._later and facts.texts.get(name) != text:  # type: ignore[attr-defined]
                facts.later[name] = shown_text(name, text)
            else:
                facts.texts[name] = shown_text(name, text)
        return text

    def names(self, pattern: str) -> tuple[str, ...]:
        """Return the names that match."""
        found = super().names(pattern)
        if may_leave(pattern.partition("*")[0] if "*" in pattern else pattern):
            self._facts.globs[pattern] = found  # type: ignore[attr-defined]
        return found

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""
        found = super().exists(name)
        if may_leave(name) or name.startswith("/dev/"):
            self._facts.there[name] = found  # type: ignore[attr-defined]
        return found

    def writable(self, name: str) -> bool:
        """Tell whether this process may write it."""
        found = super().writable(name)
        if may_leave(name):
            self._facts.writable[name] = found  # type: ignore[attr-defined]
        return found


class RecordedRoot(HostRoot):
    """A host that was written down; nothing is read from here."""

    __slots__ = ("_facts", "_texts")

    def __init__(self, facts: Facts, *, later: bool = False) -> None:
        """Answer from `facts`, the second look if `later`."""
        super().__init__("/nonexistent")
        object.__setattr__(self, "_facts", facts)
        object.__setattr__(self, "_texts", {**facts.texts, **(facts.later if later else {})})

    def text(self, name: str) -> str | None:
        """Return the text of a file as it was."""
        return self._texts.get(name)  # type: ignore[attr-defined, no-any-return]

    def missing(self, name: str) -> str:
        """Say why there is no text: as then, or that it does not leave its host."""
        if name in self._texts:  # type: ignore[attr-defined]
            return ""
        return self._facts.missing.get(name, WITHHELD)  # type: ignore[attr-defined, no-any-return]

    def names(self, pattern: str) -> tuple[str, ...]:
        """Return the names that matched."""
        return self._facts.globs.get(pattern, ())  # type: ignore[attr-defined, no-any-return]

    def exists(self, name: str) -> bool:
        """Tell whether there was such a file."""
        known = self._facts.there.get(name)  # type: ignore[attr-defined]
        return name in self._texts if known is None else known  # type: ignore[attr-defined]

    def writable(self, name: str) -> bool:
        """Tell whether the daemon could write it."""
        return bool(self._facts.writable.get(name))  # type: ignore[attr-defined]

    def link(self, name: str) -> str:
        """Return nothing: links are withheld."""
        return self._facts.links.get(name, "")  # type: ignore[attr-defined, no-any-return]


class RecordingKernel:
    """A kernel that remembers what it was asked, in the form that `CapturedKernel` reads."""

    def __init__(self, kernel: Kernel, said: dict[str, Any]) -> None:
        """Ask `kernel`, write into `said`."""
        self._kernel = kernel
        self._said = said

    def uname(self) -> tuple[str, str]:
        """Return release and machine."""
        self._said["release"], self._said["machine"] = found = self._kernel.uname()
        return found

    def affinity(self) -> tuple[int, ...]:
        """Return the CPUs that this process may use."""
        found = self._kernel.affinity()
        self._said["affinity"] = list(found)
        return found

    def limit(self, name: str) -> int | None:
        """Return a soft limit."""
        found = self._kernel.limit(name)
        self._said.setdefault("limits", {})[name] = found
        return found

    def space(self, path: str) -> Space | None:
        """Return the room where a path lies; only that of shared memory is kept."""
        found = self._kernel.space(path)
        if found is not None and path == "/dev/shm":  # noqa: S108  a mount point
            kept = [found.total_bytes, found.free_bytes, found.files_free, found.files]
            self._said.setdefault("space", {})[path] = kept
        return found

    def mode(self, path: str) -> FileMode | None:
        """Return owner and mode; withheld, for it names paths."""
        return self._kernel.mode(path)

    def clock(self) -> ClockState | None:
        """Return how the wall clock is disciplined."""
        found = self._kernel.clock()
        if found is not None:
            fields = (found.state, found.status, found.maxerror_us, found.esterror_us)
            self._said["clock"] = list(fields)
        return found

    def resolution_ns(self) -> int | None:
        """Return the resolution of CLOCK_MONOTONIC."""
        found = self._kernel.resolution_ns()
        self._said["resolution_ns"] = found
        return found

    def scheduler(self, tid: int) -> tuple[int, int] | None:
        """Return policy and priority of a thread."""
        found = self._kernel.scheduler(tid)
        if found is not None:
            self._said.setdefault("schedulers", {})[str(tid)] = list(found)
        return found

    def environ(self) -> Mapping[str, str]:
        """Return the environment of this process; withheld."""
        return self._kernel.environ()

    def uid(self) -> int:
        """Return the effective user."""
        found = self._kernel.uid()
        self._said["uid"] = found
        return found

    def tool(self, *words: str) -> str | None:
        """Return what a program prints; withheld."""
        return self._kernel.tool(*words)

    def now(self) -> float:
        """Return the wall clock."""
        found = self._kernel.now()
        self._said["now"] = found
        return found


def facts_json(facts: Facts, asked: Asked) -> bytes:
    """Return facts as a bundle carries them; of the daemon its version and environment alone."""
    daemon = Daemon(
        version=asked.daemon.version, environment=asked.daemon.environment, private=True
    )
    shown = msgspec.to_builtins(facts)
    shown["asked"] = {**msgspec.to_builtins(asked), "daemon": msgspec.to_builtins(daemon)}
    shown["asked"]["permission"] = None
    return json.dumps(shown, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def facts_from_json(content: bytes) -> Facts:
    """Return facts of a bundle; raises DataError where they are none of this version."""
    try:
        facts = msgspec.json.decode(content, type=Facts)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"host_facts.json: {error}; wanted the facts of a bundle") from error
    if facts.facts_v != FACTS_VERSION:
        raise DataError(
            f"host_facts.json: version {facts.facts_v}; wanted {FACTS_VERSION}: use the byteor "
            "that made the bundle"
        )
    return facts
