"""S: scheduling and limits."""

from __future__ import annotations

from byteord.doctor.checks.memory import capability, cgroup_file
from byteord.doctor.look import Look, grown
from byteord.doctor.model import (
    EVERY,
    Asked,
    SkippedError,
    UnknownError,
    Verdict,
    bad,
    failed,
    good,
    judge,
)
from byteord.doctor.register import check, sysctl, unit

CAP_SYS_NICE = 23
FILES_MIN = 65536
_LIMITS = "/proc/self/limits"
_RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"


def limit_of(look: Look, name: str) -> int:
    """Return a soft limit of this process; -1: unlimited."""
    words = look.field(_LIMITS, name).split()
    if words[:1] == ["unlimited"]:
        return -1
    if not words or not words[0].isdigit():
        raise UnknownError(f"{_LIMITS} says {name} {' '.join(words)[:40]!r}, no number")
    return int(words[0])


@check(
    "S01",
    "real-time priorities are permitted",
    "Max realtime priority in /proc/self/limits; CapEff",
    "the priority that the plan asks for, or CAP_SYS_NICE",
    "LimitRTPRIO= in the daemon's unit, or AmbientCapabilities=CAP_SYS_NICE",
    remedies=unit("LimitRTPRIO=99"),
    profiles=EVERY,
    reference="sched(7); systemd.exec(5)",
)
def _realtime(look: Look, asked: Asked) -> Verdict:
    priority = limit_of(look, "Max realtime priority")
    nice = capability(look, CAP_SYS_NICE)
    observed = f"limit {priority}{', CAP_SYS_NICE' if nice else ''}"
    if asked.sched == "other" or nice or priority < 0 or priority >= asked.priority:
        return good(observed)
    return failed(observed, f"{asked.sched} {asked.priority} cannot be had")


@check(
    "S03",
    "real-time threads are not throttled",
    _RUNTIME + "; fair_server in debugfs",
    "-1, where workers spin with sched = fifo or rr",
    "lift the throttle where such workers have CPUs of their own",
    remedies=sysctl("kernel.sched_rt_runtime_us", "-1"),
    reference="sched(7); tuned: realtime",
)
def _throttle(look: Look, asked: Asked) -> Verdict:
    runtime = look.number(_RUNTIME)
    fair = look.maybe("/sys/kernel/debug/sched/fair_server/cpu0/runtime")
    observed = f"{runtime}" + (f", fair server {fair} ns" if fair else "")
    if asked.sched == "other":
        return good(observed)
    return judge(runtime == -1, observed, "a spinning real-time worker loses 5 % of each second")


@check(
    "S04",
    "no automatic task groups",
    "/proc/sys/kernel/sched_autogroup_enabled",
    "0",
    "turn autogroup off: it weighs sessions, not workers",
    remedies=sysctl("kernel.sched_autogroup_enabled", "0"),
    reference="sched(7), autogroup",
)
def _autogroup(look: Look, _: Asked) -> Verdict:
    value = look.number("/proc/sys/kernel/sched_autogroup_enabled")
    return judge(value == 0, value)


@check(
    "S05",
    "open files",
    "Max open files in /proc/self/limits; /proc/sys/fs/nr_open",
    f"at least {FILES_MIN}",
    f"LimitNOFILE={FILES_MIN} in the daemon's unit",
    remedies=unit(f"LimitNOFILE={FILES_MIN}"),
    profiles=EVERY,
    reference="Vault diagnose; systemd.exec(5)",
)
def _files(look: Look, _: Asked) -> Verdict:
    files = limit_of(look, "Max open files")
    look.maybe("/proc/sys/fs/nr_open")
    return judge(files < 0 or files >= FILES_MIN, files, "one run of many lanes takes hundreds")


@check(
    "S06",
    "processes",
    "pids.max; Max processes in /proc/self/limits",
    "four for each busy thread, 64 at least",
    "TasksMax= and LimitNPROC= in the daemon's unit",
    remedies=unit("TasksMax=infinity"),
    profiles=EVERY,
    reference="systemd.resource-control(5)",
)
def _processes(look: Look, asked: Asked) -> Verdict:
    need = max(64, 4 * asked.busy)
    most = limit_of(look, "Max processes")
    try:
        text = look.text(cgroup_file(look, "pids.max"))
    except SkippedError:
        text = "max"
    group = int(text) if text.isdigit() else -1
    low = min((each for each in (most, group) if each >= 0), default=-1)
    return judge(low < 0 or low >= need, f"limit {most}, pids.max {text}", f"{need} are needed")


@check(
    "S07",
    "no CPU quota throttles us",
    "nr_throttled in cpu.stat",
    "0",
    "remove CPUQuota= from the unit and its slices",
    remedies=unit("CPUQuota="),
    profiles=EVERY,
    reference="kernel: admin-guide/cgroup-v2 (cpu.stat)",
)
def _quota(look: Look, _: Asked) -> Verdict:
    throttled = look.amount(cgroup_file(look, "cpu.stat"), "nr_throttled")
    return judge(throttled == 0, throttled, "the quota stopped every worker at once")


@check(
    "S08",
    "no pressure on CPUs",
    "/proc/pressure/cpu",
    "avg60 below 1",
    "end what competes, or give workers CPUs of their own",
    reference="kernel: accounting/psi",
)
def _pressure(look: Look, _: Asked) -> Verdict:
    said = look.field("/proc/pressure/cpu", "some")
    value = said.partition("avg60=")[2].split(" ")[0]
    return judge(float(value or "x") < 1.0, f"some avg60={value}", "tasks waited for a CPU")


@check(
    "S09",
    "a crash does not write payloads to disk",
    "/proc/sys/kernel/core_pattern, /proc/self/coredump_filter; Max core file size",
    "no core dump in prod, or one without shared memory",
    "LimitCORE=0, or coredump_filter without shared mappings",
    remedies=unit("LimitCORE=0"),
    profiles=EVERY,
    reference="core(5)",
)
def _cores(look: Look, asked: Asked) -> Verdict:
    size = limit_of(look, "Max core file size")
    pattern = look.text("/proc/sys/kernel/core_pattern")
    mask = look.maybe("/proc/self/coredump_filter") or "0"
    with_shared = int(mask, 16) & 0b1010
    dumps = (size != 0 or pattern[:1] == "|") and with_shared
    observed = f"limit {size}, pattern {pattern[:40]}, filter {mask}"
    if asked.daemon.environment != "prod":
        return good(observed)
    return bad(observed, "shared memory would be dumped") if dumps else good(observed)


@check(
    "S10",
    "performance counters",
    "/proc/sys/kernel/perf_event_paranoid",
    "reported: 2 or less lets a user profile their own process",
    "lower it while looking for a cause",
    remedies=sysctl("kernel.perf_event_paranoid", "1"),
    profiles=(),
    reference="perf_event_open(2)",
)
def _perf(look: Look, _: Asked) -> Verdict:
    return good(look.number("/proc/sys/kernel/perf_event_paranoid"))


@check(
    "V02",
    "no CPU time is stolen",
    "steal in /proc/stat, twice",
    "0 over the probe",
    "dedicated CPUs from whoever runs the hypervisor",
    profiles=EVERY,
    reference="proc(5), /proc/stat",
    cost="probe",
)
def _steal(look: Look, _: Asked) -> Verdict:
    def read(view: Look) -> dict[str, int]:
        words = view.field("/proc/stat", "cpu").split()
        if len(words) < 8 or not words[7].isdigit():  # noqa: PLR2004
            raise SkippedError("/proc/stat has no column steal")
        return {"steal": int(words[7])}

    delta, probed = grown(look, read)
    if not probed:
        return good(f"{delta['steal']} ticks since boot")
    observed = f"{delta['steal']} ticks over the probe"
    return judge(not delta["steal"], observed, "the hypervisor ran somebody else")
