"""The daemon's locks: exclusive, freed with their holder, named in the refusal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from byteord.errors import DeniedError, ResourceError
from byteord.lock import DaemonLocks
from tests.support.poll import until

HOLDER = """
import sys, time
from byteord.lock import DaemonLocks
locks = DaemonLocks(sys.argv[1:])
print("held", flush=True)
sys.stdin.read()
"""


def hold(*paths: Path) -> subprocess.Popen[str]:
    """Start a process that holds locks until its input ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_holder_is_refused_with_pid_and_path(tmp_path: Path) -> None:
    """The message names the process that holds the lock and the file; nothing else stays locked."""
    first, second = tmp_path / "a.lock", tmp_path / "b.lock"
    with hold(second) as holder:
        with pytest.raises(ResourceError) as caught:
            DaemonLocks([str(first), str(second)])
        assert caught.value.reason == "DAEMON_RUNNING"
        assert f"pid {holder.pid}" in caught.value.message
        assert str(second) in caught.value.message
        DaemonLocks([str(first)]).close()


def test_a_killed_holder_frees_its_lock(tmp_path: Path) -> None:
    """A crash leaves a file, never a lock."""
    path = tmp_path / "a.lock"
    with hold(path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert path.exists()
    with DaemonLocks([str(path)]):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_child_does_not_inherit_a_lock(tmp_path: Path) -> None:
    """A process that the holder starts does not keep the lock alive."""
    path = tmp_path / "a.lock"
    locks = DaemonLocks([str(path)])
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
    ):
        locks.close()
        DaemonLocks([str(path)]).close()


def test_of_many_that_start_at_once_one_wins(tmp_path: Path) -> None:
    """However many start together, while the lock file comes and goes, one holds it at a time."""
    path = tmp_path / "a.lock"
    program = HOLDER.replace("sys.stdin.read()", "pass")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(6)
    ]
    outputs = [racer.communicate(timeout=30)[0] for racer in racers]
    assert b"held\n" in outputs
    assert until(lambda: all(racer.poll() is not None for racer in racers))


def test_a_lock_that_cannot_be_made_names_its_file(tmp_path: Path) -> None:
    """A directory that is missing is a refusal with the path, not a traceback."""
    with pytest.raises(DeniedError, match=r"absent/a\.lock: No such file"):
        DaemonLocks([str(tmp_path / "absent" / "a.lock")])


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in place of the lock file is refused: what it points at stays untouched."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "a.lock").symlink_to(target)
    with pytest.raises(DeniedError):
        DaemonLocks([str(tmp_path / "a.lock")])
    assert target.read_text() == "precious"
