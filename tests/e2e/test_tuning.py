"""Tuning of real workers: what is reported is what the kernel says, whoever runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.support.tuned_run import GRAPH, run_as, tuned_run

REAL_TIME = 'sched = "fifo"\npriority = 7\nwait = "backoff"\npin = "none"\n'
"""Real time that sleeps when idle, so that the machine stays usable."""
ROOT = os.geteuid() == 0
_READS = "-all,+dac_read_search"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
NOBODY += [f"--inh-caps={_READS}", f"--ambient-caps={_READS}"]
"""A user without rights, but that it may read the interpreter wherever that is installed."""
needs_root = pytest.mark.skipif(not ROOT, reason="drops rights that only root has")
CPUS = len(os.sched_getaffinity(0))
needs_two = pytest.mark.skipif(CPUS < 2, reason="two spinning workers need two CPUs")


def _tool(name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")


def _agrees(seen: dict[str, Any]) -> None:
    """Hold every worker's report against the kernel's own words."""
    for worker in seen["workers"].values():
        knobs, proc = worker["knobs"], worker["proc"]
        assert _cpus(knobs["affinity"]["applied"]) == proc["cpus"]
        assert knobs["scheduler"]["applied"] == {0: "other", 1: "fifo", 2: "rr"}[proc["policy"]]
        real_time = knobs["scheduler"]["requested"] != "other"
        shown = str(proc["priority"]) if real_time else f"nice {proc['nice']}"
        assert knobs["priority"]["applied"] == shown
        locked = int(knobs["memory_lock"]["evidence"].split()[-2])
        assert 0.9 * locked <= int(proc["locked"].split()[0]) <= 1.1 * locked
        assert knobs["cpu_dma_latency"]["applied"].startswith("held") is proc["dma"]
        for knob in knobs.values():
            assert bool(knob["reason"]) is (knob["state"] != "applied"), knob
            assert bool(knob["fix"]) is (knob["state"] != "applied"), knob
            assert knob["since_unix_ns"] > 0


def _cpus(text: str) -> list[int]:
    ends = [part.partition("-") for part in text.split(",")]
    return [cpu for low, _, high in ends for cpu in range(int(low), int(high or low) + 1)]


def _short(seen: dict[str, Any]) -> dict[str, str]:
    """Return the reasons of what is not applied, by knob."""
    return {
        name: knob["reason"]
        for worker in seen["workers"].values()
        for name, knob in worker["knobs"].items()
        if knob["state"] != "applied"
    }


def test_default_asks_nothing_and_gets_it() -> None:
    """With the profile `default` every knob reads back as it came, and the condition says so."""
    seen = tuned_run('profile = "default"')
    _agrees(seen)
    assert _short(seen) == {}
    assert seen["condition"]["status"] == "true"


@needs_root
@needs_two
def test_low_latency_is_applied_in_full_by_root() -> None:
    """Workers spin on CPUs of their own with their memory locked; `/proc` agrees."""
    seen = tuned_run('profile = "low-latency"\nfuse = "never"\ncpu_dma_latency = -1')
    _agrees(seen)
    assert _short(seen) == {}
    places = [worker["proc"]["cpus"] for worker in seen["workers"].values()]
    assert sorted(map(len, places)) == [1, 1]
    assert places[0] != places[1]
    assert all(int(w["proc"]["locked"].split()[0]) > 1000 for w in seen["workers"].values())


@needs_root
def test_isolated_core_on_a_host_without_isolation_is_degraded_for_that_alone() -> None:
    """In `dev` it runs, says that its CPU is not isolated and how to isolate it."""
    seen = tuned_run('profile = "isolated-core"\nfuse = "always"\ncpu_dma_latency = -1')
    if os.path.getsize("/sys/devices/system/cpu/isolated") > 4096:
        pytest.skip("this host isolates CPUs")
    _agrees(seen)
    assert set(_short(seen)) == {"isolation"}
    knobs = seen["workers"]["0"]["knobs"]
    assert "isolcpus=" in knobs["isolation"]["fix"]
    assert knobs["prefault"]["state"] == "applied"
    assert seen["condition"]["status"] == "false"
    assert "isolation" in seen["condition"]["message"]


@needs_two
def test_roles_of_a_lane_graph_are_tuned_alike() -> None:
    """Workers of a graph have CPUs, knobs and gaps as those of a ring do."""
    seen = tuned_run('pin = "balanced"\nwait = "backoff"\nfuse = "never"', GRAPH)
    _agrees(seen)
    assert _short(seen) == {}
    assert len(seen["workers"]) == 3
    assert seen["state"] == "running"


@needs_root
def test_real_time_is_applied_by_root() -> None:
    """Policy and priority of the loop's thread are those that were asked for."""
    seen = tuned_run(f'{REAL_TIME}fuse = "always"')
    _agrees(seen)
    assert _short(seen) == {}
    assert seen["workers"]["0"]["proc"]["priority"] == 7


@needs_root
def test_an_unprivileged_user_gets_the_kernels_own_refusals() -> None:
    """Without rights the run goes on, and each refusal is the kernel's, with its limit."""
    _tool("setpriv")
    _tool("prlimit")
    limited = ["prlimit", "--memlock=65536", "--rtprio=0", *NOBODY]
    seen = run_as(limited, f'{REAL_TIME}mlock = true\ncpu_dma_latency = 0\nfuse = "always"')
    assert seen["state"] == "running"
    _agrees(seen)
    short = _short(seen)
    assert set(short) == {"scheduler", "priority", "memory_lock", "cpu_dma_latency"}
    assert short["scheduler"].startswith("EPERM: Operation not permitted; RLIMIT_RTPRIO is 0")
    assert short["memory_lock"].startswith("ENOMEM: Cannot allocate memory; RLIMIT_MEMLOCK is")
    assert short["cpu_dma_latency"].startswith("EACCES: Permission denied")


@needs_root
def test_an_unprivileged_user_with_a_limit_gets_what_it_allows() -> None:
    """RLIMIT_RTPRIO and RLIMIT_MEMLOCK are enough: no capability is needed where they suffice."""
    _tool("setpriv")
    _tool("prlimit")
    limits = ["prlimit", "--memlock=unlimited", "--rtprio=10"]
    if subprocess.run([*limits, "true"], capture_output=True, check=False).returncode:
        pytest.skip("limits cannot be raised here: no CAP_SYS_RESOURCE")
    limited = [*limits, *NOBODY]
    seen = run_as(limited, f'{REAL_TIME}mlock = true\nfuse = "always"')
    _agrees(seen)
    assert _short(seen) == {}
    slack = seen["workers"]["0"]["knobs"]["timer_slack"]
    assert "PR_GET_TIMERSLACK" in slack["evidence"], "another's slack is not theirs to read"


@needs_root
def test_a_limit_that_holds_the_regions_locks_them_alone() -> None:
    """Where a limit forbids locking everything, the regions are locked, and the rest is told."""
    _tool("setpriv")
    _tool("prlimit")
    limited = ["prlimit", f"--memlock={4 << 20}", *NOBODY]
    seen = run_as(limited, 'mlock = true\nfuse = "always"')
    _agrees(seen)
    assert _short(seen)["memory_lock"].endswith("the regions alone are locked")
    assert int(seen["workers"]["0"]["proc"]["locked"].split()[0]) >= 256


@needs_root
@pytest.mark.parametrize(
    ("dropped", "knobs"),
    [
        ("sys_nice", {"scheduler", "priority"}),
        ("ipc_lock", {"memory_lock"}),
        ("dac_override", set()),
    ],
)
def test_each_capability_that_is_dropped_degrades_what_needs_it(
    dropped: str, knobs: set[str]
) -> None:
    """Root without one capability loses exactly the knobs that this one grants."""
    _tool("setpriv")
    _tool("prlimit")
    wrapper = ["prlimit", "--memlock=65536", "--rtprio=0", "setpriv"]
    wrapper += [f"--bounding-set=-{dropped}", f"--inh-caps=-{dropped}"]
    seen = run_as(wrapper, f'{REAL_TIME}mlock = true\nfuse = "always"')
    assert seen["state"] == "running"
    _agrees(seen)
    assert set(_short(seen)) == knobs


@needs_root
def test_the_root_of_a_user_namespace_is_no_root_to_the_kernel() -> None:
    """Capabilities of a namespace do not reach the host's scheduler and locks: that is said."""
    _tool("unshare")
    works = ["unshare", "--user", "--map-root-user", "true"]
    if subprocess.run(works, capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    wrapper = ["prlimit", "--memlock=65536", "--rtprio=0", "unshare", "--user", "--map-root-user"]
    seen = run_as(wrapper, f'{REAL_TIME}mlock = true\nfuse = "always"')
    assert seen["state"] == "running"
    _agrees(seen)
    assert {"scheduler", "priority", "memory_lock"} <= set(_short(seen))
