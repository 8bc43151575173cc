"""T: time. What latency is measured with, and what approvals rely on."""

from __future__ import annotations

from byteord.doctor.look import Look
from byteord.doctor.model import (
    EVERY,
    Asked,
    SkippedError,
    UnknownError,
    Verdict,
    bad,
    good,
    judge,
)
from byteord.doctor.register import boot, check, command, sysctl, sysfs

SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
STA_UNSYNC, TIME_ERROR = 0x0040, 5
_GOOD_SOURCES = ("tsc", "arch_sys_counter")
_ESTIMATE_US_MAX = 100_000
_LEAP = {1: "a second will be inserted", 2: "a second will be deleted", 3: "inside one", 4: "past"}


def is_guest(look: Look) -> bool:
    """Tell whether the CPU says that a hypervisor runs below."""
    return " hypervisor" in (look.quiet("/proc/cpuinfo") or "")


@check(
    "T01",
    "clock source",
    SOURCE,
    "tsc or arch_sys_counter; kvm-clock will do in a virtual machine",
    "choose the TSC",
    remedies=sysfs(SOURCE, "tsc"),
    profiles=EVERY,
    reference="rpk: clocksource tuner; seastar perftune",
)
def _source(look: Look, _: Asked) -> Verdict:
    source = look.text(SOURCE)
    if source == "kvm-clock" and is_guest(look):
        return good(source, "accepted in a virtual machine")
    return judge(source in _GOOD_SOURCES, source, "each clock read takes a trip to slow hardware")


@check(
    "T02",
    "the TSC is constant and never stops",
    "/proc/cpuinfo flags",
    "constant_tsc and nonstop_tsc",
    "other hardware, or another CPU model of the virtual machine",
    profiles=EVERY,
    reference="Intel SDM vol. 3, 18.17.1 (invariant TSC)",
)
def _flags(look: Look, _: Asked) -> Verdict:
    flags = look.field("/proc/cpuinfo", "flags").split()
    absent = [name for name in ("constant_tsc", "nonstop_tsc") if name not in flags]
    return judge(not absent, f"without {', '.join(absent)}" if absent else "both")


@check(
    "T03",
    "the kernel trusts the TSC",
    "dmesg",
    "it was never marked unstable",
    "update firmware; boot with tsc=reliable only if the hardware is known to be good",
    remedies=boot("tsc=reliable"),
    profiles=EVERY,
    reference="kernel: clocksource watchdog",
    cost="tool",
)
def _trusted(look: Look, _: Asked) -> Verdict:
    log = look.kernel.tool("dmesg")
    if log is None or "Operation not permitted" in log:
        raise UnknownError("needs CAP_SYSLOG to read the kernel's log")
    if not log.strip():
        raise SkippedError("the kernel's log is empty")
    lines = [line for line in log.splitlines() if "TSC" in line or "tsc" in line]
    marked = [line for line in lines if "unstable" in line]
    return judge(not marked, marked[0][:80] if marked else "not marked unstable")


@check(
    "T04",
    "the wall clock is synchronised",
    "adjtimex",
    f"synchronised, estimated error below {_ESTIMATE_US_MAX // 1000} ms",
    "run chrony or PTP: approvals and audit records carry times",
    remedies=command("apt-get install chrony && systemctl enable --now chrony"),
    profiles=EVERY,
    reference="adjtimex(2); rpk: ntp check",
)
def _synchronised(look: Look, _: Asked) -> Verdict:
    clock = look.kernel.clock()
    if clock is None:
        raise UnknownError("adjtimex is not allowed here")
    if clock.status & STA_UNSYNC or clock.state == TIME_ERROR:
        return bad("not synchronised", "nothing disciplines the clock")
    observed = f"estimated error {clock.esterror_us} us, at most {clock.maxerror_us} us"
    return judge(clock.esterror_us <= _ESTIMATE_US_MAX, observed)


@check(
    "T06",
    "timers do not migrate",
    "/proc/sys/kernel/timer_migration",
    "0",
    "keep timers where they were set",
    remedies=sysctl("kernel.timer_migration", "0"),
    reference="tuned: cpu-partitioning; kernel: admin-guide/sysctl/kernel",
)
def _migration(look: Look, _: Asked) -> Verdict:
    value = look.number("/proc/sys/kernel/timer_migration")
    return judge(value == 0, value)


@check(
    "T07",
    "timer resolution",
    "clock_getres",
    "1 ns",
    "a kernel with high-resolution timers",
    profiles=EVERY,
    reference="clock_getres(2); rt-tests",
)
def _resolution(look: Look, _: Asked) -> Verdict:
    resolution = look.kernel.resolution_ns()
    if resolution is None:
        raise UnknownError("clock_getres is not known of this host")
    return judge(resolution == 1, f"{resolution} ns")


@check(
    "T08",
    "no leap second or step is pending",
    "adjtimex",
    "none",
    "let chrony smear it, or stop runs that act on wall time",
    profiles=EVERY,
    reference="adjtimex(2)",
)
def _leap(look: Look, _: Asked) -> Verdict:
    clock = look.kernel.clock()
    if clock is None:
        raise UnknownError("adjtimex is not allowed here")
    return judge(clock.state not in _LEAP, _LEAP.get(clock.state, "none"))
