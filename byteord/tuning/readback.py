"""What is in force for a running worker, read from `/proc`, held against what it requested.

Reads beneath a root that tests replace. Costs the worker nothing: it is not asked. What has gone
meanwhile is a knob whose state is `failed`, never an exception.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from byteord.deployment.plan import TuningPlan
from byteord.deployment.topology import cpu_list
from byteord.tuning import fixes
from byteord.tuning.knobs import DEGRADED, FAILED, KNOBS, Knob
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import HERE, cgroup2_mount, parse_cpu_list, read_topology

_POLICY_NAMES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline"}
_LOOP_THREAD = re.compile(r"byteor-w\d+\.\d+\Z")
"""Names of the threads beyond the first that run loops."""
_NOT_ASKED = "none"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one worker requested, and what it said when it had."""

    tuning: TuningPlan
    cpus: tuple[int, ...]
    threads: int
    refused: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)


class Reader:
    """Looks at one process."""

    def __init__(self, pid: int, asked: Asked, root: HostRoot = HERE) -> None:
        """Look at `pid` as `root`'s `/proc` shows it."""
        self.asked = asked
        self.pid = pid
        self.root = root
        self.proc = Path(root.path(f"/proc/{pid}"))

    def read(self) -> list[Knob]:
        """Return every knob, in the order of `KNOBS`."""
        return [self._one(name, _READERS[name]) for name in KNOBS]

    def _one(self, name: str, read: Callable[[Reader], Knob]) -> Knob:
        try:
            return read(self)
        except (OSError, ValueError, IndexError, KeyError) as error:
            return Knob(
                name, "", "unknown", FAILED, f"{error}", f"/proc/{self.pid}",
                "see whether the worker still runs, and as which user",
            )  # fmt: skip

    def _judged(
        self, name: str, requested: str, applied: str, *, ok: bool, evidence: str, fix: str = ""
    ) -> Knob:
        refused = self.asked.refused.get(name, "")
        if ok and not refused:
            return Knob(name, requested, applied, evidence=evidence)
        reason = refused or f"it was changed from outside: {requested} was asked for"
        return Knob(name, requested, applied, DEGRADED, reason, evidence, fix)

    def _status(self, key: str, task: str = "") -> str:
        path = self.proc / f"task/{task}/status" if task else self.proc / "status"
        for line in path.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return line.partition(":")[2].strip()
        raise ValueError(f"{path}: no {key}")

    def _stat(self, task: str) -> list[str]:
        """Return the fields of a task's `stat` from the third on."""
        return (self.proc / f"task/{task}/stat").read_text().rpartition(")")[2].split()

    def _loops(self) -> list[str]:
        """Return the threads that run loops: the first, and those that are named as such."""
        found = [str(self.pid)]
        for task in sorted(os.listdir(self.proc / "task")):
            if task != found[0] and self.asked.threads > 1:
                name = (self.proc / f"task/{task}/comm").read_text().strip()
                if _LOOP_THREAD.match(name):
                    found.append(task)
        return found

    def affinity(self) -> Knob:
        """CPUs of every thread."""
        asked = self.asked.cpus
        found = {
            parse_cpu_list(self._status("Cpus_allowed_list", task))
            for task in os.listdir(self.proc / "task")
        }
        union = tuple(sorted({cpu for cpus in found for cpu in cpus}))
        spread = self.asked.threads > 1
        ok = not asked or (set(union) <= set(asked) if spread else set(union) == set(asked))
        requested, applied = cpu_list(asked) or "any", cpu_list(union)
        evidence = f"/proc/{self.pid}/task/*/status Cpus_allowed_list: {applied}"
        fix = f"taskset -a -p -c {requested} {self.pid}, and keep cpuset.cpus of its cgroup wide"
        return self._judged("affinity", requested, applied, ok=ok, evidence=evidence, fix=fix)

    def isolation(self) -> Knob:
        """Whether its CPUs are out of the scheduler's balancing."""
        if not self.asked.tuning.isolated:
            return Knob("isolation", _NOT_ASKED, _NOT_ASKED)
        isolated = read_topology(self.root, allowed=()).isolated
        bare = tuple(sorted(set(self.asked.cpus) - set(isolated)))
        ok = bool(self.asked.cpus) and not bare
        mine = cpu_list(self.asked.cpus)
        return Knob(
            "isolation",
            f"CPU {mine} isolated" if mine else "an isolated CPU",
            f"CPU {mine} isolated" if ok else f"CPU {cpu_list(bare) or 'any'} not isolated",
            "applied" if ok else DEGRADED,
            "" if ok else f"the kernel does not isolate CPU {cpu_list(bare) or 'any'}",
            f"/sys/devices/system/cpu/isolated, cpuset.cpus.isolated: {cpu_list(isolated)}",
            "" if ok else fixes.isolation_fix(bare),
        )

    def partition(self) -> Knob:
        """The isolated cpuset partition that it lives in."""
        asked = self.asked.tuning.partition
        path = self._cgroup()
        if not asked:
            return Knob("partition", _NOT_ASKED, _NOT_ASKED, evidence=f"/proc/{self.pid}/cgroup")
        mount = cgroup2_mount(self.root)
        kind = Path(self.root.path(f"{mount}{asked}/cpuset.cpus.partition"))
        state = kind.read_text().strip()
        evidence = f"/proc/{self.pid}/cgroup 0::{path}; cpuset.cpus.partition: {state}"
        ok = path == asked and state == "isolated"
        fix = f"move it back: echo {self.pid} > /sys/fs/cgroup{asked}/cgroup.procs"
        return self._judged("partition", asked, path, ok=ok, evidence=evidence, fix=fix)

    def _cgroup(self) -> str:
        for line in (self.proc / "cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line[3:]
        return _NOT_ASKED

    def scheduler(self) -> Knob:
        """Policy of the threads that run loops."""
        numbers = {int(self._stat(task)[38]) for task in self._loops()}
        applied = ", ".join(_POLICY_NAMES.get(number, str(number)) for number in sorted(numbers))
        asked = self.asked.tuning.sched
        evidence = f"/proc/{self.pid}/task/*/stat field 41: {', '.join(map(str, numbers))}"
        fix = fixes.REALTIME_FIX.format(self.asked.tuning.priority)
        if asked == "other":
            fix = f"chrt -o -p 0 {self.pid}"
        return self._judged(
            "scheduler", asked, applied, ok=applied == asked, evidence=evidence, fix=fix
        )

    def priority(self) -> Knob:
        """Real-time priority, or the nice value with the ordinary policy."""
        real = self.asked.tuning.sched != "other"
        index, name = (37, "field 40 (rt_priority)") if real else (16, "field 19 (nice)")
        values = sorted({int(self._stat(task)[index]) for task in self._loops()})
        wanted = self.asked.tuning.priority if real else int(self.asked.seen.get("nice", "0"))
        applied = ", ".join(map(str, values))
        fix = f"chrt -{self.asked.tuning.sched[0]} -p {wanted} {self.pid}"
        if not real:
            applied, fix = f"nice {applied}", f"renice -n {wanted} -p {self.pid}"
        return self._judged(
            "priority",
            str(wanted) if real else f"nice {wanted}",
            applied,
            ok=values == [wanted],
            evidence=f"/proc/{self.pid}/task/*/stat {name}: {', '.join(map(str, values))}",
            fix=fixes.REALTIME_FIX.format(wanted) if "priority" in self.asked.refused else fix,
        )

    def memory_lock(self) -> Knob:
        """Bytes that cannot be paged out."""
        locked = self._status("VmLck")
        evidence = f"/proc/{self.pid}/status VmLck: {locked}"
        if not self.asked.tuning.mlock:
            return Knob("memory_lock", _NOT_ASKED, locked, evidence=evidence)
        ok = int(locked.split()[0]) > 0
        whole = ok and "memory_lock" not in self.asked.refused
        return self._judged(
            "memory_lock",
            "all",
            "all" if whole else locked,  # the amount moves with every mapping: evidence
            ok=ok,
            evidence=evidence,
            fix=fixes.MEMLOCK_FIX,
        )

    def prefault(self) -> Knob:
        """Resident share of the regions."""
        if not self.asked.tuning.prefault:
            return Knob("prefault", _NOT_ASKED, _NOT_ASKED)
        size, resident = self._regions("Size"), self._regions("Rss")
        return self._judged(
            "prefault",
            "every page",
            f"{resident} of {size} kB",
            ok=size == resident > 0,
            evidence=f"/proc/{self.pid}/smaps Rss of the regions: {resident} kB of {size} kB",
            fix="give the run memory: see memory.max of its cgroup, and use Linux 5.14 or later",
        )

    def huge_pages(self) -> Knob:
        """Share of the regions that lies on huge pages."""
        if not self.asked.tuning.huge_pages:
            return Knob("huge_pages", _NOT_ASKED, _NOT_ASKED)
        size, huge = self._regions("Size"), self._regions("ShmemPmdMapped")
        knob = self._judged(
            "huge_pages",
            "regions of 2 MiB and more",
            f"{huge} of {size} kB",
            ok=huge >= max(1, int(self.asked.seen.get("huge_kb", "1"))),
            evidence=f"/proc/{self.pid}/smaps ShmemPmdMapped of the regions: {huge} kB",
            fix=fixes.HUGE_FIX,
        )
        if knob.state == DEGRADED and "huge_pages" not in self.asked.refused:
            return Knob(
                "huge_pages", knob.requested, knob.applied, DEGRADED,
                f"the kernel put no huge page under {size} kB of regions",
                knob.evidence, knob.fix,
            )  # fmt: skip
        return knob

    def _regions(self, field_name: str) -> int:
        """Return the sum of a field of `smaps` over the worker's mappings of regions, in kB."""
        total, inside = 0, False
        starts = self.asked.seen.get("regions", "").split(",")
        for line in (self.proc / "smaps").read_text().splitlines():
            name, _, value = line.partition(":")
            if " " in name:
                inside = line.partition("-")[0].lstrip("0") in starts
            elif inside and name == field_name:
                total += int(value.split()[0])
        return total

    def timer_slack(self) -> Knob:
        """Slack of timers; another process's may be read with CAP_SYS_NICE alone."""
        wanted = self.asked.tuning.timer_slack_ns
        try:
            found = int((self.proc / "timerslack_ns").read_text())
            evidence = f"/proc/{self.pid}/timerslack_ns: {found}"
        except PermissionError:
            found = int(self.asked.seen.get("timer_slack", "-1"))
            evidence = f"PR_GET_TIMERSLACK in the worker at its start: {found}"
        return self._judged(
            "timer_slack",
            f"{wanted} ns",
            f"{found} ns",
            ok=0 <= found <= wanted,
            evidence=evidence,
            fix=f"echo {wanted} > /proc/{self.pid}/timerslack_ns",
        )

    def cpu_dma_latency(self) -> Knob:
        """Whether the descriptor that holds the bound is still open."""
        wanted = self.asked.tuning.cpu_dma_latency_us
        if wanted < 0:
            return Knob("cpu_dma_latency", _NOT_ASKED, _NOT_ASKED)
        held = ""
        for name in os.listdir(self.proc / "fd"):
            try:
                target = os.readlink(self.proc / "fd" / name)
            except FileNotFoundError:
                continue
            if target.endswith("/cpu_dma_latency"):
                held = f"/proc/{self.pid}/fd/{name} -> {target}"
        return self._judged(
            "cpu_dma_latency",
            f"{wanted} us",
            f"held at {wanted} us" if held else "not held",
            ok=bool(held),
            evidence=held or f"/proc/{self.pid}/fd: no /dev/cpu_dma_latency",
            fix=fixes.DMA_FIX,
        )


_READERS: dict[str, Callable[[Reader], Knob]] = {
    "affinity": Reader.affinity,
    "isolation": Reader.isolation,
    "partition": Reader.partition,
    "scheduler": Reader.scheduler,
    "priority": Reader.priority,
    "memory_lock": Reader.memory_lock,
    "prefault": Reader.prefault,
    "huge_pages": Reader.huge_pages,
    "timer_slack": Reader.timer_slack,
    "cpu_dma_latency": Reader.cpu_dma_latency,
}
