"""Hearing from a shim, and seeing processes end."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from byteord.runs.leftovers import runs_shim_of, stop_leftovers
from byteord.runs.shim_client import (
    ProcessWatch,
    ShimChannel,
    ShimStatus,
    connect_shim,
    parse_status,
    read_result,
)
from byteord.runs.shims import clean_environment
from byteord.runs.state import RunState
from tests.unit.runs.support import run

STATUS: dict[str, Any] = {
    "event": "status",
    "state": "running",
    "shim_pid": 12,
    "workers": [{"index": 0, "pid": 13, "state": "running", "restarts": 1, "exit": "exit 1"}],
    "failure": None,
    "conditions": [
        {"type": "Ready", "status": "true", "reason": "", "message": "", "since_unix_ns": 5}
    ],
    "code_digests": {"a": "sha256:0"},
}
FAILURE = {
    "reason": "STAGE_RAISED",
    "role": "a",
    "stage": "python:m:C",
    "sequence": 0,
    "message_sha256": "ab",
    "message": "boom",
}


def test_a_status_is_read_whole() -> None:
    """Every field of a report arrives."""
    status = parse_status({**STATUS, "state": "failed", "failure": FAILURE})
    assert status.state is RunState.FAILED
    assert status.workers[0].restarts == 1
    assert status.failure is not None
    assert (status.failure.sequence, status.failure.message) == (0, "boom")
    assert status.conditions[0].since_unix_ns == 5
    assert status.code_digests == {"a": "sha256:0"}


@pytest.mark.parametrize(
    "change",
    [
        {"state": "nonsense"},
        {"workers": None},
        {"workers": [{}]},
        {"shim_pid": "x"},
        {"failure": {"role": "a"}},
        {"conditions": [1]},
    ],
)
def test_nonsense_is_not_a_status(change: dict[str, Any]) -> None:
    """What is not a report is refused as a ValueError, whatever is wrong with it."""
    with pytest.raises(ValueError, match=r".+"):
        parse_status({**STATUS, **change})


def test_a_result_is_read_only_when_whole(tmp_path: Path) -> None:
    """No file, half a file and a good file."""
    assert read_result(str(tmp_path)) is None
    result = tmp_path / "result.json"
    result.write_text('{"state": "comp')
    assert read_result(str(tmp_path)) is None
    result.write_text(json.dumps({**STATUS, "state": "completed"}))
    found = read_result(str(tmp_path))
    assert found is not None
    assert found.state is RunState.COMPLETED


def test_channel_hears_drops_nonsense_and_sees_the_end() -> None:
    """Reports arrive in order; junk between them is counted; closing is told once."""

    async def work() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        heard: list[ShimStatus] = []
        gone = asyncio.Event()
        channel = ShimChannel(ours, heard=heard.append, gone=gone.set)
        theirs.send(json.dumps(STATUS).encode())
        theirs.send(b"\xff{junk")
        theirs.send(json.dumps({**STATUS, "state": "draining"}).encode())
        channel.stop("drain", 7)
        channel.ask()
        theirs.setblocking(True)
        assert json.loads(theirs.recv(1 << 16)) == {"op": "stop", "mode": "drain", "timeout_s": 7}
        assert json.loads(theirs.recv(1 << 16)) == {"op": "status"}
        theirs.close()
        await gone.wait()
        assert [each.state for each in heard] == [RunState.RUNNING, RunState.DRAINING]
        assert channel.malformed == 1
        channel.stop("abort", 1)
        channel.close()

    run(work())


def test_a_child_gets_a_clean_environment() -> None:
    """Nothing that changes what Python or the loader would load passes on."""
    environment = {
        "PATH": "/bin",
        "PYTHONPATH": "/evil",
        "LD_PRELOAD": "evil.so",
        "LD_LIBRARY_PATH": "/evil",
        "GRPC_VERBOSITY": "debug",
        "LANG": "C",
    }
    assert clean_environment(environment) == {"PATH": "/bin", "LANG": "C"}


def test_connecting_to_no_shim_gives_none(tmp_path: Path) -> None:
    """A missing socket and one that nobody listens on are the same: no shim."""
    assert connect_shim(str(tmp_path)) is None
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    dead.bind(str(tmp_path / "shim.sock"))
    dead.close()
    assert connect_shim(str(tmp_path)) is None


def test_connecting_tells_who_listens(tmp_path: Path) -> None:
    """The pid comes from the kernel, not from what the other side says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "shim.sock"))
        listener.listen()
        connected = connect_shim(str(tmp_path))
        assert connected is not None
        sock, pid = connected
        sock.close()
        assert pid == os.getpid()


def test_the_end_of_a_process_is_seen_once() -> None:
    """A pidfd tells of the end of a process that was killed through it; later kills do nothing."""

    async def work(pid: int) -> None:
        ended = asyncio.Event()
        watch = ProcessWatch(pid, ended.set)
        watch.kill()
        await ended.wait()
        watch.kill()
        watch.close()

    with subprocess.Popen(["sleep", "60"]) as child:
        run(work(child.pid))
        assert child.wait() == -9


def test_only_processes_that_map_the_run_are_stopped(tmp_path: Path) -> None:
    """A pid that belongs to someone else is left alone; one that maps the regions is killed."""
    region = tmp_path / "control"
    region.write_bytes(bytes(4096))
    code = (
        "import mmap,sys;f=open(sys.argv[1],'r+b');m=mmap.mmap(f.fileno(),0);"
        "print('ready',flush=True);sys.stdin.read()"
    )
    command = ["python3", "-c", code, str(region)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker,
        subprocess.Popen(["sleep", "60"]) as stranger,
    ):
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        pids = [worker.pid, stranger.pid, 2**22 + 5]
        assert stop_leftovers(str(tmp_path), pids) == ([worker.pid], [])
        assert worker.wait() == -9
        assert stranger.poll() is None
        assert not runs_shim_of(stranger.pid, str(tmp_path))
        stranger.kill()
