"""Reading back: every knob against the files of a host that is made up for the case."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from byteord.deployment.plan import TuningPlan
from byteord.tuning.knobs import APPLIED, DEGRADED, FAILED, KNOBS, Knob
from byteord.tuning.monitor import Monitor, read_report, write_report
from byteord.tuning.readback import Asked, Reader
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import cgroup2_mount, read_topology
from tests.unit.tuning.test_plan import chain_plan

PID = 4242
STAT = (
    "4242 (byteor-w0) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 {nice} 1 0 9 9 9 9 {rest} {rt} {policy} 0"
)
REST = " ".join(["0"] * 14)
SMAPS = """\
7f0000000000-7f0000200000 rw-s 00000000 00:01 7 /dev/shm/byteor-0/r/ring-0
Size:               2048 kB
Rss:                {rss} kB
ShmemPmdMapped:     {huge} kB
7f1000000000-7f1000001000 rw-p 00000000 00:00 0
Size:                  4 kB
Rss:                   0 kB
"""
SEEN = {"nice": "0", "timer_slack": "1", "regions": "7f0000000000", "huge_kb": "2048"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a host on which the worker 4242 has all that it can have."""
    task = tmp_path / f"proc/{PID}/task/{PID}"
    task.mkdir(parents=True)
    proc = task.parents[1]
    status = "Name:\tx\nCpus_allowed_list:\t2-3\nVmLck:\t  4096 kB\n"
    (proc / "status").write_text(status)
    (task / "status").write_text(status)
    (task / "stat").write_text(STAT.format(nice=0, rest=REST, rt=50, policy=1))
    (proc / "timerslack_ns").write_text("1\n")
    (proc / "cgroup").write_text("1:cpuset:/\n0::/fast\n")
    (proc / "smaps").write_text(SMAPS.format(rss=2048, huge=2048))
    (proc / "fd").mkdir()
    (proc / "fd/5").symlink_to("/dev/cpu_dma_latency")
    own = tmp_path / "proc/self"
    own.mkdir()
    (own / "mountinfo").write_text("30 1 0:26 / /cg rw - cgroup2 none rw\n")
    fast = tmp_path / "cg/fast"
    fast.mkdir(parents=True)
    (fast / "cpuset.cpus.partition").write_text("isolated\n")
    (fast / "cpuset.cpus.effective").write_text("2-3\n")
    (fast / "cgroup.procs").write_text("")
    cpus = tmp_path / "sys/devices/system/cpu"
    cpus.mkdir(parents=True)
    (cpus / "online").write_text("0-3\n")
    (cpus / "isolated").write_text("\n")
    return tmp_path


def asked(**changes: Any) -> Asked:
    """Return a worker that asked for everything."""
    tuning = TuningPlan(
        profile="isolated-core",
        sched="fifo",
        priority=50,
        mlock=True,
        prefault=True,
        huge_pages=True,
        cpu_dma_latency_us=0,
        isolated=True,
        partition="/fast",
    )
    return replace(Asked(tuning, (2, 3), 2, seen=SEEN), **changes)


def knobs(root: Path, what: Asked | None = None) -> dict[str, Knob]:
    """Return the knobs of the worker by name."""
    return {knob.knob: knob for knob in Reader(PID, what or asked(), HostRoot(str(root))).read()}


def test_a_host_that_grants_everything_reads_as_applied(root: Path) -> None:
    """Every knob, with the path and value that say so."""
    found = knobs(root)
    assert tuple(found) == KNOBS
    assert {knob.state for knob in found.values()} == {APPLIED}, found
    assert found["partition"].evidence.endswith("cpuset.cpus.partition: isolated")
    assert read_topology(HostRoot(str(root)), allowed=(0, 1)).isolated == (2, 3)


@pytest.mark.parametrize(
    ("path", "text", "knob", "words"),
    [
        ("cgroup", "0::/elsewhere\n", "partition", "changed from outside"),
        ("status", "VmLck:\t0 kB\n", "memory_lock", "changed from outside"),
        ("smaps", SMAPS.format(rss=8, huge=2048), "prefault", "changed from outside"),
        ("smaps", SMAPS.format(rss=2048, huge=0), "huge_pages", "put no huge page under 2048 kB"),
        ("timerslack_ns", "50000\n", "timer_slack", "1 ns was asked for"),
        (f"task/{PID}/status", "Cpus_allowed_list:\t0-3\n", "affinity", "2-3 was asked for"),
    ],
)
def test_what_is_changed_reads_as_degraded(
    root: Path, path: str, text: str, knob: str, words: str
) -> None:
    """One file of the kernel says otherwise: that knob alone, with a reason and a fix."""
    (root / f"proc/{PID}/{path}").write_text(text)
    found = knobs(root)
    assert found[knob].state == DEGRADED
    assert words in found[knob].reason
    assert found[knob].fix
    assert [name for name, each in found.items() if each.state != APPLIED] == [knob]


@pytest.mark.parametrize("policy", [(0, 0), (2, 50), (1, 1)])
def test_a_lost_policy_or_priority_is_seen(root: Path, policy: tuple[int, int]) -> None:
    """The scheduler's own fields decide, not what was asked."""
    number, priority = policy
    stat = STAT.format(nice=0, rest=REST, rt=priority, policy=number)
    (root / f"proc/{PID}/task/{PID}/stat").write_text(stat)
    found = knobs(root)
    assert (found["scheduler"].state == APPLIED) is (number == 1)
    assert (found["priority"].state == APPLIED) is (priority == 50)


def test_a_partition_that_the_kernel_invalidates_is_seen(root: Path) -> None:
    """A partition that lost its CPUs isolates nothing, and the kernel's word is the evidence."""
    state = root / "cg/fast/cpuset.cpus.partition"
    state.write_text("isolated invalid (Cpu list in cpuset.cpus not exclusive)\n")
    found = knobs(root)
    assert found["partition"].state == DEGRADED
    assert "not exclusive" in found["partition"].evidence
    assert found["isolation"].state == DEGRADED
    assert "isolcpus=" in found["isolation"].fix


def test_the_kernels_own_words_are_the_reason(root: Path) -> None:
    """A refusal that the worker met stands as it was said, whatever reads back."""
    refused = {"memory_lock": "ENOMEM: Cannot allocate memory; the regions alone are locked"}
    found = knobs(root, asked(refused=refused))
    assert found["memory_lock"].state == DEGRADED
    assert found["memory_lock"].reason == refused["memory_lock"]
    assert found["memory_lock"].applied == "4096 kB"


def test_what_cannot_be_read_is_failed_not_an_exception(tmp_path: Path) -> None:
    """Of a process that has gone nothing is claimed."""
    (tmp_path / "proc").mkdir()
    found = Reader(PID, asked(), HostRoot(str(tmp_path))).read()
    assert {knob.state for knob in found if knob.knob != "isolation"} == {FAILED}
    assert all(knob.reason for knob in found)


def test_the_monitor_dates_a_change_and_keeps_its_report(root: Path, tmp_path: Path) -> None:
    """`since` moves with state and value alone; the file is read back as it was written."""
    plan = replace(chain_plan(), tuning=asked().tuning)
    workers = tuple(replace(worker, cpus=(2, 3)) for worker in plan.workers)
    monitor = Monitor(str(tmp_path), replace(plan, workers=workers), root=HostRoot(str(root)))
    monitor.heard(0, {"refused": {}, "seen": SEEN})
    assert monitor.look({0: PID}, now=True)
    assert not monitor.look({0: PID}, now=True)
    first = dict(monitor.report)
    (root / f"proc/{PID}/status").write_text("VmLck:\t0 kB\n")
    assert monitor.look({0: PID}, now=True)
    for old, new in zip(first[0], monitor.report[0], strict=True):
        assert (old.since_unix_ns == new.since_unix_ns) is (old.knob != "memory_lock")
    assert read_report(str(tmp_path)) == monitor.report
    assert monitor.summary()[:2] == ("false", "Degraded")
    assert not monitor.complete


@pytest.mark.parametrize("text", ["", "{", "[]", '{"workers": {"0": [{"knob": 1}]}}'])
def test_a_damaged_report_is_no_report(tmp_path: Path, text: str) -> None:
    """What is not whole is not shown."""
    (tmp_path / "tuning.json").write_text(text)
    assert read_report(str(tmp_path)) == {}
    write_report(str(tmp_path), {})
    assert read_report(str(tmp_path)) == {}


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """Return a fresh cgroup of this host's unified hierarchy."""
    mount = cgroup2_mount()
    path = Path(mount or "/nowhere", f"byteor-test-{os.getpid()}")
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield path
    path.rmdir()


def test_a_worker_moves_itself_into_its_cgroup(cgroup: Path) -> None:
    """Entering a partition is one write, which the kernel confirms."""
    code = (
        "import sys; from byteord.deployment.plan import TuningPlan;"
        "from byteord.tuning.apply import enter;"
        "done = enter(TuningPlan(partition=sys.argv[1]), ());"
        "print(done.refused, open('/proc/self/cgroup').read().split('0::')[1].strip())"
    )
    for path, refused in ((f"/{cgroup.name}", "{}"), ("/byteor-absent", "ENOENT")):
        done = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
        )
        assert refused in done.stdout
        assert done.stdout.strip().endswith(path) is (refused == "{}")
