"""C: the CPUs of the workers and where they lie."""

from __future__ import annotations

from byteord.deployment.topology import cpu_list
from byteord.doctor.look import Look, parse_cpus
from byteord.doctor.model import (
    EVERY,
    ISOLATED,
    Asked,
    SkippedError,
    UnknownError,
    Verdict,
    bad,
    failed,
    good,
    judge,
)
from byteord.doctor.register import boot, check, unit

CPUS = "/sys/devices/system/cpu"
PARTITION_FIX = "make an isolated cpuset partition of them, or boot with isolcpus="


def workers_cpus(asked: Asked) -> tuple[int, ...]:
    """Return the workers' CPUs; raises SkippedError when there are none."""
    if not asked.cpus:
        raise SkippedError("no CPU is meant for workers")
    return asked.cpus


@check(
    "C01",
    "the workers' CPUs are online",
    CPUS + "/online",
    "every one of them",
    "name CPUs in tuning.pin that are online",
    profiles=EVERY,
    reference="byteor: tuning profiles",
)
def _online(look: Look, asked: Asked) -> Verdict:
    online = look.cpus(CPUS + "/online")
    gone = sorted(set(workers_cpus(asked)) - set(online))
    observed = f"online {cpu_list(online)}"
    return failed(observed, f"offline: {cpu_list(tuple(gone))}") if gone else good(observed)


@check(
    "C02",
    "the workers' CPUs are allowed",
    "sched_getaffinity; Cpus_allowed_list in /proc/self/status",
    "the daemon may use every one of them",
    "widen AllowedCPUs= of the daemon's unit or the cpuset of its cgroup",
    remedies=lambda asked: unit(f"AllowedCPUs={cpu_list(_all(asked))}")(asked),
    profiles=EVERY,
    reference="systemd.resource-control(5), AllowedCPUs=",
)
def _allowed(look: Look, asked: Asked) -> Verdict:
    listed = look.field("/proc/self/status", "Cpus_allowed_list")
    allowed = set(look.kernel.affinity()) or set(parse_cpus(listed, "Cpus_allowed_list"))
    reach = allowed | {cpu for part in asked.topology.partitions for cpu in part.cpus}
    short = sorted(set(workers_cpus(asked)) - reach)
    observed = f"allowed {listed}"
    return failed(observed, f"not {cpu_list(tuple(short))}") if short else good(observed)


def _all(asked: Asked) -> tuple[int, ...]:
    return tuple(cpu.number for cpu in asked.topology.cpus)


@check(
    "C03",
    "a CPU for each busy worker",
    "the plan of the spec; " + CPUS + "/online",
    "no more spinning workers than CPUs for them",
    'use fewer workers (fuse = "always", fewer shards), or wait = "backoff"',
    profiles=EVERY,
    reference="Aeron: one busy agent thread per core",
)
def _spinners(look: Look, asked: Asked) -> Verdict:
    look.maybe(CPUS + "/online")
    cpus = len(workers_cpus(asked))
    observed = f"{asked.busy} busy threads, {cpus} CPUs"
    if asked.busy <= cpus:
        return good(observed)
    if asked.wait == "spin":
        return failed(observed, "spinning workers would starve each other")
    return bad(observed, "they share CPUs")


@check(
    "C04",
    "CPUs are left to everything else",
    CPUS + "/online",
    "at least one, and one on each node that has workers",
    "give the workers fewer CPUs",
    reference="kernel: admin-guide/cpu-isolation (housekeeping)",
)
def _housekeeping(look: Look, asked: Asked) -> Verdict:
    look.maybe(CPUS + "/online")
    workers_cpus(asked)
    rest = asked.housekeeping
    if not rest:
        return bad("none", "daemon, interrupts and workers share every CPU")
    nodes = {cpu.node for cpu in asked.topology.cpus if cpu.number in rest}
    bare = [node for node in asked.nodes if node not in nodes]
    return judge(not bare, cpu_list(rest), f"none on node {', '.join(map(str, bare))}")


@check(
    "C05",
    "the workers' CPUs are isolated",
    CPUS + "/isolated; cpuset.cpus.isolated",
    "every one of them",
    PARTITION_FIX,
    remedies=boot("isolcpus=managed_irq,domain,{cpus}"),
    profiles=ISOLATED,
    reference="kernel: admin-guide/cpu-isolation",
)
def _isolated(look: Look, asked: Asked) -> Verdict:
    booted = look.cpus(CPUS + "/isolated")
    dynamic = look.maybe("/sys/fs/cgroup/cpuset.cpus.isolated") or ""
    parts = {cpu for part in asked.topology.partitions for cpu in part.cpus}
    isolated = {*booted, *parse_cpus(dynamic, "cpuset.cpus.isolated"), *parts}
    bare = sorted(set(workers_cpus(asked)) - isolated)
    observed = f"isolated {cpu_list(tuple(isolated)) or 'none'}"
    return judge(not bare, observed, f"not {cpu_list(tuple(bare))}")


@check(
    "C06",
    "the workers' CPUs are tickless",
    CPUS + "/nohz_full",
    "every one of them",
    "boot with nohz_full= and rcu_nocbs=",
    remedies=boot("nohz_full={cpus}", "rcu_nocbs={cpus}"),
    profiles=ISOLATED,
    reference="kernel: timers/no_hz",
)
def _tickless(look: Look, asked: Asked) -> Verdict:
    tickless = look.cpus(CPUS + "/nohz_full")
    bare = sorted(set(workers_cpus(asked)) - set(tickless))
    observed = f"nohz_full {cpu_list(tickless) or 'none'}"
    return judge(not bare, observed, f"not {cpu_list(tuple(bare))}")


@check(
    "C07",
    "siblings of the workers' cores are idle",
    "smt/active, topology/thread_siblings_list",
    "offline, or not used by anything else",
    "boot with nosmt, or take the siblings offline",
    remedies=boot("nosmt"),
    reference="kernel: admin-guide/cpu-isolation; rpk",
)
def _siblings(look: Look, asked: Asked) -> Verdict:
    active = look.maybe(CPUS + "/smt/active")
    if active == "0":
        return good("SMT is off")
    online = {cpu.number for cpu in asked.topology.cpus}
    idle: set[int] = set()
    for cpu in workers_cpus(asked):
        siblings = look.maybe(f"{CPUS}/cpu{cpu}/topology/thread_siblings_list")
        if siblings:
            idle |= set(parse_cpus(siblings, "thread_siblings_list")) - set(asked.cpus)
    noisy = tuple(sorted(idle & online - set(asked.topology.isolated)))
    observed = f"siblings {cpu_list(noisy)} are open to other tasks" if noisy else "none is open"
    return judge(not noisy, observed, "a busy sibling takes half of the core")


@check(
    "C08",
    "CPU 0 is left alone",
    CPUS + "/online",
    "not a worker's",
    "start tuning.pin at CPU 1",
    reference="byteor: CPU 0 takes interrupts and timers that nothing else takes",
)
def _cpu0(look: Look, asked: Asked) -> Verdict:
    look.maybe(CPUS + "/online")
    taken = 0 in workers_cpus(asked)
    return judge(not taken, f"workers on {cpu_list(asked.cpus)}", "CPU 0 is among them")


@check(
    "C09",
    "one NUMA node",
    "/sys/devices/system/node/node*/cpulist",
    "all workers of a pipeline on one",
    "name CPUs of one node in tuning.pin",
    profiles=EVERY,
    reference="tuned: numa guidance; Aeron",
)
def _node(look: Look, asked: Asked) -> Verdict:
    lists = look.names("/sys/devices/system/node/node*/cpulist")
    for name in lists[:4]:
        look.maybe(name)
    nodes = asked.nodes
    workers_cpus(asked)
    observed = f"node {', '.join(map(str, nodes))} of {len(lists)}"
    return judge(len(nodes) == 1, observed, "hand-overs cross the interconnect")


@check(
    "C10",
    "neighbours share a last-level cache",
    "cache/index*/shared_cpu_list",
    "both CPUs of each hand-over",
    "name CPUs of one cache in tuning.pin",
    reference="Aeron; byteor: a hand-over costs a cache-line trip",
)
def _cache(look: Look, asked: Asked) -> Verdict:
    if not asked.pairs:
        raise SkippedError("the plan has no hand-over between CPUs")
    for one, _ in asked.pairs[:4]:
        look.maybe(f"{CPUS}/cpu{one}/cache/index3/shared_cpu_list")
    cache = {cpu.number: cpu.cache for cpu in asked.topology.cpus}
    apart = [f"{a} and {b}" for a, b in asked.pairs if cache.get(a) != cache.get(b)]
    observed = f"{len(asked.pairs) - len(apart)} of {len(asked.pairs)} pairs share one"
    return judge(not apart, observed, f"CPUs {', '.join(apart)} do not")


@check(
    "C11",
    "workers on one class of cores",
    "/sys/devices/cpu_{core,atom}/cpus, cpu_capacity",
    "all on the fast ones",
    "name performance cores in tuning.pin",
    reference="kernel: cpu_capacity; Intel hybrid",
)
def _hybrid(look: Look, asked: Asked) -> Verdict:
    look.maybe("/sys/devices/cpu_core/cpus")
    look.maybe("/sys/devices/cpu_atom/cpus")
    ranks = {cpu.number: cpu.rank for cpu in asked.topology.cpus}
    if len(set(ranks.values())) < 2:  # noqa: PLR2004
        return good("all cores are alike")
    slow = tuple(cpu for cpu in workers_cpus(asked) if ranks.get(cpu, 0))
    return judge(not slow, f"slow cores among the workers': {cpu_list(slow) or 'none'}")


@check(
    "C15",
    "network cards on the workers' node",
    "/sys/class/net/*/device/numa_node",
    "the node of the workers",
    "choose CPUs of the card's node",
    reference="seastar perftune; Aeron",
)
def _card(look: Look, asked: Asked) -> Verdict:
    if not asked.network:
        raise SkippedError("no adapter uses the network")
    nodes = look.values("/sys/class/net/*/device/numa_node")
    for name in list(nodes)[:4]:
        look.maybe(name)
    far = [
        name.split("/")[4]
        for name, node in nodes.items()
        if node != "-1" and node not in map(str, asked.nodes)
    ]
    return judge(not far, f"{len(nodes)} cards, elsewhere: {', '.join(far) or 'none'}")


@check(
    "C16",
    "cache allocation",
    "/sys/fs/resctrl",
    "reported; a share of the last-level cache can be kept for workers",
    "see resctrl in the kernel's documentation",
    profiles=(),
    reference="kernel: arch/x86/resctrl",
)
def _resctrl(look: Look, _: Asked) -> Verdict:
    return good(look.text("/sys/fs/resctrl/schemata"))


@check(
    "C17",
    "split locks are mitigated, and none happen",
    "/proc/sys/kernel/split_lock_mitigate; dmesg",
    "no split lock",
    "correct the code that makes them: each stops every CPU's memory access",
    profiles=EVERY,
    reference="kernel: arch/x86/buslock",
    cost="tool",
)
def _split_lock(look: Look, _: Asked) -> Verdict:
    mitigated = look.number("/proc/sys/kernel/split_lock_mitigate")
    log = look.kernel.tool("dmesg")
    if log is None or "Operation not permitted" in log:
        raise UnknownError("needs CAP_SYSLOG to read the kernel's log")
    traps = sum("split_lock trap" in line or "bus_lock" in line for line in log.splitlines())
    observed = f"split_lock_mitigate {mitigated}"
    return judge(not traps, observed, f"{traps} split locks in the kernel's log")
