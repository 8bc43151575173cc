"""A run on its own: real regions, a real shim, real workers, without a daemon."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byteord.adapters.catalogue import CATALOGUE as ADAPTERS
from byteord.deployment.model import Authority, Environment
from byteord.deployment.plan import RunPlan
from byteord.deployment.validate import validate
from byteord.regions.create import create_run
from byteord.regions.reader import RunReader
from byteord.runs.files import RunFiles
from byteord.runs.host import read_host
from byteord.runs.plan import make_plan
from byteord.shim.order import Order, send_order, waiting_place
from byteord.spec.document import Source
from byteord.stages.catalogue import CATALOGUE as STAGES
from tests.support.daemon import processes_naming
from tests.support.poll import until

ENDPOINTS = (
    '[[endpoints]]\nname = "in"\nkind = "ingress"\n[[endpoints]]\nname = "out"\nkind = "egress"\n'
)


def spec_text(stages: str, *, ring: str = "", name: str = "test") -> str:
    """Return a SingleRing spec around the TOML of its stages and ring keys."""
    return (
        f'version = 1\nname = "{name}"\nmodel = '
        f'"single_ring"\n[ring]\n{ring}\n{stages}\n{ENDPOINTS}'
    )


def make_test_plan(
    spec: str,
    deployment: str,
    *,
    run_id: str = "t1",
    single_process: bool = False,
    directories: Sequence[str] = ("/tmp",),
    secrets_dir: str = "",
    environment: Environment = Environment.DEV,
    url_prefixes: Sequence[str] = (),
    exec_allowed: Sequence[str] = (),
) -> RunPlan:
    """Return the plan of valid documents; fail with their findings otherwise."""
    dirs = tuple(directories)
    authority = Authority(
        code_dirs=dirs,
        read_dirs=dirs,
        write_dirs=dirs,
        listen=("*:*", *(f"unix:{each}" for each in dirs)),
        connect=("*:*", *(f"unix:{each}" for each in dirs)),
        secrets_dir=secrets_dir,
        environment=environment,
        url_prefixes=tuple(url_prefixes),
        exec_allowed=tuple(exec_allowed),
    )
    host = read_host()
    report = validate(
        Source("spec.toml", spec.encode(), "toml"),
        Source("deployment.toml", deployment.encode(), "toml"),
        authority=authority,
        stages=STAGES,
        adapters=ADAPTERS,
        host=host,
        overrides={},
        files=RunFiles(dirs),
    )
    assert report.spec is not None, report.findings
    assert report.deployment is not None, report.findings
    return make_plan(
        report.spec,
        report.deployment,
        run_id=run_id,
        single_process=single_process,
        host=host,
        authority=authority,
    )


@dataclass
class LiveRun:
    """A started run; `control` is the daemon's end of the status channel."""

    directory: str
    shim: subprocess.Popen[bytes]
    control: socket.socket
    reader: RunReader
    statuses: list[dict[str, Any]] = field(default_factory=list)

    def command(self, **message: Any) -> None:
        """Send the shim a command."""
        self.control.send(json.dumps(message).encode())

    def status(self) -> dict[str, Any]:
        """Return the newest status heard."""
        self.control.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while packet := self.control.recv(1 << 16):
                self.statuses.append(json.loads(packet))
        return self.statuses[-1] if self.statuses else {"state": "starting", "workers": []}

    def until_state(self, *states: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until the run is in one of the states."""
        until(
            lambda: self.status()["state"] in states,
            timeout_s,
            f"{states}, {self.status()}, {self.log()}",
        )
        return self.status()

    def role(self, name: str) -> dict[str, Any]:
        """Return what a role shows."""
        return next(role for role in self.reader.read()["roles"] if role["name"] == name)

    def worker_pid(self, name: str) -> int:
        """Return the process that hosts a role; 0: none."""
        index = self.role(name)["worker"]
        return next((w["pid"] for w in self.status()["workers"] if w["index"] == index), 0)

    def log(self) -> str:
        """Return what shim and workers printed."""
        return Path(self.directory, "shim.log").read_text()


@contextlib.contextmanager
def running(
    plan: RunPlan,
    *,
    bound: bool = False,
    root: str = "/dev/shm",
) -> Iterator[LiveRun]:
    """Start a run's shim on fresh regions beneath `root`; afterwards nothing of it is left."""
    regions = tempfile.mkdtemp(prefix="byteor-test-", dir=root)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process: subprocess.Popen[bytes] | None = None
    try:
        directory = create_run(regions, plan)
        place = waiting_place(os.path.dirname(directory))
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "byteord.shim", place, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        with open(os.path.join(directory, "shim.log"), "wb") as log:
            send_order(ours, Order(directory, bound=bound, log_fd=log.fileno()))
        run = LiveRun(directory, process, ours, RunReader(directory))
        yield run
        if process.poll() is None:
            with contextlib.suppress(BrokenPipeError):  # it may be ending by itself just now
                run.command(op="stop", mode="abort")
        process.wait(30)
    finally:
        ours.close()
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(10)
        for line in processes_naming(regions):  # workers whose shim was killed live on
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        shutil.rmtree(regions, ignore_errors=True)


def run_to_end(plan: RunPlan, timeout_s: float = 60.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run to a terminal state; returns (last status, last read of the regions)."""
    with running(plan) as run:
        status = run.until_state("completed", "stopped", "failed", timeout_s=timeout_s)
        run.shim.wait(10)
        return status, run.reader.read()
