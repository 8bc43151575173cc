"""M: memory. What makes a touch of memory slow, and whether the regions fit."""

from __future__ import annotations

import operator

from byteord.doctor.look import Look, grown
from byteord.doctor.model import (
    EVERY,
    Asked,
    Judge,
    SkippedError,
    Verdict,
    bad,
    failed,
    good,
    judge,
)
from byteord.doctor.register import check, sysctl, sysfs, unit

VM = "/proc/sys/vm/"
THP = "/sys/kernel/mm/transparent_hugepage/"
CAP_IPC_LOCK = 14
SLACK_BYTES = 64 << 20
"""What a worker locks besides regions: its program, its libraries, its stacks."""
HUGE_BYTES = 2 << 20


def capability(look: Look, number: int) -> bool:
    """Tell whether this process has a capability."""
    return bool(int(look.field("/proc/self/status", "CapEff"), 16) >> number & 1)


def cgroup_file(look: Look, name: str) -> str:
    """Return a file of this process's cgroup; raises SkippedError without a unified hierarchy."""
    text = look.quiet("/proc/self/cgroup")
    if text is None:
        raise SkippedError("/proc/self/cgroup is not here")
    for line in text.splitlines():
        if line.startswith("0::"):
            for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
                path = f"{top}{line[3:].rstrip('/')}/{name}"
                if look.root.exists(path):
                    return path
    raise SkippedError(f"no {name}: this process is in the root cgroup, or there is no cgroup2")


@check(
    "M01",
    "regions may be locked",
    "Max locked memory in /proc/self/limits; CapEff",
    "the bytes of the regions and 64 MiB, or CAP_IPC_LOCK",
    "LimitMEMLOCK=infinity in the daemon's unit",
    remedies=unit("LimitMEMLOCK=infinity"),
    reference="mlockall(2); systemd.exec(5)",
)
def _memlock(look: Look, asked: Asked) -> Verdict:
    limit = look.field("/proc/self/limits", "Max locked memory").split()[0]
    if capability(look, CAP_IPC_LOCK):
        return good(f"limit {limit}, CAP_IPC_LOCK")
    need = asked.memory_bytes + SLACK_BYTES
    if limit == "unlimited" or int(limit) >= need:
        return good(f"limit {limit}")
    return failed(f"limit {limit}, no CAP_IPC_LOCK", f"{need} bytes are needed")


@check(
    "M03",
    "transparent huge pages",
    THP + "enabled",
    "never or madvise",
    "leave huge pages to those who ask for them",
    remedies=sysfs(THP + "enabled", "madvise"),
    reference="tuned: latency-performance; kernel: admin-guide/mm/transhuge",
)
def _thp(look: Look, _: Asked) -> Verdict:
    mode = look.chosen(THP + "enabled")
    return judge(mode in ("never", "madvise"), mode, "khugepaged moves pages under running code")


@check(
    "M04",
    "no memory is defragmented on a fault",
    THP + "defrag, khugepaged/defrag",
    "madvise, defer or never",
    "let nobody wait for compaction",
    remedies=sysfs(THP + "defrag", "madvise"),
    reference="kernel: admin-guide/mm/transhuge",
)
def _defrag(look: Look, _: Asked) -> Verdict:
    mode = look.chosen(THP + "defrag")
    daemon = look.maybe(THP + "khugepaged/defrag")
    return judge(mode != "always", f"{mode}, khugepaged {daemon}")


@check(
    "M05",
    "huge pages in shared memory",
    THP + "shmem_enabled",
    "advise, always or within_size where huge_pages = true; else reported",
    "let regions have huge pages",
    remedies=sysfs(THP + "shmem_enabled", "advise"),
    reference="kernel: admin-guide/mm/transhuge (shmem_enabled)",
)
def _shmem(look: Look, asked: Asked) -> Verdict:
    mode = look.chosen(THP + "shmem_enabled")
    refused = asked.huge_pages and mode in ("never", "deny")
    return judge(not refused, mode, "huge_pages = true has no effect")


@check(
    "M06",
    "no page merging",
    "/sys/kernel/mm/ksm/run",
    "0",
    "turn KSM off",
    remedies=sysfs("/sys/kernel/mm/ksm/run", "0"),
    reference="tuned: realtime; kernel: admin-guide/mm/ksm",
)
def _ksm(look: Look, _: Asked) -> Verdict:
    run = look.number("/sys/kernel/mm/ksm/run")
    return judge(run in (0, 2), run, "merged pages fault when written")


_SYSCTLS = (
    ("M08", "swappiness", "swappiness", "at most", 10, "keep anonymous pages", "rpk; tuned"),
    (
        "M10",
        "no reclaim within a node first",
        "zone_reclaim_mode",
        "exactly",
        0,
        "take memory of another node rather than reclaim",
        "kernel: admin-guide/sysctl/vm",
    ),
    (
        "M12",
        "no compaction ahead of need",
        "compaction_proactiveness",
        "exactly",
        0,
        "compact only when memory is short",
        "kernel: admin-guide/sysctl/vm",
    ),
    (
        "M16",
        "statistics are gathered rarely",
        "stat_interval",
        "at least",
        10,
        "gather memory statistics every ten seconds or less often",
        "tuned: cpu-partitioning (vm.stat_interval=10)",
    ),
)
_HOLDS = {"at most": operator.le, "at least": operator.ge, "exactly": operator.eq}


def _bounded(key: str, words: str, bound: int) -> Judge:
    def judge_key(look: Look, _: Asked) -> Verdict:
        seen = look.number(VM + key)
        return judge(_HOLDS[words](seen, bound), seen)

    return judge_key


for _code, _title, _key, _words, _bound, _fix, _reference in _SYSCTLS:
    check(
        _code,
        _title,
        VM + _key,
        f"{_words} {_bound}",
        _fix,
        remedies=sysctl(f"vm.{_key}", str(_bound)),
        reference=_reference,
    )(_bounded(_key, _words, _bound))


@check(
    "M09",
    "pages are not moved between nodes",
    "/proc/sys/kernel/numa_balancing",
    "0",
    "turn automatic NUMA balancing off",
    remedies=sysctl("kernel.numa_balancing", "0"),
    reference="tuned: network-latency (kernel.numa_balancing=0)",
)
def _balancing(look: Look, _: Asked) -> Verdict:
    value = look.number("/proc/sys/kernel/numa_balancing")
    return judge(value == 0, value, "it unmaps pages to see who touches them")


@check(
    "M11",
    "huge pages are free",
    "HugePages_Free in /proc/meminfo",
    "enough for the regions where huge_pages = true on a hugetlbfs directory",
    "reserve huge pages",
    remedies=lambda asked: sysctl("vm.nr_hugepages", str(-(-asked.memory_bytes // HUGE_BYTES) + 8))(
        asked
    ),
    profiles=EVERY,
    reference="kernel: admin-guide/mm/hugetlbpage; Aeron",
)
def _huge(look: Look, asked: Asked) -> Verdict:
    free = look.amount("/proc/meminfo", "HugePages_Free")
    if not asked.huge_pages:
        return good(f"{free} free, none asked for")
    if _mount_type(look, asked.daemon.regions) != "hugetlbfs":
        return good(f"{free} free; regions on a tmpfs take transparent ones (M05)")
    size = look.amount("/proc/meminfo", "Hugepagesize") * 1024
    need = -(-asked.memory_bytes // size)
    return judge(free >= need, f"{free} free", f"{need} are needed")


def _mount_type(look: Look, path: str) -> str:
    best, kind = -1, ""
    for line in (look.quiet("/proc/self/mountinfo") or "").splitlines():
        fields, _, rest = line.partition(" - ")
        words = fields.split()
        place = words[4] if len(words) > 4 else ""  # noqa: PLR2004
        inside = place and (path == place or path.startswith(place.rstrip("/") + "/"))
        if inside and len(place) >= best:
            best, kind = len(place), rest.split(" ")[0]
    return kind


@check(
    "M13",
    "the regions fit in memory",
    "MemAvailable in /proc/meminfo; memory.max",
    "the regions and a fifth more",
    "end other programs, or lower ring.capacity or ring.slot_bytes",
    profiles=EVERY,
    reference="rpk: memory checks",
)
def _fits(look: Look, asked: Asked) -> Verdict:
    free = look.amount("/proc/meminfo", "MemAvailable") * 1024
    need = asked.memory_bytes * 6 // 5
    observed = f"{free >> 20} MiB available, {asked.memory_bytes >> 20} MiB of regions"
    try:
        limit = look.text(cgroup_file(look, "memory.max"))
    except SkippedError:
        limit = "max"
    if limit.isdigit():
        observed += f", memory.max {int(limit) >> 20} MiB"
        free = min(free, int(limit))
    return good(observed) if free >= need else failed(observed, f"{need} bytes are needed")


@check(
    "M14",
    "the cgroup was never short of memory",
    "memory.events",
    "no event high, max or oom",
    "raise MemoryHigh= and MemoryMax= of the unit",
    remedies=unit("MemoryHigh=infinity"),
    profiles=EVERY,
    reference="kernel: admin-guide/cgroup-v2 (memory.events)",
)
def _events(look: Look, _: Asked) -> Verdict:
    path = cgroup_file(look, "memory.events")
    counts = {key: look.amount(path, key) for key in ("high", "max", "oom")}
    observed = ", ".join(f"{key} {count}" for key, count in counts.items())
    return judge(not any(counts.values()), observed, "pages were reclaimed from it")


@check(
    "M15",
    "no pressure on memory",
    "/proc/pressure/memory",
    "avg60=0.00",
    "end what takes the memory",
    profiles=EVERY,
    reference="kernel: accounting/psi",
)
def _pressure(look: Look, _: Asked) -> Verdict:
    said = look.field("/proc/pressure/memory", "some")
    value = said.partition("avg60=")[2].split(" ")[0]
    return judge(float(value or "x") == 0.0, f"some avg60={value}")


@check(
    "M17",
    "dirty pages are bounded in bytes",
    VM + "dirty_bytes, dirty_background_bytes",
    "bounds in bytes, so that writing back comes in small pieces",
    "bound dirty pages",
    remedies=lambda _: (
        *sysctl("vm.dirty_background_bytes", str(64 << 20))(_),
        *sysctl("vm.dirty_bytes", str(256 << 20))(_),
    ),
    reference="tuned: latency-performance (dirty_ratio)",
)
def _dirty(look: Look, _: Asked) -> Verdict:
    size, back = look.number(VM + "dirty_bytes"), look.number(VM + "dirty_background_bytes")
    if size and back:
        return good(f"{size}, background {back} bytes")
    ratio = look.number(VM + "dirty_ratio")
    return bad(f"dirty_ratio {ratio}, no bound in bytes", "a burst of writes waits for the disk")


@check(
    "M18",
    "memory maps",
    VM + "max_map_count",
    "four times the maps of this process, 65530 at least",
    "allow more maps",
    remedies=sysctl("vm.max_map_count", "262144"),
    profiles=EVERY,
    reference="kernel: admin-guide/sysctl/vm",
)
def _maps(look: Look, _: Asked) -> Verdict:
    most = look.number(VM + "max_map_count")
    mine = len((look.quiet("/proc/self/maps") or "").splitlines())
    return judge(most >= max(65530, 4 * mine), f"{most}, this process has {mine}")


@check(
    "M21",
    "no memory errors are corrected",
    "/sys/devices/system/edac/mc/*/ce_count",
    "no count grows",
    "replace the memory module",
    profiles=EVERY,
    reference="kernel: driver-api/edac",
    cost="probe",
)
def _ecc(look: Look, _: Asked) -> Verdict:
    def read(view: Look) -> dict[str, int]:
        found = view.values("/sys/devices/system/edac/mc/mc*/ce_count")
        return {name: int(text) for name, text in found.items() if text.isdigit()}

    delta, probed = grown(look, read)
    total = sum(delta.values())
    return judge(not probed or not total, f"{total} {'over the probe' if probed else 'so far'}")
