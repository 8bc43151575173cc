"""A real run under a tuning, as whichever user and with whichever rights this process has.

`python -m tests.support.tuned_run DEPLOYMENT_TOML` runs it for a moment and prints as JSON what it
reported of its tuning, beside what `/proc` says of each worker then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from byteord.tuning.knobs import to_json
from byteord.tuning.monitor import Report, read_report
from tests.support.poll import until
from tests.support.run import LiveRun, make_test_plan, running, spec_text

SPEC = spec_text('[[stages]]\nname = "a"\nstage = "identity"\n')
GRAPH = """
version = 1
name = "graph"
model = "lane_graph"
[[lanes]]
name = "a"
[[lanes]]
name = "b"
[[roles]]
name = "pass"
kind = "stage"
rx = ["a"]
tx = ["b"]
stage = "identity"
[[endpoints]]
name = "in"
kind = "ingress"
lane = "a"
[[endpoints]]
name = "out"
kind = "egress"
lane = "b"
"""
GENERATED = '[adapters.in]\nkind = "generator"\nrate = 2000\n[adapters.out]\nkind = "discard"\n'


def tuned_run(tuning: str, spec: str = SPEC) -> dict[str, Any]:
    """Run the generator through a spec with this `[tuning]` table; return what was seen."""
    plan = make_test_plan(spec, f"{GENERATED}[tuning]\n{tuning}\n")
    with running(plan) as run:
        run.until_state("running", "failed")
        workers = len(plan.workers)
        until(lambda: len(read_report(run.directory)) == workers, 20.0, f"a report: {run.log()}")
        until(lambda: bool(_condition(run)), 20.0, "the condition Tuned")
        report = read_report(run.directory)
        return {
            "state": run.status()["state"],
            "condition": _condition(run),
            "workers": {str(index): _seen(run, index, report) for index in report},
            "log": run.log(),
        }


def _condition(run: LiveRun) -> dict[str, Any]:
    found = [each for each in run.status().get("conditions", ()) if each["type"] == "Tuned"]
    return found[0] if found else {}


def _seen(run: LiveRun, index: int, report: Report) -> dict[str, Any]:
    pid = next(each["pid"] for each in run.status()["workers"] if each["index"] == index)
    return {
        "knobs": {knob.knob: to_json(knob) for knob in report[index]},
        "proc": proc_facts(pid),
    }


def proc_facts(pid: int) -> dict[str, Any]:
    """Return what the kernel says of a process, by other ways than the product's."""
    status = Path(f"/proc/{pid}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    descriptors = Path(f"/proc/{pid}/fd").iterdir()
    return {
        "cpus": sorted(os.sched_getaffinity(pid)),
        "policy": os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK,
        "priority": os.sched_getparam(pid).sched_priority,
        "nice": os.getpriority(os.PRIO_PROCESS, pid),
        "locked": facts["VmLck"].strip(),
        "dma": any(os.readlink(each).endswith("cpu_dma_latency") for each in descriptors),
    }


def run_as(wrapper: list[str], tuning: str) -> dict[str, Any]:
    """Do the same in a process of its own, below a command like `setpriv`; return what it saw."""
    done = subprocess.run(
        [*wrapper, sys.executable, "-m", "tests.support.tuned_run", tuning],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(tuned_run(sys.argv[1])) + "\n")
