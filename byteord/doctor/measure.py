"""Runs the probe in a process of its own, and the programs of others that were asked for.

Blocks for a few seconds; not for the event loop. Bounded in time whatever the host does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from byteord.deployment.topology import cpu_list
from byteord.doctor.model import Asked
from byteord.errors import ByteorError, InvalidArgumentError

PROBE_TIMEOUT_S = 20.0
TOOL_S = 1
TOOL_TIMEOUT_S = 10.0
TOOLS = ("oslat", "cyclictest")


def check_tools(tools: Sequence[str]) -> None:
    """Raise InvalidArgumentError for a program that is not attached."""
    strange = sorted(set(tools) - set(TOOLS))
    if strange:
        raise InvalidArgumentError(
            f"with: seen {', '.join(strange)}; wanted {' or '.join(TOOLS)}",
            reason="TOOL_UNKNOWN",
        )


def measure(
    asked: Asked, busy: Mapping[str, Sequence[int]], tools: Sequence[str]
) -> dict[str, Any]:
    """Return the measurements for what is asked.

    `busy` names the CPUs of workers that run now, by run: no probe spins there.
    """
    left_out = _left_out(asked, busy)
    request = {
        "cpus": list(asked.cpus),
        "pairs": [list(pair) for pair in asked.pairs],
        "regions": asked.daemon.regions,
        "state_dir": _existing(asked.daemon.state_dir or tempfile.gettempdir()),
        "left_out": left_out,
    }
    found = _probe(request)
    if tools:
        found["tools"] = {name: _tool(name, asked.cpus, left_out) for name in tools}
    return found


def _left_out(asked: Asked, busy: Mapping[str, Sequence[int]]) -> dict[str, str]:
    taken = {cpu: run for run, cpus in busy.items() for cpu in cpus}
    shared = sorted({cpu for cpu in asked.cpus if cpu in taken})
    left_out: dict[str, str] = {}
    if shared:
        why = f"CPUs {cpu_list(tuple(shared))} belong to run {taken[shared[0]]}: a probe there "
        left_out["jitter"] = left_out["hand_over"] = why + "would disturb it"
    elif not asked.pairs:
        left_out["hand_over"] = "the plan has no hand-over between two CPUs"
    return left_out


def _existing(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _probe(request: Mapping[str, Any]) -> dict[str, Any]:
    words = [sys.executable, "-m", "byteord.doctor.probe"]
    try:
        done = subprocess.run(
            words,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise _failed(str(error)) from error
    if not found:
        raise _failed(f"exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return found


def _failed(said: str) -> ByteorError:
    return ByteorError(
        f"measuring: the probe failed ({said}); run doctor without --measure, and report this",
        reason="PROBE_FAILED",
    )


def _tool(name: str, cpus: Sequence[int], left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON of a program, as it wrote it; `error` where there is none."""
    program = shutil.which(name)
    if program is None:
        return {"error": f"{name} is not installed (Debian: rt-tests)"}
    if "jitter" in left_out:
        return {"error": left_out["jitter"]}
    listed = cpu_list(tuple(cpus))
    with tempfile.TemporaryDirectory(prefix="byteor-doctor-") as directory:
        path = os.path.join(directory, "out.json")
        words = {
            "oslat": [program, "-q", "-D", str(TOOL_S), "-c", listed, f"--json={path}"],
            "cyclictest": [
                program, "-q", "-D", str(TOOL_S), "-i", "200", "-a", listed, "-t",
                str(len(cpus)), f"--json={path}",
            ],
        }[name]  # fmt: skip
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False
            )
            with open(path, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            return {"error": f"{name}: {error}"}
    return found if done.returncode == 0 else {"error": f"{name}: exit {done.returncode}"}
