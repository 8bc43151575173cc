"""C12 to C14, M02, M07, M19, M20, S02: what processes do, and the workers among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from byteord.deployment.topology import cpu_list
from byteord.doctor.checks.cpus import workers_cpus
from byteord.doctor.look import Look, grown, parse_cpus, shared
from byteord.doctor.model import (
    EVERY,
    ISOLATED,
    Asked,
    SkippedError,
    Verdict,
    bad,
    good,
    judge,
)
from byteord.doctor.register import check, command, unit

PF_KTHREAD, PF_NO_SETAFFINITY = 0x00200000, 0x04000000
TASKS_MAX = 4000
_POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline"}


@dataclass(frozen=True, slots=True)
class Task:
    """One line of `/proc/PID/task/TID/stat`, as proc(5) numbers its fields."""

    pid: int
    tid: int
    name: str
    state: str
    flags: int
    minor: int
    major: int
    cpu: int


def parse_task(pid: int, text: str) -> Task | None:
    """Read a line of `stat`; None where it is none."""
    head, _, rest = text.rpartition(")")
    fields = rest.split()
    tid, _, name = head.partition("(")
    try:
        numbers = [int(fields[at]) for at in (6, 7, 9, 36)]
        return Task(pid, int(tid), name, fields[0], numbers[0], numbers[1], numbers[2], numbers[3])
    except (ValueError, IndexError):
        return None


def tasks(look: Look, pattern: str = "/proc/[0-9]*/task/*/stat") -> Iterator[Task]:
    """Yield the tasks of the host, so many at most."""
    for name in look.root.names(pattern)[:TASKS_MAX]:
        found = parse_task(int(name.split("/")[2]), look.root.text(name) or "")
        if found:
            yield found


@check(
    "C12",
    "no foreign task on the workers' CPUs",
    "/proc/*/task/*/stat, field 39",
    "none that runs",
    "keep other work off: an isolated partition, or CPUAffinity= in system.conf",
    remedies=command("ps -eLo psr,stat,pid,comm --sort psr"),
    reference="proc(5); tuned: cpu-partitioning",
)
def _foreign(look: Look, asked: Asked) -> Verdict:
    cpus = set(workers_cpus(asked))
    seen, running = 0, []
    own = look.root.link("/proc/self")
    for task in tasks(look):
        seen += 1
        ours = task.pid in asked.daemon.workers or str(task.pid) == own
        if task.state == "R" and task.cpu in cpus and not ours:
            running.append(task)
    if not seen:
        raise SkippedError("/proc shows no task")
    for task in running[:3]:
        look.saw(f"/proc/{task.pid}/task/{task.tid}/stat")
    names = ", ".join(f"{task.name} ({task.pid}) on {task.cpu}" for task in running[:3])
    return judge(not running, names or f"none of {seen} tasks", f"{len(running)} run there")


@check(
    "C14",
    "movable kernel threads keep off",
    "Cpus_allowed_list in /proc/*/status of kernel threads",
    "none may run on the workers' CPUs",
    "move them with tuna, or isolate the CPUs",
    remedies=command("tuna isolate --cpus LIST"),
    profiles=ISOLATED,
    reference="tuna(8); kernel: admin-guide/kernel-per-CPU-kthreads",
)
def _kthreads(look: Look, asked: Asked) -> Verdict:
    cpus = workers_cpus(asked)
    found, seen = [], 0
    for task in tasks(look, "/proc/[0-9]*/stat"):
        if not task.flags & PF_KTHREAD or task.flags & PF_NO_SETAFFINITY:
            continue
        text = look.root.text(f"/proc/{task.pid}/status") or ""
        allowed = text.partition("Cpus_allowed_list:")[2].partition("\n")[0].strip()
        seen += 1
        if shared(parse_cpus(allowed, "Cpus_allowed_list"), cpus):
            found.append(task)
    if not seen:
        raise SkippedError("no kernel thread is to be seen")
    for task in found[:3]:
        look.saw(f"/proc/{task.pid}/status")
    names = ", ".join(task.name for task in found[:3])
    return judge(not found, f"{len(found)} of {seen}" + (f": {names}" if names else ""))


def _worker_pids(asked: Asked) -> tuple[int, ...]:
    if not asked.daemon.workers:
        raise SkippedError("no worker runs")
    return asked.daemon.workers


@check(
    "C13",
    "workers are not switched out",
    "/proc/PID/task/TID/status nonvoluntary_ctxt_switches",
    "none over the probe",
    "isolate their CPUs",
    remedies=command("ps -eLo psr,stat,pid,comm --sort psr"),
    reference="kernel: filesystems/proc",
    cost="probe",
)
def _switched(look: Look, asked: Asked) -> Verdict:

    def read(view: Look) -> dict[str, int]:
        found = {}
        for pid in _worker_pids(asked):
            for name in view.names(f"/proc/{pid}/task/*/status"):
                found[name] = view.amount(name, "nonvoluntary_ctxt_switches")
        return found

    delta, probed = grown(look, read)
    total = sum(delta.values())
    observed = f"{total} over the probe" if probed else f"{total} since they started"
    return judge(not probed or not total, observed, "something else ran on their CPUs")


@check(
    "M02",
    "regions are locked in memory",
    "VmLck in /proc/PID/status of workers",
    "locked in every worker",
    "LimitMEMLOCK=infinity or CAP_IPC_LOCK, and mlock = true",
    remedies=unit("LimitMEMLOCK=infinity"),
    reference="mlockall(2)",
)
def _locked(look: Look, asked: Asked) -> Verdict:
    sizes = {pid: look.amount(f"/proc/{pid}/status", "VmLck") for pid in _worker_pids(asked)}
    bare = [pid for pid, size in sizes.items() if not size]
    observed = f"least {min(sizes.values())} kB of {len(sizes)} workers"
    return judge(not bare, observed, f"nothing is locked in {', '.join(map(str, bare[:4]))}")


@check(
    "M07",
    "nothing of ours is swapped",
    "/proc/swaps; VmSwap in /proc/self/status",
    "0 kB",
    "turn swap off, or MemorySwapMax=0 for the unit",
    remedies=unit("MemorySwapMax=0"),
    profiles=EVERY,
    reference="rpk: swappiness; systemd.resource-control(5)",
)
def _swapped(look: Look, asked: Asked) -> Verdict:
    swaps = look.text("/proc/swaps").splitlines()[1:]
    paths = ["/proc/self/status", *(f"/proc/{pid}/status" for pid in asked.daemon.workers)]
    total = sum(look.amount(path, "VmSwap") for path in paths)
    return judge(not total, f"{total} kB of ours, {len(swaps)} swap areas", "a page in swap")


@check(
    "M19",
    "workers take no page faults",
    "/proc/PID/task/*/stat, fields 10 and 12",
    "none over the probe",
    "prefault = true and mlock = true",
    reference="proc(5)",
    cost="probe",
)
def _faults(look: Look, asked: Asked) -> Verdict:
    def read(view: Look) -> dict[str, int]:
        found = {"minor": 0, "major": 0}
        for pid in _worker_pids(asked):
            for name in view.names(f"/proc/{pid}/task/*/stat"):
                task = parse_task(pid, view.maybe(name) or "")
                found["minor"] += task.minor if task else 0
                found["major"] += task.major if task else 0
        return found

    delta, probed = grown(look, read)
    observed = f"{delta['major']} major, {delta['minor']} minor"
    if not probed:
        return good(observed + " since they started")
    return judge(not any(delta.values()), observed + " over the probe")


@check(
    "M20",
    "regions lie on the workers' node",
    "/proc/PID/numa_maps",
    "every page of a region on the node of the workers",
    "start the daemon on that node (AllowedMemoryNodes=)",
    remedies=lambda asked: unit(f"AllowedMemoryNodes={','.join(map(str, asked.nodes)) or '0'}")(
        asked
    ),
    reference="numa(7); Aeron",
)
def _placement(look: Look, asked: Asked) -> Verdict:
    pages: dict[str, int] = {}
    for pid in _worker_pids(asked):
        for line in look.text(f"/proc/{pid}/numa_maps").splitlines():
            if "byteor" not in line:
                continue
            for word in line.split():
                node, _, count = word.partition("=")
                if node[:1] == "N" and node[1:].isdigit() and count.isdigit():
                    pages[node[1:]] = pages.get(node[1:], 0) + int(count)
    far = {node for node in pages if int(node) not in asked.nodes}
    observed = ", ".join(f"node {node}: {count}" for node, count in sorted(pages.items()))
    return judge(not far, observed or "no page of a region", "pages on another node")


@check(
    "S02",
    "workers have the policy that was asked for",
    "sched_getscheduler of each worker; /proc/PID/sched",
    "the policy and priority of the plan",
    "LimitRTPRIO= or CAP_SYS_NICE for the daemon",
    remedies=unit("LimitRTPRIO=99"),
    profiles=EVERY,
    reference="sched(7)",
)
def _policy(look: Look, asked: Asked) -> Verdict:
    found = {}
    for pid in _worker_pids(asked):
        look.saw(f"/proc/{pid}/stat")
        said = look.kernel.scheduler(pid)
        if said:
            found[pid] = f"{_POLICIES.get(said[0] & 0xFF, said[0])} {said[1]}"
    if not found:
        raise SkippedError("the workers have ended")
    wish = f"{asked.sched} {asked.priority}"
    observed = ", ".join(sorted(set(found.values())))
    if not asked.named:
        return good(observed)
    wrong = [pid for pid, said in found.items() if said != wish]
    reason = f"wanted {wish} in {cpu_list(tuple(wrong))}"
    return bad(observed, reason) if wrong else good(observed)
