"""Every check against captured hosts: what each says there, and what makes it say otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from byteor.trust.key_set import render_key_set
from byteord.doctor.model import GROUPS, Asked, Daemon, Permission, Result, State
from byteord.doctor.registry import CHECKS, selected
from byteord.doctor.run import run_checks
from byteord.tuning.root import HostRoot
from tests.support.host_trees import CGROUP, CPU, KINDS, NET, WORKERS_PID, asked_of, write_tree
from tests.support.trust import DAY, NOW, key_set, signer

EXPECTED = """
K01=oooooo K02=ooooos K03=odddos K04=oossos K05=odddos K06=odddos K07=odddos K08=odooos K09=oossos
K10=oddsos K11=osssos K12=odddod K13=oooooo
C01=oooooo C02=ooofoo C03=oooooo C04=oooooo C05=odddod C06=odssos C07=odddod C08=oooooo C09=oooooo
C10=oooood C11=oooooo C12=oddoos C13=oooooo C14=oddsod C15=odssod C16=oossoo C17=odouou
P01=odssod P02=odssod P03=odssod P04=oossoo P05=odssoo P06=oddsos P07=odddod P08=odssos P09=oddsod
P10=oossoo P11=oddsos
T01=odooos T02=ooooos T03=odouou T04=odduou T05=ssssss T06=odddos T07=odddou T08=ooouou
M01=offfos M02=odddos M03=oddsos M04=oddsod M05=ooosos M06=oddsod M07=ooooos M08=odddod M09=odddos
M10=odddod M11=ooooos M12=odddos M13=ooooos M14=oddsss M15=odddod M16=odddod M17=odddos M18=odddod
M19=ooooos M20=ooooos M21=oossos
I01=oddood I02=oddsod I03=oddsod I04=ooooos I05=oooooo I06=odddos I07=oddoos I08=odssod I09=oddoos
I10=ssssss
S01=offfos S02=odddos S03=odddos S04=odddod S05=odddos S06=oddoos S07=oddoss S08=odddos S09=odddos
S10=oooooo
G01=oooodo G02=odddsd G03=ooooos G04=osssss G05=osssss G06=ooooss G07=oddsss G08=odddod G09=odddos
G10=odssos G11=odddod G12=odssos
N01=odddos N02=odddos N03=odddos N04=ooooos N05=odddod N06=odssos N07=ooooos N08=oooooo N09=oooooo
N10=oooooo
D01=oooooo D02=offfou D03=offfos D04=ssssss D05=ssssss D06=odddoo D07=ooofoo D08=odddos D09=ssssss
D10=odosod D11=ooosoo D12=odssos D13=oooooo D14=oooooo
V01=oooooo V02=ooooos V03=odddss V04=ssuuss
X01=offfoo X02=ssssss X03=ssssss X04=offfos X05=ooosos X06=ssssss X07=odoooo X08=ssssss X09=oooooo
X10=oooooo X11=ooooos X12=oooooo X13=odddoo
Z01=ssssss Z02=ssssss Z03=ssssss Z04=ssssss Z05=ssssss Z06=ssssss Z07=ssssss Z08=ssssss
"""
"""First letters of the states on a tuned, an untuned host, a guest, in a container, under hybrid
cgroups, and with half of the files missing; for isolated-core, workers on CPUs 2 and 3."""
TABLE = dict(word.split("=") for word in EXPECTED.split())

MEASURED = {
    "clock": {"clock_ns": 900.0, "run_ns": 850.0},
    "jitter": [{"cpu": 2, "over_budget": 7, "longest_ns": 90_000.0}],
    "wake": {"park": {"p50_ns": 60_000.0, "p99_ns": 900_000.0}},
    "hand_over": [{"from": 2, "to": 3, "p50_ns": 500.0, "p99_ns": 9000.0}],
    "faults": {"first_ns": 4000.0, "warm_ns": 300.0, "warm_faults": 4},
    "fsync": {"p50_us": 900.0, "p99_us": 90_000.0, "count": 100, "directory": "/var/lib/byteor"},
    "loop": {"p99_ms": 80.0, "max_ms": 200.0},
}
TASK = f"proc/{WORKERS_PID}/task/{WORKERS_PID}/"
TWO_NODES = {"sys/devices/system/node/node1/cpulist": "3\n"}
HYBRID = {"sys/devices/cpu_core/cpus": "0-2\n", "sys/devices/cpu_atom/cpus": "3\n"}
SNMP = "Udp: InDatagrams RcvbufErrors\nUdp: 100 9\n"
GONE_CPUS = {CPU + "online": "0-2\n"}
PARTITION = "sys/fs/cgroup/byteor/cpuset.cpus."
WHY = "isolated invalid (Cpu list in cpuset.cpus not exclusive)\n"

PROVOKED: tuple[tuple[str, State, dict[str, Any]], ...] = (
    ("K01", State.FAILED, {"kernel": {"release": "5.4.0"}}),
    ("K04", State.DEGRADED, {"files": {"etc/default/grub": 'GRUB_CMDLINE_LINUX="nosmt"\n'}}),
    ("K09", State.DEGRADED, {"files": {"boot/config-6.8.0-41-generic": "CONFIG_CPUSETS=y\n"}}),
    (
        "K11",
        State.DEGRADED,
        {"files": {"sys/module/rcutree/parameters/nohz_full_patience_delay": "0\n"}},
    ),
    ("C01", State.FAILED, {"files": GONE_CPUS}),
    ("C03", State.FAILED, {"asked": {"busy": 3}}),
    ("C04", State.DEGRADED, {"asked": {"cpus": (0, 1, 2, 3)}}),
    ("C08", State.DEGRADED, {"asked": {"cpus": (0, 1)}}),
    ("C09", State.DEGRADED, {"files": TWO_NODES}),
    ("C10", State.DEGRADED, {"asked": {"pairs": ((0, 2),)}}),
    ("C11", State.DEGRADED, {"files": HYBRID}),
    (
        "C13",
        State.DEGRADED,
        {"later": {TASK + "status": "nonvoluntary_ctxt_switches:\t9\n"}},
    ),
    ("P10", State.DEGRADED, {"later": {f"{CPU}cpu2/thermal_throttle/core_throttle_count": "4\n"}}),
    ("T08", State.DEGRADED, {"kernel": {"clock": [1, 0x2001, 900, 120]}}),
    (
        "M05",
        State.DEGRADED,
        {"asked": {"huge_pages": True}},
    ),
    ("M07", State.DEGRADED, {"files": {f"proc/{WORKERS_PID}/status": "VmSwap:\t  64 kB\n"}}),
    (
        "M11",
        State.DEGRADED,
        {
            "asked": {"huge_pages": True},
            "files": {"proc/self/mountinfo": "1 0 0:5 / /dev/shm rw - hugetlbfs none rw\n"},
        },
    ),
    ("M13", State.FAILED, {"asked": {"memory_bytes": 1 << 40}}),
    (
        "M19",
        State.DEGRADED,
        {"later": {TASK + "stat": f"{WORKERS_PID} (w) R 1 1 1 0 -1 0 51 0 3 0 {'0 ' * 25}2 0 0\n"}},
    ),
    ("M20", State.DEGRADED, {"files": {f"proc/{WORKERS_PID}/numa_maps": "7f byteor N1=9\n"}}),
    ("M21", State.DEGRADED, {"later": {"sys/devices/system/edac/mc/mc0/ce_count": "2\n"}}),
    ("I04", State.DEGRADED, {"later": {"proc/interrupts": "   CPU2\nLOC: 99999\n"}}),
    ("I05", State.DEGRADED, {"later": {"proc/softirqs": "   CPU2\nRCU: 99999\n"}}),
    ("I10", State.DEGRADED, {"files": {"dev/cpu/0/msr": "\0" * 52 + "\1" * 8}}),
    ("G03", State.OK, {}),
    ("G04", State.DEGRADED, {"files": {PARTITION + "partition": WHY}}),
    ("G05", State.DEGRADED, {"files": {PARTITION + "exclusive.effective": "2\n"}}),
    ("G06", State.DEGRADED, {"files": {CGROUP + "cpuset.mems.effective": "1\n"}}),
    ("N04", State.DEGRADED, {"later": {NET + "statistics/rx_dropped": "5\n"}}),
    ("N08", State.DEGRADED, {"later": {"proc/net/snmp": SNMP}}),
    ("N10", State.DEGRADED, {"asked": {"cpus": (1, 2, 3)}}),
    (
        "D01",
        State.FAILED,
        {"files": {"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda rw\n"}},
    ),
    (
        "D07",
        State.FAILED,
        {"files": {"proc/self/mountinfo": "1 0 0:9 / / rw - nfs4 server:/ rw\n"}},
    ),
    (
        "D14",
        State.FAILED,
        {"files": {"proc/self/mountinfo": "1 0 0:9 / /dev/shm ro - tmpfs t ro\n"}},
    ),
    ("T02", State.DEGRADED, {"files": {"proc/cpuinfo": "flags : tsc\n"}}),
    ("V02", State.DEGRADED, {"later": {"proc/stat": "cpu  1 0 1 1 0 0 0 7 0 0\n"}}),
    ("X03", State.FAILED, {"asked": {"permission": Permission(granted=False, said="no")}}),
    (
        "X03",
        State.DEGRADED,
        {"asked": {"permission": Permission(granted=True, said="a", until_unix=1_790_000_600)}},
    ),
    ("X03", State.OK, {"asked": {"permission": Permission(granted=True, said="none needed")}}),
    ("X05", State.DEGRADED, {"files": {"run/byteor/byteord.lock": "77777\n"}}),
    ("X09", State.DEGRADED, {"daemon": {"version": "1.0", "client_version": "0.9"}}),
    ("X11", State.DEGRADED, {"files": {"proc/cpuinfo": "flags : tsc\n"}}),
    *(
        (code, State.DEGRADED, {"asked": {"measured": MEASURED}})
        for code in ("Z01", "Z02", "Z03", "Z04", "Z05", "Z06", "Z08", "D09")
    ),
)
NEVER = {"X06", "Z07", "V04", "X10", "X12", "D04", "D05", "T05", "X02", "X08", "G03"}
"""Skipped here for a reason that they give, or provoked by tests of their own below."""


def _report(top: Path, kind: str, **change: Any) -> dict[str, Result]:
    files, kernel = KINDS[kind]()
    tree = write_tree(top, {**files, **change.get("files", {})}, kernel | change.get("kernel", {}))
    later = None
    if "later" in change:
        later = HostRoot(write_tree(top / "later", {**files, **change["later"]}, kernel))
    asked = asked_of(tree, **change.get("asked", {}))
    asked = replace(asked, daemon=replace(asked.daemon, **change.get("daemon", {})))
    codes = [change["code"]] if "code" in change else []
    report = run_checks(
        selected(codes=codes), asked, HostRoot(tree), later=later, pause=lambda _: None
    )
    return {result.code: result for result in report.checks}


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_check_says_what_the_host_is(kind: str, tmp_path: Path) -> None:
    """On each kind of host every check has exactly the state that the table promises."""
    top = tmp_path / kind.replace(" ", "-")
    top.mkdir()
    found = {code: result.state.value[0] for code, result in _report(top, kind).items()}
    column = list(KINDS).index(kind)
    assert found == {code: states[column] for code, states in TABLE.items()}


@pytest.mark.parametrize(("code", "state", "change"), PROVOKED, ids=lambda each: str(each)[:3])
def test_a_check_says_when_it_is_otherwise(
    code: str, state: State, change: dict[str, Any], tmp_path: Path
) -> None:
    """One change of a host tuned by the book makes the check that looks there say so."""
    assert _report(tmp_path, "tuned", code=code, **change)[code].state is state


def test_no_check_is_left_untested() -> None:
    """Every check of the catalogue is seen to be both content and not, or only reports."""
    provoked = {code for code, state, _ in PROVOKED if state in {State.DEGRADED, State.FAILED}}
    for check in CHECKS:
        states = TABLE[check.code]
        broken = check.code in provoked or set(states) & set("df")
        assert broken or not check.profiles or check.code in NEVER, check.code
    assert set(TABLE) == {check.code for check in CHECKS}


def test_what_is_said_helps(tmp_path: Path) -> None:
    """A shortfall has a fix; what was skipped or is not known has a reason; all have evidence."""
    top = tmp_path / "untuned"
    top.mkdir()
    for result in _report(top, "untuned").values():
        if result.state in {State.DEGRADED, State.FAILED}:
            assert result.fix, result.code
            assert result.observed, result.code
            assert result.wanted, result.code
        elif result.state in {State.SKIPPED, State.UNKNOWN}:
            assert result.reason, result.code
        assert result.group in GROUPS


def test_a_profile_that_does_not_ask_only_reports(tmp_path: Path) -> None:
    """With the default profile a host is reported, not blamed, for what that does not ask."""
    files, kernel = KINDS["untuned"]()
    tree = write_tree(tmp_path, files, kernel)
    report = run_checks(CHECKS, asked_of(tree, "default"), HostRoot(tree), pause=lambda _: None)
    for check, result in zip(CHECKS, report.checks, strict=True):
        if "default" not in check.profiles:
            assert result.state not in {State.DEGRADED, State.FAILED}, check.code
    said = {result.code: result for result in report.checks}
    assert said["M08"].state is State.OK
    assert said["M08"].observed == "60"
    assert said["T01"].state is State.DEGRADED


def test_key_sets_are_judged(tmp_path: Path) -> None:
    """A key set is good while two keys last; bad ones, and an early clock, are said."""
    path = "/etc/byteor/keys.json"

    def states(text: str, now: float) -> list[State]:
        files, kernel = KINDS["tuned"]()
        top = tmp_path / str(len(list(tmp_path.iterdir())))
        tree = write_tree(top, {**files, path[1:]: text}, kernel | {"now": now})
        asked: Asked = replace(asked_of(tree), daemon=Daemon(key_set=path))
        report = run_checks(selected(codes=["X02", "T05"]), asked, HostRoot(tree))
        return [result.state for result in report.checks]

    rows = [signer(owner).key(not_after=NOW + 60 * DAY) for owner in ("ann", "bob")]
    good = render_key_set(key_set(*rows)).decode()
    assert states(good, NOW) == [State.OK, State.OK]
    assert states(good, NOW + 55 * DAY) == [State.OK, State.DEGRADED]
    assert states(good, NOW + 99 * DAY) == [State.OK, State.FAILED]
    assert states(good, NOW - 99 * DAY) == [State.DEGRADED, State.FAILED]
    assert states("{}", NOW) == [State.UNKNOWN, State.FAILED]
