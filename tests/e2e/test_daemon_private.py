"""The private daemon: lives as long as its caller, leaves nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from byteor.v1 import control_service_pb2 as control_pb
from byteor.v1 import control_service_pb2_grpc
from tests.e2e.test_daemon_api import ENDLESS, start_request
from tests.support.poll import until

CALLER = """
import socket, subprocess, sys
ours, theirs = socket.socketpair()
child = subprocess.Popen(
    [sys.executable, "-m", "byteord", "--private", sys.argv[1]]
    + ["--parent-fd", str(theirs.fileno())],
    pass_fds=(theirs.fileno(),),
    start_new_session=True,
)
theirs.close()
print(child.pid, flush=True)
sys.stdin.read()
ours.close()
sys.exit(child.wait())
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Provide a 0700 directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="byteor-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def private_regions(pid: int) -> list[str]:
    """Return the private directories of regions that process `pid` holds open."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:  # closed since it was listed
            continue
        if target.startswith("/dev/shm/byteor-private-") and target.count("/") == 3:
            found.append(target)
    return found


def start_caller(directory: Path) -> tuple[subprocess.Popen[str], int, list[str]]:
    """Start a process that starts a private daemon; return it, the daemon's pid and regions."""
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    assert caller.stdout.readline().startswith("byteord ready")
    return caller, pid, private_regions(pid)


def let_go(caller: subprocess.Popen[str]) -> None:
    """Have the caller end its side."""
    assert caller.stdin is not None
    caller.stdin.close()


def gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_it_serves_its_caller_and_ends_with_it(directory: Path) -> None:
    """Its socket is for its user alone; when the caller closes its end, all of it goes."""
    caller, pid, regions = start_caller(directory)
    with caller:
        assert len(regions) == 1
        with grpc.insecure_channel(f"unix:{directory}/byteord.sock") as channel:
            stub = control_service_pb2_grpc.ControlServiceStub(channel)
            answer = stub.GetVersion(control_pb.GetVersionRequest(), timeout=10)
        assert (answer.pid, answer.environment) == (pid, "dev")
        assert (directory / "byteord.sock").stat().st_mode & 0o777 == 0o600
        let_go(caller)
        assert caller.wait(30) == 0
    assert not (directory / "byteord.sock").exists()
    assert not Path(regions[0]).exists()


def test_a_killed_caller_takes_it_along(directory: Path) -> None:
    """`kill -9` of the caller: the daemon ends and removes its directories itself."""
    caller, pid, regions = start_caller(directory)
    with caller:
        caller.kill()
        caller.wait(10)
        until(lambda: gone(pid), 20, "the private daemon ends")
    until(lambda: not Path(regions[0]).exists(), 5)
    assert not directory.exists()


def test_a_killed_caller_takes_its_runs_along(directory: Path) -> None:
    """`kill -9` of the caller while its run lives: shim, workers and regions go with the daemon."""
    caller, pid, regions = start_caller(directory)
    with caller:
        with grpc.insecure_channel(f"unix:{directory}/byteord.sock") as channel:
            stub = control_service_pb2_grpc.ControlServiceStub(channel)
            run = stub.StartRun(start_request(ENDLESS), timeout=60).run
        pids = [run.shim_pid, *(worker.pid for worker in run.workers)]
        assert Path(run.region_directory).is_relative_to(regions[0])
        caller.kill()
        caller.wait(10)
        for each in (pid, *pids):
            until(lambda each=each: gone(each), 30, f"process {each} ends")  # type: ignore[misc]
    until(lambda: not Path(regions[0]).exists(), 5)


def test_what_a_killed_one_leaves_is_swept_by_the_next(directory: Path) -> None:
    """`kill -9` of a private daemon leaves its regions; the next one of this user removes them."""
    caller, pid, regions = start_caller(directory)
    with caller:
        os.kill(pid, 9)
        let_go(caller)
        caller.wait(10)
    assert Path(regions[0]).exists()
    with tempfile.TemporaryDirectory(prefix="byteor-") as second:
        caller, _, own = start_caller(Path(second))
        with caller:
            assert not Path(regions[0]).exists()
            assert Path(own[0]).exists()
            let_go(caller)
            assert caller.wait(30) == 0


def test_a_directory_that_others_enter_is_refused(directory: Path) -> None:
    """A private socket in a public directory would not be private."""
    directory.chmod(0o755)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "byteord", "--private", str(directory)]
        for arguments in ([*command, "--parent-fd", str(theirs.fileno())], command):
            ended = subprocess.run(
                arguments,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
                pass_fds=(theirs.fileno(),),
            )
            assert ended.returncode == 2
            assert "wanted" in ended.stderr
            directory.chmod(0o700)
