"""I: interrupts and other work of the kernel on the workers' CPUs."""

from __future__ import annotations

from byteord.deployment.profiles import ISOLATED_CORE
from byteord.deployment.topology import cpu_list
from byteord.doctor.checks.cpus import workers_cpus
from byteord.doctor.look import Look, grown, mask_cpus, parse_cpus, shared
from byteord.doctor.model import (
    ISOLATED,
    Asked,
    Remedy,
    SkippedError,
    UnknownError,
    Verdict,
    bad,
    good,
    judge,
)
from byteord.doctor.register import boot, check, command, elsewhere

RATE_MAX = 2.0
"""Interrupts a second on one isolated CPU: the residual tick, and one to spare."""
_WORKQUEUES = "/sys/devices/virtual/workqueue/"


def table(look: Look, path: str) -> dict[str, tuple[list[int], str]]:
    """Return the counts for each CPU column and the rest of each line of a table of counters."""
    lines = (look.quiet(path) or "").splitlines()
    if not lines:
        look.text(path)
        raise SkippedError(f"{path} is empty")
    look.saw(path)
    columns = [int(word[3:]) for word in lines[0].split() if word[3:].isdigit()]
    found = {}
    for line in lines[1:]:
        name, _, rest = line.partition(":")
        words = rest.split()
        counts = words[: len(columns)]
        if len(counts) == len(columns) and all(count.isdigit() for count in counts):
            by_cpu = dict(zip(columns, map(int, counts), strict=True))
            wide = [by_cpu.get(cpu, 0) for cpu in range(max(columns, default=-1) + 1)]
            found[name.strip()] = (wide, " ".join(words[len(columns) :]))
    return found


def _on(counts: list[int], cpus: tuple[int, ...]) -> int:
    return sum(counts[cpu] for cpu in cpus if cpu < len(counts))


@check(
    "I01",
    "irqbalance leaves the workers' CPUs alone",
    "/proc/*/comm; /etc/default/irqbalance",
    "not running, or IRQBALANCE_BANNED_CPULIST names the workers' CPUs",
    "ban the workers' CPUs in irqbalance's environment",
    remedies=lambda asked: command(
        f"echo IRQBALANCE_BANNED_CPULIST={cpu_list(asked.cpus)} >>/etc/default/irqbalance"
        " && systemctl restart irqbalance"
    )(asked),
    reference="irqbalance(1); tuned: cpu-partitioning; seastar perftune",
)
def _irqbalance(look: Look, asked: Asked) -> Verdict:
    comms = look.root.names("/proc/[0-9]*/comm")
    if not comms:
        raise SkippedError("/proc shows no process")
    running = [name for name in comms if look.root.text(name) == "irqbalance\n"]
    if not running:
        return good("not running")
    look.maybe(running[0])
    banned: set[int] = set()
    for path in ("/etc/default/irqbalance", "/etc/sysconfig/irqbalance"):
        for line in (look.quiet(path) or "").splitlines():
            key, _, value = line.strip().partition("=")
            value = value.strip("\"' ")
            if key == "IRQBALANCE_BANNED_CPULIST":
                banned |= set(parse_cpus(value, path))
            elif key == "IRQBALANCE_BANNED_CPUS":
                banned |= set(mask_cpus(value))
    bare = sorted(set(workers_cpus(asked)) - banned)
    observed = f"running, banned {cpu_list(tuple(banned)) or 'none'}"
    return judge(not bare, observed, "it may move interrupts onto workers")


@check(
    "I02",
    "interrupts are routed elsewhere",
    "/proc/irq/*/effective_affinity_list",
    "none to the workers' CPUs",
    "route interrupts to the other CPUs",
    remedies=elsewhere(
        lambda asked: command(
            "for irq in /proc/irq/[0-9]*; do "
            f"echo {cpu_list(asked.housekeeping)} 2>/dev/null >$irq/smp_affinity_list; done"
        )(asked)
    ),
    reference="kernel: core-api/irq/irq-affinity; seastar perftune; rpk",
)
def _affinity(look: Look, asked: Asked) -> Verdict:
    found = look.values("/proc/irq/[0-9]*/effective_affinity_list")
    cpus = workers_cpus(asked)
    on = {
        path.split("/")[3]: path
        for path, text in found.items()
        if text and shared(parse_cpus(text, path), cpus)
    }
    for path in list(on.values())[:4]:
        look.saw(path, found[path])
    listed = ", ".join(list(on)[:6])
    observed = f"{len(on)} of {len(found)}" + (f": {listed}" if on else "")
    return judge(not on, observed, "they may fire on workers' CPUs")


@check(
    "I03",
    "new interrupts go elsewhere",
    "/proc/irq/default_smp_affinity",
    "none of the workers' CPUs",
    "boot with irqaffinity=",
    remedies=boot("irqaffinity={rest}"),
    reference="kernel: core-api/irq/irq-affinity",
)
def _default(look: Look, asked: Asked) -> Verdict:
    text = look.text("/proc/irq/default_smp_affinity")
    on = shared(mask_cpus(text), workers_cpus(asked))
    return judge(not on, text, f"workers' CPUs {cpu_list(on)} are in it")


@check(
    "I04",
    "rate of interrupts on the workers' CPUs",
    "/proc/interrupts, twice",
    f"{RATE_MAX:g} a second at most on each isolated CPU",
    "isolate the CPUs (nohz_full), route interrupts elsewhere",
    profiles=ISOLATED,
    reference="rt-tests; kernel: admin-guide/cpu-isolation",
    cost="probe",
)
def _rate(look: Look, asked: Asked) -> Verdict:
    cpus = workers_cpus(asked)

    def read(view: Look) -> dict[str, int]:
        return {
            name: _on(counts, cpus) for name, (counts, _) in table(view, "/proc/interrupts").items()
        }

    delta, probed = grown(look, read)
    if not probed:
        return good(f"{sum(delta.values())} since boot")
    rate = sum(delta.values()) / max(look.elapsed_s, 1e-3) / len(cpus)
    most = sorted((item for item in delta.items() if item[1]), key=lambda item: -item[1])[:3]
    names = ", ".join(name for name, _ in most)
    observed = f"{rate:.0f}/s on each" + (f", most {names}" if most else "")
    if asked.profile != ISOLATED_CORE:
        return good(observed)
    return judge(rate <= RATE_MAX, observed, "each takes the CPU for microseconds")


@check(
    "I05",
    "soft interrupts on the workers' CPUs",
    "/proc/softirqs, twice",
    f"{RATE_MAX:g} a second at most on each isolated CPU",
    "move RPS and interrupts off the workers' CPUs",
    profiles=ISOLATED,
    reference="kernel: core-api/irq",
    cost="probe",
)
def _soft(look: Look, asked: Asked) -> Verdict:
    cpus = workers_cpus(asked)

    def read(view: Look) -> dict[str, int]:
        return {
            name: _on(counts, cpus) for name, (counts, _) in table(view, "/proc/softirqs").items()
        }

    delta, probed = grown(look, read)
    if not probed:
        return good(f"{sum(delta.values())} since boot")
    rate = sum(delta.values()) / max(look.elapsed_s, 1e-3) / len(cpus)
    return judge(rate <= RATE_MAX, f"{rate:.0f}/s on each")


@check(
    "I06",
    "unbound kernel work keeps off",
    _WORKQUEUES + "cpumask, writeback/cpumask",
    "none of the workers' CPUs",
    "take the workers' CPUs out of the masks",
    remedies=elsewhere(
        lambda asked: (
            Remedy("sysfs", _WORKQUEUES + "cpumask", _mask(asked.housekeeping)),
            Remedy("sysfs", _WORKQUEUES + "writeback/cpumask", _mask(asked.housekeeping)),
        )
    ),
    reference="kernel: core-api/workqueue; tuned: cpu-partitioning",
)
def _workqueue(look: Look, asked: Asked) -> Verdict:
    masks = [look.text(_WORKQUEUES + "cpumask")]
    back = look.maybe(_WORKQUEUES + "writeback/cpumask")
    masks += [back] if back else []
    on = {cpu for text in masks for cpu in shared(mask_cpus(text), workers_cpus(asked))}
    return judge(not on, ", ".join(masks), f"workers' CPUs {cpu_list(tuple(on))} are in it")


def _mask(cpus: tuple[int, ...]) -> str:
    bits = sum(1 << cpu for cpu in cpus)
    words = []
    while bits:
        words.append(f"{bits & 0xFFFFFFFF:x}" if bits < 1 << 32 else f"{bits & 0xFFFFFFFF:08x}")
        bits >>= 32
    return ",".join(reversed(words))


@check(
    "I07",
    "no managed interrupt on the workers' CPUs",
    "/proc/interrupts of multi-queue devices; /proc/irq/*/effective_affinity_list",
    "none: the kernel, not the operator, routes these",
    "boot with isolcpus=managed_irq,...",
    remedies=boot("isolcpus=managed_irq,domain,{cpus}"),
    profiles=ISOLATED,
    reference="kernel: admin-guide/kernel-parameters (isolcpus=managed_irq)",
)
def _managed(look: Look, asked: Asked) -> Verdict:
    lines = table(look, "/proc/interrupts")
    queues = {
        irq: rest.split()[-1]
        for irq, (_, rest) in lines.items()
        if irq.isdigit()
        and any(word in rest for word in ("nvme", "virtio", "-TxRx-", "mpt", "q"))
        and rest.split()
        and rest.split()[-1][-1:].isdigit()
    }
    on = []
    for irq, name in queues.items():
        text = look.quiet(f"/proc/irq/{irq}/effective_affinity_list") or ""
        if text and shared(parse_cpus(text, "effective_affinity_list"), workers_cpus(asked)):
            on.append(name)
            look.saw(f"/proc/irq/{irq}/effective_affinity_list", text)
    observed = f"{len(on)} of {len(queues)} queues" + (f": {', '.join(on[:4])}" if on else "")
    return judge(not on, observed)


@check(
    "I08",
    "machine checks are not polled",
    "machinecheck*/{ignore_ce,check_interval}",
    "ignore_ce 1, or check_interval 0",
    "do not poll for corrected errors on every CPU",
    remedies=boot("mce=ignore_ce"),
    profiles=ISOLATED,
    reference="tuned: cpu-partitioning; kernel: arch/x86/x86_64/machinecheck",
)
def _machine_checks(look: Look, _: Asked) -> Verdict:
    base = "/sys/devices/system/machinecheck/machinecheck0/"
    ignore, interval = look.number(base + "ignore_ce"), look.maybe(base + "check_interval")
    right = ignore == 1 or interval == "0"
    return judge(right, f"ignore_ce {ignore}, check_interval {interval}")


@check(
    "I09",
    "disk interrupts are routed elsewhere",
    "/proc/interrupts, lines of disks",
    "none to the workers' CPUs",
    "route them to the other CPUs",
    reference="rpk: disk_irq tuner; seastar perftune",
)
def _disks(look: Look, asked: Asked) -> Verdict:
    lines = table(look, "/proc/interrupts")
    words = ("nvme", "ahci", "scsi", "virtio-blk", "megasas", "mpt3sas", "virtio0-req")
    irqs = [irq for irq, (_, rest) in lines.items() if any(word in rest for word in words)]
    if not irqs:
        raise SkippedError("no interrupt of a disk is known by its name")
    on = []
    for irq in irqs:
        text = look.quiet(f"/proc/irq/{irq}/effective_affinity_list") or ""
        if text and shared(parse_cpus(text, "effective_affinity_list"), workers_cpus(asked)):
            on.append(irq)
    return judge(not on, f"{len(on)} of {len(irqs)}")


@check(
    "I10",
    "system management interrupts",
    "/dev/cpu/0/msr (MSR 0x34)",
    "none while the machine runs",
    "turn power and USB emulation features of the firmware off",
    profiles=ISOLATED,
    reference="Intel SDM vol. 4 (MSR_SMI_COUNT); rtla hwnoise",
)
def _smi(look: Look, _: Asked) -> Verdict:
    if not look.root.exists("/dev/cpu/0/msr"):
        raise SkippedError("/dev/cpu/0/msr is not here (module msr)")
    try:
        with open(look.root.path("/dev/cpu/0/msr"), "rb", buffering=0) as file:
            file.seek(0x34)
            count = int.from_bytes(file.read(8), "little")
    except PermissionError:
        raise UnknownError("needs CAP_SYS_RAWIO to read MSR 0x34") from None
    except OSError:
        raise SkippedError("this CPU has no count of them (MSR 0x34)") from None
    reason = "the firmware took the CPUs away; hwnoise prices it"
    return good(count) if not count else bad(f"{count} since boot", reason)
