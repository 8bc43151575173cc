"""P: power. What keeps a core from being awake and fast."""

from __future__ import annotations

from byteord.deployment.topology import cpu_list
from byteord.doctor.checks.cpus import CPUS, workers_cpus
from byteord.doctor.look import Look, grown
from byteord.doctor.model import EVERY, Asked, SkippedError, UnknownError, Verdict, good, judge
from byteord.doctor.register import boot, check, command, sysfs

LATENCY_US_MAX = 10
_GOVERNOR = CPUS + "/cpu{cpu}/cpufreq/scaling_governor"
_EPP = CPUS + "/cpu{cpu}/cpufreq/energy_performance_preference"
_RESUME = CPUS + "/cpu{cpu}/power/pm_qos_resume_latency_us"


def per_cpu(look: Look, asked: Asked, path: str) -> dict[int, str]:
    """Return a file of each of the workers' CPUs; raises SkippedError when none has it."""
    found = {}
    for cpu in workers_cpus(asked):
        text = look.maybe(path.format(cpu=cpu))
        if text is not None:
            found[cpu] = text
    if not found:
        raise SkippedError(f"{path.format(cpu=asked.cpus[0])} is not here")
    return found


def summary(values: dict[int, str]) -> str:
    """Return for example `performance on 2-3, powersave on 4`."""
    groups: dict[str, list[int]] = {}
    for cpu, value in values.items():
        groups.setdefault(value, []).append(cpu)
    return ", ".join(f"{value} on {cpu_list(tuple(cpus))}" for value, cpus in groups.items())


@check(
    "P01",
    "frequency governor",
    "cpufreq/scaling_governor",
    "performance on the workers' CPUs",
    "choose the governor performance",
    remedies=sysfs(_GOVERNOR, "performance"),
    reference="tuned: latency-performance; rpk: cpu tuner",
)
def _governor(look: Look, asked: Asked) -> Verdict:
    found = per_cpu(look, asked, _GOVERNOR)
    return judge(set(found.values()) == {"performance"}, summary(found), "it lowers the clock")


@check(
    "P02",
    "the frequency does not wander",
    "cpufreq/scaling_{driver,min_freq,max_freq}; intel_pstate/min_perf_pct",
    "min_perf_pct 100, or the lowest frequency equal to the highest",
    "raise the lowest frequency to the highest",
    remedies=sysfs(CPUS + "/intel_pstate/min_perf_pct", "100"),
    reference="tuned: latency-performance (min_perf_pct=100)",
)
def _frequency(look: Look, asked: Asked) -> Verdict:
    percent = look.maybe(CPUS + "/intel_pstate/min_perf_pct")
    if percent is not None:
        return judge(percent == "100", f"intel_pstate, min_perf_pct {percent}")
    low = per_cpu(look, asked, CPUS + "/cpu{cpu}/cpufreq/scaling_min_freq")
    high = per_cpu(look, asked, CPUS + "/cpu{cpu}/cpufreq/scaling_max_freq")
    return judge(low == high, f"min {summary(low)} kHz, max {summary(high)} kHz")


@check(
    "P03",
    "energy preference",
    "cpufreq/energy_performance_preference",
    "performance on the workers' CPUs",
    "prefer performance",
    remedies=sysfs(_EPP, "performance"),
    reference="kernel: admin-guide/pm/intel_pstate; tuned: energy_perf_bias",
)
def _preference(look: Look, asked: Asked) -> Verdict:
    found = per_cpu(look, asked, _EPP)
    return judge(set(found.values()) <= {"performance", "0"}, summary(found))


@check(
    "P04",
    "turbo",
    "intel_pstate/no_turbo, cpufreq/boost",
    "reported: on is faster, off is steadier",
    "decide, and write it down",
    profiles=(),
    reference="tuned; rpk",
)
def _turbo(look: Look, _: Asked) -> Verdict:
    off = look.maybe(CPUS + "/intel_pstate/no_turbo")
    if off is not None:
        return good("off" if off == "1" else "on")
    return good("on" if look.text(CPUS + "/cpufreq/boost") == "1" else "off")


@check(
    "P05",
    "shallow idle states only",
    "cpuidle/state*/{name,latency,disable}",
    f"no state deeper than {LATENCY_US_MAX} us on the workers' CPUs",
    "disable the deep states of the workers' CPUs, or hold /dev/cpu_dma_latency at 0",
    remedies=command("cpupower idle-set --disable-by-latency 10"),
    reference="kernel: admin-guide/pm/cpuidle; tuned: latency-performance",
)
def _idle(look: Look, asked: Asked) -> Verdict:
    look.maybe(CPUS + "/cpuidle/current_driver")
    deep, states = [], 0
    for cpu in workers_cpus(asked):
        for path in look.root.names(f"{CPUS}/cpu{cpu}/cpuidle/state*/latency"):
            states += 1
            base = path.rpartition("/")[0]
            latency, disabled = look.quiet(path) or "0", look.quiet(base + "/disable")
            if latency.isdigit() and int(latency) > LATENCY_US_MAX and disabled == "0":
                deep.append(f"{look.quiet(base + '/name')} ({latency} us) on {cpu}")
                look.saw(path, latency)
    if not states:
        raise SkippedError("no idle states: the CPU or the hypervisor has its own")
    reason = "waking up takes as long, unless cpu_dma_latency is held"
    return judge(not deep, ", ".join(deep[:3]) or "none is deep", reason)


@check(
    "P06",
    "somebody holds cpu_dma_latency",
    "/dev/cpu_dma_latency in /proc/*/fd",
    "held open while a tuned run lives",
    "cpu_dma_latency = 0 in [tuning] of the deployment: a worker then holds it",
    reference="kernel: power/pm_qos_interface; tuned: force_latency",
)
def _dma(look: Look, _: Asked) -> Verdict:
    device = "/dev/cpu_dma_latency"
    if not look.root.exists(device):
        raise SkippedError(f"{device} is not here")
    holders = set()
    for link in look.root.names("/proc/[0-9]*/fd/*"):
        if look.root.link(link) == device:
            holders.add(link.split("/")[2])
    if holders:
        look.saw(f"/proc/{min(holders)}/comm")
        return good("held by process " + ", ".join(sorted(holders)))
    if look.kernel.uid():
        raise UnknownError("needs root to see what other processes hold open")
    return judge(right=False, observed="nobody holds it")


@check(
    "P07",
    "resume latency of the workers' CPUs",
    "power/pm_qos_resume_latency_us",
    "n/a or 10 us at most",
    "ask for a short resume latency per CPU",
    remedies=sysfs(_RESUME, "n/a"),
    reference="kernel: ABI/testing/sysfs-devices-power",
)
def _resume(look: Look, asked: Asked) -> Verdict:
    found = per_cpu(look, asked, _RESUME)
    right = all(
        text == "n/a" or (text.isdigit() and 0 < int(text) <= LATENCY_US_MAX)
        for text in found.values()
    )
    return judge(right, summary(found), "0 means that any latency is tolerated")


@check(
    "P08",
    "platform profile",
    "/sys/firmware/acpi/platform_profile",
    "performance",
    "choose the platform profile performance",
    remedies=sysfs("/sys/firmware/acpi/platform_profile", "performance"),
    reference="kernel: userspace-api/sysfs-platform_profile",
)
def _platform(look: Look, _: Asked) -> Verdict:
    profile = look.text("/sys/firmware/acpi/platform_profile")
    return judge(profile == "performance", profile)


@check(
    "P09",
    "PCIe power management",
    "/sys/module/pcie_aspm/parameters/policy",
    "performance",
    "boot with pcie_aspm.policy=performance",
    remedies=boot("pcie_aspm.policy=performance"),
    reference="kernel: admin-guide/kernel-parameters (pcie_aspm)",
)
def _aspm(look: Look, asked: Asked) -> Verdict:
    if not asked.network:
        raise SkippedError("no adapter uses the network")
    policy = look.chosen("/sys/module/pcie_aspm/parameters/policy")
    return judge(policy == "performance", policy, "links take microseconds to wake up")


@check(
    "P10",
    "no thermal throttling",
    "thermal_throttle/*_throttle_count",
    "no count grows",
    "better cooling, or a lower steady clock",
    profiles=EVERY,
    reference="kernel: ABI/testing/sysfs-devices-system-cpu",
    cost="probe",
)
def _thermal(look: Look, _: Asked) -> Verdict:
    pattern = CPUS + "/cpu[0-9]*/thermal_throttle/*_throttle_count"

    def read(view: Look) -> dict[str, int]:
        found = view.values(pattern)
        return {name: int(text) for name, text in found.items() if text.isdigit()}

    delta, probed = grown(look, read)
    total = sum(delta.values())
    if not probed:
        return good(f"{total} since boot")
    return judge(not total, f"{total} over the probe")


@check(
    "P11",
    "work queues are not bound for power",
    "/sys/module/workqueue/parameters/power_efficient",
    "N",
    "boot with workqueue.power_efficient=0",
    remedies=boot("workqueue.power_efficient=0"),
    reference="kernel: admin-guide/kernel-parameters (workqueue.power_efficient)",
)
def _workqueues(look: Look, _: Asked) -> Verdict:
    value = look.text("/sys/module/workqueue/parameters/power_efficient")
    return judge(value == "N", value)
