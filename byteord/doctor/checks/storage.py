"""D: storage and shared memory."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

from byteord.doctor.checks.measured import FSYNC_P99_US_MAX, part
from byteord.doctor.look import Look
from byteord.doctor.model import (
    EVERY,
    Asked,
    Remedy,
    SkippedError,
    UnknownError,
    Verdict,
    bad,
    failed,
    good,
    judge,
)
from byteord.doctor.register import check, command
from byteord.errors import RegionError
from byteord.regions.reader import RunReader

MOUNTS = "/proc/self/mountinfo"
JOURNAL_BYTES = 10 << 30
_SHARED = ("tmpfs", "hugetlbfs")
_LOCAL = ("ext4", "xfs", "btrfs", "zfs", "f2fs")
_REFUSED = ("nfs", "nfs4", "overlay", "cifs", "smb3", "9p", "virtiofs")
RUNS_MAX = 64


@dataclass(frozen=True, slots=True)
class Mount:
    """The mount that holds a path, as mountinfo says."""

    place: str
    kind: str
    options: tuple[str, ...]


def mount_of(look: Look, path: str) -> Mount:
    """Return the mount of a path; raises SkippedError where mountinfo is not to be had."""
    text = look.quiet(MOUNTS)
    if text is None:
        text = look.text(MOUNTS)
    best = None
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        words, more = fields.split(), rest.split()
        if len(words) < 6 or len(more) < 3:  # noqa: PLR2004
            continue
        place = words[4]
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and (best is None or len(place) >= len(best.place)):
            best = Mount(place, more[0], (*words[5].split(","), *more[2].split(",")))
    if best is None:
        raise SkippedError(f"{MOUNTS} has no mount that holds {path}")
    look.saw(MOUNTS)
    return best


def _remount(asked: Asked, options: str) -> tuple[Remedy, ...]:
    """Return the command that mounts the regions' file system anew, wherever that is."""
    target = f'"$(findmnt -n -o TARGET --target {shlex.quote(asked.daemon.regions)})"'
    return command(f"mount -o remount,{options} {target}")(asked)


def _directory(path: str) -> str:
    if not path:
        raise SkippedError("no such directory is configured")
    return path


def _runs(look: Look, asked: Asked) -> str:
    return f"{asked.daemon.regions.rstrip('/')}/byteor-{look.kernel.uid()}"


@check(
    "D01",
    "regions lie in memory",
    MOUNTS,
    "tmpfs or hugetlbfs",
    "set paths.regions to a tmpfs, such as /dev/shm",
    profiles=EVERY,
    reference="tmpfs(5); Aeron",
)
def _memory(look: Look, asked: Asked) -> Verdict:
    mount = mount_of(look, asked.daemon.regions)
    observed = f"{asked.daemon.regions}: {mount.kind}"
    return good(observed) if mount.kind in _SHARED else failed(observed, "every store may wait")


@check(
    "D02",
    "room for the regions",
    "statvfs of the regions' directory",
    "what the spec needs and a fifth more",
    "enlarge the tmpfs (mount -o remount,size=), or lower ring.capacity",
    remedies=lambda asked: _remount(asked, f"size={max(1, asked.memory_bytes >> 29)}G"),
    profiles=EVERY,
    reference="tmpfs(5)",
)
def _room(look: Look, asked: Asked) -> Verdict:
    space = look.kernel.space(asked.daemon.regions)
    if space is None:
        raise UnknownError(f"the room of {asked.daemon.regions} is not to be had")
    need = asked.memory_bytes * 6 // 5
    observed = f"{space.free_bytes >> 20} MiB free of {space.total_bytes >> 20}"
    if space.free_bytes >= need:
        return good(observed)
    return failed(observed, f"{need >> 20} MiB are needed")


@check(
    "D03",
    "regions belong to the daemon alone",
    "owner and mode of byteor-UID",
    "the daemon's user, nothing for others",
    "remove the directory, or give it to the daemon's user with mode 0700",
    profiles=EVERY,
    reference="byteor: data plane, regions",
)
def _owner(look: Look, asked: Asked) -> Verdict:
    path = _runs(look, asked)
    mode = look.kernel.mode(path)
    if mode is None:
        raise SkippedError(f"{path} is not here: no run has been")
    observed = f"uid {mode.uid}, mode {mode.mode:04o}"
    right = mode.uid == look.kernel.uid() and not mode.mode & 0o007 and not mode.link
    return good(observed) if right else failed(observed, "somebody else may reach it")


def _run_names(look: Look, asked: Asked) -> list[str]:
    names = look.root.names(f"{_runs(look, asked)}/*")
    if not names:
        raise SkippedError("no run directory is here")
    return list(names)[:RUNS_MAX]


@check(
    "D04",
    "no run directory is left over",
    "run directories; /proc/*/maps",
    "each is mapped by a live process, or known to the daemon",
    "start the daemon, which adopts or sweeps them; then remove what is left",
    profiles=EVERY,
    reference="byteor: data plane, regions; Aeron: stale driver detection",
)
def _stale(look: Look, asked: Asked) -> Verdict:
    names = _run_names(look, asked)
    mapped: set[str] = set()
    for path in look.root.names("/proc/[0-9]*/maps"):
        text = look.root.text(path) or ""
        mapped |= {name for name in names if name + "/" in text}
    stale = [
        name
        for name in names
        if name not in mapped and os.path.basename(name) not in asked.daemon.runs
    ]
    listed = ", ".join(os.path.basename(name) for name in stale[:3])
    observed = f"{len(stale)} of {len(names)}" + (f": {listed}" if listed else "")
    return judge(not stale, observed, "they hold memory that nobody uses")


@check(
    "D05",
    "existing regions have a layout that is read here",
    "headers of the regions",
    "every one of them",
    "finish those runs with the byteor that started them, or remove them",
    profiles=EVERY,
    reference="byteor: data plane, regions",
)
def _layout(look: Look, asked: Asked) -> Verdict:
    names = _run_names(look, asked)
    broken = []
    for name in names:
        try:
            RunReader(look.root.path(name)).close()
        except RegionError as error:
            broken.append(f"{os.path.basename(name)}: {error.message[:80]}")
    return judge(not broken, broken[0] if broken else f"{len(names)} runs, all readable")


@check(
    "D06",
    "regions cannot be swapped out",
    MOUNTS,
    "option noswap (kernel 6.4), or mlock = true",
    "mount the tmpfs with noswap, or lock the regions",
    remedies=lambda asked: _remount(asked, "noswap"),
    reference="tmpfs(5), noswap",
)
def _noswap(look: Look, asked: Asked) -> Verdict:
    mount = mount_of(look, asked.daemon.regions)
    if mount.kind != "tmpfs":
        raise SkippedError(f"{asked.daemon.regions} is no tmpfs")
    if "noswap" in mount.options:
        return good("noswap")
    if not (look.quiet("/proc/swaps") or "").splitlines()[1:]:
        return good("no swap area is in use")
    return judge(asked.mlock, "swappable" + (", locked by workers" if asked.mlock else ""))


@check(
    "D07",
    "journals and audit lie on a local disk",
    MOUNTS,
    "ext4, xfs or another local file system; no network, overlay or FUSE",
    "set paths.state to a directory on a local disk",
    profiles=EVERY,
    reference="rpk: disk checks",
)
def _journal(look: Look, asked: Asked) -> Verdict:
    mount = mount_of(look, _directory(asked.daemon.state_dir))
    observed = f"{asked.daemon.state_dir}: {mount.kind}"
    if mount.kind in _REFUSED or mount.kind.startswith("fuse"):
        return failed(observed, "its fsync promises less than a disk's")
    return judge(mount.kind in _LOCAL, observed, "gone with a reboot, or not known")


@check(
    "D08",
    "room for journals and audit",
    "statvfs of the state directory",
    f"{JOURNAL_BYTES >> 30} GiB and 10,000 files free",
    "free some, or set paths.state to a larger disk",
    profiles=EVERY,
    reference="rpk; Vault diagnose",
)
def _journal_room(look: Look, asked: Asked) -> Verdict:
    space = look.kernel.space(_directory(asked.daemon.state_dir))
    if space is None:
        raise SkippedError(f"{asked.daemon.state_dir} is not here yet")
    observed = f"{space.free_bytes / (1 << 30):.1f} GiB, {space.files_free} files free"
    files = space.files_free >= 10_000 or space.files == 0  # noqa: PLR2004
    return judge(space.free_bytes >= JOURNAL_BYTES and files, observed)


@check(
    "D09",
    "an fsync is quick",
    "100 writes of 4 KiB in the state directory, with --measure",
    "p99 at most 10 ms",
    "a disk with power-loss protection; journals on a disk of their own",
    profiles=EVERY,
    reference="byteor: measured as Z06",
    cost="measure",
)
def _fsync(_: Look, asked: Asked) -> Verdict:
    found = part(asked, "fsync")
    p99 = found["p99_us"]
    return judge(p99 <= FSYNC_P99_US_MAX, f"p99 {p99:.0f} us in {found['directory']}")


def _queue(look: Look, name: str) -> dict[str, str]:
    """Return a file of the queue of each disk that is no loop or ram device."""
    found = {}
    for path in look.names("/sys/block/*/queue/" + name):
        device = path.split("/")[3]
        if not device.startswith(("loop", "ram", "zram", "dm-", "sr")):
            text = look.maybe(path)
            if text is not None:
                found[device] = text
    if not found:
        raise SkippedError("no disk is here")
    return found


@check(
    "D10",
    "disk scheduler",
    "/sys/block/*/queue/{scheduler,nomerges}",
    "none",
    "let the disk order its requests",
    remedies=lambda _: (Remedy("sysfs", "/sys/block/*/queue/scheduler", "none"),),
    reference="rpk: disk_scheduler and disk_nomerges tuners; seastar perftune",
)
def _scheduler(look: Look, _: Asked) -> Verdict:
    chosen = {
        device: text.partition("[")[2].partition("]")[0] or text
        for device, text in _queue(look, "scheduler").items()
    }
    observed = ", ".join(f"{device} {name}" for device, name in chosen.items())
    return judge(set(chosen.values()) <= {"none"}, observed)


@check(
    "D11",
    "write caches are known",
    "/sys/block/*/queue/{write_cache,fua}",
    "reported: with write back, an fsync must reach the disk",
    "see what the disk promises about power loss",
    profiles=(),
    reference="kernel: block/writeback_cache_control; rpk",
)
def _write_cache(look: Look, _: Asked) -> Verdict:
    found = _queue(look, "write_cache")
    return good(", ".join(f"{device} {text}" for device, text in found.items()))


@check(
    "D12",
    "flash disks are trimmed",
    "systemctl is-enabled fstrim.timer; /sys/block/*/queue/rotational",
    "the timer is enabled where there is flash",
    "enable fstrim.timer",
    remedies=command("systemctl enable --now fstrim.timer"),
    profiles=EVERY,
    reference="fstrim(8); rpk: fstrim tuner",
    cost="tool",
)
def _trim(look: Look, _: Asked) -> Verdict:
    if "0" not in _queue(look, "rotational").values():
        raise SkippedError("no flash disk is here")
    said = (look.kernel.tool("systemctl", "is-enabled", "fstrim.timer") or "").strip()
    if said not in ("enabled", "disabled", "static", "masked"):
        raise SkippedError("systemd does not run here")
    return judge(said in ("enabled", "static"), said)


@check(
    "D13",
    "asynchronous input and output",
    "/proc/sys/fs/aio-max-nr, /proc/sys/kernel/io_uring_disabled",
    "usable",
    "allow io_uring, or more aio requests",
    profiles=(),
    reference="io_uring_setup(2); rpk: aio_events tuner",
)
def _asynchronous(look: Look, _: Asked) -> Verdict:
    requests = look.number("/proc/sys/fs/aio-max-nr")
    ring = look.maybe("/proc/sys/kernel/io_uring_disabled")
    return good(f"aio-max-nr {requests}, io_uring_disabled {ring}")


@check(
    "D14",
    "mount options of the regions",
    MOUNTS,
    "rw, nosuid and nodev",
    "remount with nosuid,nodev,noexec",
    remedies=lambda asked: _remount(asked, "nosuid,nodev,noexec"),
    profiles=EVERY,
    reference="mount(8)",
)
def _options(look: Look, asked: Asked) -> Verdict:
    mount = mount_of(look, asked.daemon.regions)
    observed = ",".join(dict.fromkeys(mount.options))[:80]
    if "ro" in mount.options:
        return failed(observed, "it is read-only")
    absent = [name for name in ("nosuid", "nodev") if name not in mount.options]
    return bad(observed, f"without {' and '.join(absent)}") if absent else good(observed)
