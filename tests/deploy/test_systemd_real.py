"""The unit as it is shipped, run by a real systemd: PID 1 of namespaces of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.poll import until
from tests.support.run import spec_text
from tests.support.tree import TOP

NAMESPACES = "--pid --fork --kill-child=KILL --mount --uts --ipc --net --cgroup --mount-proc"
SPEC = spec_text('[[stages]]\nname = "pass"\nstage = "identity"\n', name="steady")
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "generator"
size = 48
rate = 2000
[adapters.out]
kind = "discard"
"""


class System:
    """A systemd that runs; commands are given to it inside its namespaces."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "--target", str(pid), "-m", "-p", "-i", "-u", "-n", "-C"]

    def run(self, *command: str, code: int = 0, text: str = "") -> str:
        """Run a command inside; its exit code must be `code`. Return what it said."""
        done = subprocess.run(
            [*self._enter, *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (command, done.stdout, done.stderr, self.log())
        return done.stdout

    def log(self) -> str:
        """Return what byteord wrote."""
        done = subprocess.run(
            [*self._enter, "cat", "/run/byteord.log"], capture_output=True, text=True, check=False
        )
        return done.stdout

    def ctl(self, *arguments: str) -> str:
        """Run byteorctl on the unit's socket."""
        socket = "BYTEOR_SOCKET=/run/byteor/byteord.sock"
        return self.run("env", socket, str(Path(sys.executable).parent / "byteorctl"), *arguments)

    def unit(self, name: str) -> str:
        """Return a property of the unit."""
        return self.run("systemctl", "show", "byteord", "-P", name).strip()

    def received(self, run: str) -> int:
        """Return what the run's egress has received."""
        return int(self.ctl("status", "-o", "jsonpath=$.roles[2].received", run))


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """Start systemd; nothing of it is left afterwards."""
    tools = ("unshare", "nsenter", "systemctl", "systemd-sysusers", "systemd-tmpfiles")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing or not Path("/lib/systemd/systemd").exists() or os.geteuid() != 0:
        pytest.skip(f"needs root and systemd; missing: {', '.join(missing) or 'root or systemd'}")
    script = Path(__file__).with_name("pid1.sh")
    where = [str(TOP), str(Path(sys.executable).parents[1]), sys.base_prefix]
    log = (tmp_path / "systemd.log").open("wb")
    process = subprocess.Popen(
        ["unshare", *NAMESPACES.split(), "bash", str(script), *where],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield _until_up(process, tmp_path / "systemd.log")
    finally:
        process.send_signal(signal.SIGKILL)  # takes the namespaces' first process with it
        process.wait(20)
        log.close()


def _until_up(process: subprocess.Popen[bytes], log: Path) -> System:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def up() -> bool:
        if process.poll() is not None:
            pytest.skip(f"namespaces or mounts are not to be had here: {log.read_text()[-400:]}")
        first = children.read_text().split()
        if not first or Path(f"/proc/{first[0]}/comm").read_text() != "systemd\n":
            return False
        asked = ["nsenter", "--target", first[0], "-m", "-p", "systemctl", "is-system-running"]
        return subprocess.run(asked, capture_output=True, check=False).stdout == b"running\n"

    until(up, 20, "systemd does not come up")
    return System(int(children.read_text().split()[0]))


@pytest.mark.timeout(90)
def test_the_unit_starts_says_how_it_is_and_its_runs_outlive_a_restart(system: System) -> None:
    """Start to READY, status text, a run over `systemctl restart` and stop: under a real PID 1."""
    system.run("systemctl", "start", "byteord")
    assert system.unit("ActiveState") == "active"
    assert re.match(r"serving unix:/run/byteor/byteord.sock, environment dev", _text(system))
    assert system.run("stat", "-c", "%U %a", f"/proc/{system.unit('MainPID')}").startswith("byteor")
    for name, text in (("spec.toml", SPEC), ("deployment.toml", DEPLOYMENT)):
        system.run("tee", f"/var/lib/byteor/{name}", text=text)
    deployment = ["--deployment", "/var/lib/byteor/deployment.toml"]
    run = system.ctl("run", "--detach", "/var/lib/byteor/spec.toml", *deployment).strip()
    until(lambda: system.received(run) > 0, 20)

    before, first = system.received(run), system.unit("MainPID")
    system.run("systemctl", "restart", "byteord")
    assert system.unit("MainPID") != first
    assert system.ctl("status", "-o", "jsonpath=$.state", run).strip() == "running"
    until(lambda: system.received(run) > before, 20)
    assert system.ctl("status", "-o", "jsonpath=$.workers[0].restarts", run).strip() == "0"

    assert "stopped" in system.ctl("stop", run)
    system.run("systemctl", "stop", "byteord")
    assert (system.unit("ActiveState"), system.unit("Result")) == ("inactive", "success")
    assert "steady" not in system.run("sh", "-c", "ls -R /dev/shm; ps -e -o args")


def _text(system: System) -> str:
    return system.unit("StatusText")
