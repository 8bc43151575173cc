"""G: cgroup and systemd."""

from __future__ import annotations

import re

from byteord.deployment.profiles import ISOLATED_CORE
from byteord.deployment.topology import cpu_list
from byteord.doctor.checks.cpus import workers_cpus
from byteord.doctor.checks.memory import cgroup_file
from byteord.doctor.look import Look, parse_cpus, shared
from byteord.doctor.model import (
    EVERY,
    ISOLATED,
    Asked,
    SkippedError,
    UnknownError,
    Verdict,
    bad,
    good,
    judge,
)
from byteord.doctor.register import check, command, elsewhere, unit

UNIT = "byteord.service"
_MOUNTS = "/proc/self/mountinfo"
_EXPOSURE = re.compile(r"exposure level for .*: ([0-9.]+)")


def _not_private(asked: Asked) -> None:
    if asked.daemon.private:
        raise SkippedError("a private daemon: it was started by byteorctl, not by systemd")


@check(
    "G01",
    "one unified cgroup hierarchy",
    _MOUNTS,
    "cgroup2 at /sys/fs/cgroup, no controller elsewhere",
    "boot with systemd.unified_cgroup_hierarchy=1",
    reference="kernel: admin-guide/cgroup-v2",
)
def _unified(look: Look, __: Asked) -> Verdict:
    text = look.quiet(_MOUNTS)
    if text is None:
        text = look.text(_MOUNTS)
    look.saw(_MOUNTS)
    mounts = {}
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup") and len(fields.split()) > 4:  # noqa: PLR2004
            mounts[fields.split()[4]] = rest.split(" ")[0]
    if not mounts:
        raise SkippedError("no cgroup hierarchy is mounted here")
    old = [place for place, kind in mounts.items() if kind == "cgroup"]
    new = [place for place, kind in mounts.items() if kind == "cgroup2"]
    if old and new:
        return bad(f"hybrid: cgroup2 at {new[0]}", f"{len(old)} controllers are of version 1")
    return judge(new, f"cgroup2 at {new[0]}" if new else "version 1 only")


@check(
    "G02",
    "cpuset can be used",
    "/sys/fs/cgroup/cgroup.controllers, cgroup.subtree_control",
    "both contain cpuset",
    "Delegate=cpuset, or write +cpuset to cgroup.subtree_control",
    remedies=command("echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control"),
    profiles=ISOLATED,
    reference="kernel: admin-guide/cgroup-v2",
)
def _cpuset(look: Look, _: Asked) -> Verdict:
    have = look.text("/sys/fs/cgroup/cgroup.controllers").split()
    given = (look.maybe("/sys/fs/cgroup/cgroup.subtree_control") or "").split()
    observed = f"available: {'yes' if 'cpuset' in have else 'no'}, "
    observed += f"given to children: {'yes' if 'cpuset' in given else 'no'}"
    return judge("cpuset" in have and "cpuset" in given, observed)


@check(
    "G03",
    "our cgroup can be divided",
    "cgroup.procs of our cgroup",
    "writable",
    "Delegate=yes in the unit of the workers",
    remedies=unit("Delegate=cpuset"),
    profiles=ISOLATED,
    reference="systemd: CGROUP_DELEGATION",
)
def _subtree(look: Look, _: Asked) -> Verdict:
    path = cgroup_file(look, "cgroup.procs")
    look.saw(path)
    may = look.root.writable(path)
    return judge(may, "writable" if may else "not writable")


@check(
    "G04",
    "the isolated partition is valid",
    "cpuset.cpus.partition",
    "isolated, where a partition is used",
    "see the kernel's reason; often a sibling uses the same CPUs",
    profiles=ISOLATED,
    reference="kernel: admin-guide/cgroup-v2 (cpuset.cpus.partition)",
)
def _partition(look: Look, _: Asked) -> Verdict:
    found = {}
    for pattern in (
        "/sys/fs/cgroup/*/cpuset.cpus.partition",
        "/sys/fs/cgroup/*/*/cpuset.cpus.partition",
    ):
        for path in look.root.names(pattern):
            text = look.quiet(path) or ""
            if text.startswith("isolated"):
                found[path] = text
                look.saw(path, text)
    if not found:
        raise SkippedError("no isolated partition is here")
    broken = [text for text in found.values() if text != "isolated"]
    return judge(not broken, broken[0] if broken else f"{len(found)} valid")


@check(
    "G05",
    "the partition's CPUs are exclusive",
    "cpuset.cpus.exclusive.effective",
    "the workers' CPUs, where a partition is used",
    "give the CPUs to the parent cgroups' cpuset.cpus.exclusive",
    profiles=ISOLATED,
    reference="kernel: admin-guide/cgroup-v2 (cpuset.cpus.exclusive)",
)
def _exclusive(look: Look, asked: Asked) -> Verdict:
    if not asked.topology.partitions:
        raise SkippedError("no isolated partition is here")
    cpus: set[int] = set()
    for part in asked.topology.partitions:
        path = f"/sys/fs/cgroup{part.path}/cpuset.cpus.exclusive.effective"
        cpus |= set(parse_cpus(look.text(path), path))
    bare = sorted(set(workers_cpus(asked)) - cpus)
    return judge(not bare, cpu_list(tuple(cpus)) or "none", f"not {cpu_list(tuple(bare))}")


@check(
    "G06",
    "memory nodes of our cgroup",
    "cpuset.mems.effective",
    "the node of the workers among them",
    "AllowedMemoryNodes= in the unit",
    reference="kernel: admin-guide/cgroup-v2 (cpuset.mems)",
)
def _mems(look: Look, asked: Asked) -> Verdict:
    path = cgroup_file(look, "cpuset.mems.effective")
    nodes = parse_cpus(look.text(path), path)
    short = sorted(set(asked.nodes) - set(nodes))
    return judge(not short, cpu_list(nodes) or "none", f"not node {cpu_list(tuple(short))}")


@check(
    "G07",
    "our cgroup may not swap",
    "memory.swap.max",
    "0",
    "MemorySwapMax=0 in the unit",
    remedies=unit("MemorySwapMax=0"),
    reference="systemd.resource-control(5)",
)
def _swap(look: Look, _: Asked) -> Verdict:
    value = look.text(cgroup_file(look, "memory.swap.max"))
    return judge(value == "0", value)


@check(
    "G08",
    "systemd watches the daemon",
    "NOTIFY_SOCKET, WATCHDOG_USEC",
    "both in the daemon's environment",
    "Type=notify and WatchdogSec= in the unit (deploy/systemd)",
    remedies=unit("Type=notify", "WatchdogSec=30"),
    profiles=EVERY,
    reference="sd_notify(3)",
)
def _watched(look: Look, asked: Asked) -> Verdict:
    _not_private(asked)
    environ = look.kernel.environ()
    absent = [name for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC") if not environ.get(name)]
    return judge(not absent, f"without {' and '.join(absent)}" if absent else "both")


@check(
    "G09",
    "the daemon is killed late when memory runs out",
    "/proc/self/oom_score_adj",
    "-500 or lower",
    "OOMScoreAdjust=-500 in the unit",
    remedies=unit("OOMScoreAdjust=-500"),
    profiles=EVERY,
    reference="systemd.exec(5)",
)
def _oom(look: Look, asked: Asked) -> Verdict:
    _not_private(asked)
    value = look.number("/proc/self/oom_score_adj")
    return judge(value <= -500, value)  # noqa: PLR2004


@check(
    "G10",
    "the unit on disk is the one that runs",
    f"systemctl show {UNIT}",
    "NeedDaemonReload=no",
    "reload systemd",
    remedies=command("systemctl daemon-reload"),
    profiles=EVERY,
    reference="systemctl(1)",
    cost="tool",
)
def _drift(look: Look, asked: Asked) -> Verdict:
    _not_private(asked)
    said = look.kernel.tool("systemctl", "show", "-p", "NeedDaemonReload,LoadState", UNIT)
    if said is None or "NeedDaemonReload" not in said or "LoadState=loaded" not in said:
        raise SkippedError(f"systemd does not run here, or has no {UNIT}")
    reload = "NeedDaemonReload=yes" in said
    return judge(not reload, "changed on disk" if reload else "the same")


@check(
    "G11",
    "PID 1 and its children keep off",
    "Cpus_allowed_list in /proc/1/status",
    "none of the workers' CPUs",
    "CPUAffinity= in /etc/systemd/system.conf",
    remedies=elsewhere(
        lambda asked: command(
            "printf '[Manager]\\nCPUAffinity=%s\\n' "
            f"'{cpu_list(asked.housekeeping)}' >/etc/systemd/system.conf.d/byteor.conf"
        )(asked)
    ),
    profiles=ISOLATED,
    reference="systemd-system.conf(5); tuned: cpu-partitioning",
)
def _init(look: Look, asked: Asked) -> Verdict:
    listed = look.field("/proc/1/status", "Cpus_allowed_list")
    on = shared(parse_cpus(listed, "/proc/1/status"), workers_cpus(asked))
    alone = set(on) <= set(asked.topology.isolated)
    return judge(not on or alone, listed, f"workers' CPUs {cpu_list(on)} are in it")


@check(
    "G12",
    "exposure of the unit",
    f"systemd-analyze security {UNIT}",
    "at most 1.2; 2.0 with isolated-core",
    "take the unit of deploy/systemd",
    profiles=EVERY,
    reference="systemd-analyze(1), security",
    cost="tool",
)
def _exposure(look: Look, asked: Asked) -> Verdict:
    _not_private(asked)
    said = look.kernel.tool("systemd-analyze", "security", "--no-pager", UNIT) or ""
    found = _EXPOSURE.search(said)
    if not found:
        raise SkippedError(f"systemd does not run here, or has no {UNIT}")
    bound = 2.0 if asked.profile == ISOLATED_CORE else 1.2
    return judge(float(found[1]) <= bound, found[1], wanted=f"at most {bound}")


@check(
    "V01",
    "kind of machine",
    "/proc/cpuinfo, /sys/class/dmi/id, /proc/1/environ, systemd-detect-virt",
    "reported: bare metal, virtual machine or container",
    "measure: what a hypervisor does is not in these files",
    profiles=(),
    reference="systemd-detect-virt(1)",
    cost="tool",
)
def _kind(look: Look, _: Asked) -> Verdict:
    inside = any(map(look.root.exists, ("/.dockerenv", "/run/.containerenv")))
    name = look.maybe("/sys/class/dmi/id/sys_vendor") or ""
    product = look.maybe("/sys/class/dmi/id/product_name") or ""
    guest = " hypervisor" in (look.quiet("/proc/cpuinfo") or "")
    if look.quiet("/proc/cpuinfo") is None and not name:
        raise SkippedError("neither /proc/cpuinfo nor DMI is here")
    look.saw("/proc/cpuinfo")
    kind = "virtual machine" if guest else "bare metal"
    said = (look.kernel.tool("systemd-detect-virt") or "").strip()
    words = [f"container on a {kind}" if inside else kind, name, product, said]
    return good(", ".join(word for word in words if word and word != "none"))


@check(
    "V03",
    "limits of the container",
    "cpu.max, memory.max",
    "no CPU quota; memory for the regions",
    "give the container whole CPUs (a cpuset) rather than a quota",
    profiles=EVERY,
    reference="kernel: admin-guide/cgroup-v2 (cpu.max)",
)
def _container(look: Look, _: Asked) -> Verdict:
    quota = look.text(cgroup_file(look, "cpu.max"))
    return judge(quota.split()[:1] == ["max"], f"cpu.max {quota}", "a quota stops all at once")


@check(
    "V04",
    "where the virtual CPUs run",
    "/sys/devices/system/cpu/cpuidle/current_driver",
    "each on a CPU of its own, which only the host can tell",
    "ask whoever runs the host for vCPU pinning and host isolation",
    reference="kernel: virt/guest-halt-polling",
)
def _pinned(look: Look, _: Asked) -> Verdict:
    if " hypervisor" not in (look.quiet("/proc/cpuinfo") or ""):
        raise SkippedError("not a virtual machine")
    look.maybe("/sys/devices/system/cpu/cpuidle/current_driver")
    raise UnknownError("needs evidence from the host: a guest cannot see where its CPUs run")
