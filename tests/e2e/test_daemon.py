"""The daemon as a process: start, readiness, being alone, going down, and what it leaves."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from byteor.v1 import control_service_pb2 as control_pb
from byteor.v1 import control_service_pb2_grpc
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.rpc import reason_of


@pytest.fixture
def stopped() -> Iterator[DaemonProcess]:
    """Provide a daemon that has not been started."""
    daemon = DaemonProcess()
    try:
        yield daemon
    finally:
        daemon.close()


def version(daemon: DaemonProcess, timeout_s: float = 10.0) -> Any:
    """Return the daemon's answer to GetVersion over a channel of its own."""
    with grpc.insecure_channel(daemon.address) as channel:
        stub = control_service_pb2_grpc.ControlServiceStub(channel)
        return stub.GetVersion(control_pb.GetVersionRequest(), timeout=timeout_s)


def test_it_serves_on_a_socket_for_owner_and_group() -> None:
    """Directory 0750, socket 0660, the answer from the process that was started, health SERVING."""
    with running_daemon() as daemon:
        assert version(daemon).pid == daemon.pid
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660
        assert stat.S_IMODE(daemon.socket.parent.stat().st_mode) == 0o750
        with grpc.insecure_channel(daemon.address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            for service in ("", "byteor.v1.ControlService"):
                answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        [ready] = daemon.events("daemon.ready")
        assert ready["address"] == daemon.address


def test_it_leaves_no_file_behind() -> None:
    """After SIGTERM: exit 0, no socket, no lock, nothing in shared memory."""
    with running_daemon() as daemon:
        assert daemon.stop() == 0
        assert list((daemon.directory / "run").iterdir()) == []
        kept = {path.name for path in (daemon.directory / "state").iterdir()}
        assert kept == {"requests", "runs", "approvals", "audit"}
        assert list(daemon.regions.iterdir()) == []
        assert daemon.events("daemon.stopped")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_stop_it_as_well(number: signal.Signals) -> None:
    """Ctrl-C and a closed terminal are orderly stops."""
    with running_daemon() as daemon:
        assert daemon.stop(number) == 0
        assert daemon.events("daemon.stopping")[0]["reason"] == f"signal {number.name}"


def test_a_second_daemon_is_refused_and_the_first_goes_on() -> None:
    """The second ends with 75, names holder and lock, and never touches the live socket."""
    with running_daemon() as daemon:
        inode = daemon.socket.stat().st_ino
        command = [sys.executable, "-m", "byteord", "--config", str(daemon.config)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 75
        assert f"pid {daemon.pid}" in second.stderr
        assert str(daemon.directory / "run" / "byteord.lock") in second.stderr
        assert second.stderr.count("\n") == 1
        assert daemon.socket.stat().st_ino == inode
        assert version(daemon).pid == daemon.pid


def test_a_dead_daemons_socket_is_replaced(stopped: DaemonProcess) -> None:
    """What `kill -9` leaves (socket, locks) does not hinder the next one."""
    stopped.start()
    first = stopped.pid
    stopped.kill()
    assert stopped.socket.exists()
    stopped.start()
    assert version(stopped).pid == stopped.pid != first
    assert stopped.stop() == 0


def test_what_is_no_socket_is_not_removed(stopped: DaemonProcess) -> None:
    """A file in place of the socket is somebody's: the daemon says so and ends."""
    stopped.socket.parent.mkdir()
    stopped.socket.write_text("precious")
    stopped.start(wait=False)
    assert stopped.wait() == 1
    assert "no socket has this name" in stopped.stderr
    assert stopped.socket.read_text() == "precious"


def test_a_socket_that_somebody_else_listens_on_is_left(stopped: DaemonProcess) -> None:
    """A live listener without our lock is not taken over."""
    stopped.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(stopped.socket))
        other.listen()
        stopped.start(wait=False)
        assert stopped.wait() == 1
        assert "listens there" in stopped.stderr
        assert stopped.socket.exists()


def test_it_tells_systemd(tmp_path: Path) -> None:
    """READY=1 once calls are served, WATCHDOG=1 again and again, STOPPING=1 on the way down."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        with running_daemon(env=env) as daemon:
            told = [manager.recv(4096).decode()]
            while "READY=1" not in told[-1]:
                told.append(manager.recv(4096).decode())
            assert version(daemon).pid == daemon.pid
            assert daemon.address in told[-1]
            for _ in range(3):
                while manager.recv(4096) != b"WATCHDOG=1":
                    pass
            daemon.stop()
            told.append(manager.recv(4096).decode())
            while "STOPPING=1" not in told[-1]:
                told.append(manager.recv(4096).decode())


def test_no_ping_while_it_is_stopped(tmp_path: Path) -> None:
    """A daemon that does not run its loop sends no ping, and none at once when it goes on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        with running_daemon(env=env) as daemon:
            while manager.recv(4096) != b"WATCHDOG=1":
                pass
            os.kill(daemon.pid, signal.SIGSTOP)
            stopped_at = time.monotonic()
            until(lambda: time.monotonic() - stopped_at > 1.5, 10)
            manager.setblocking(False)
            while _received(manager):
                pass
            os.kill(daemon.pid, signal.SIGCONT)
            until(lambda: daemon.events("loop.lagged"), 10, "loop.lagged")


def _received(manager: socket.socket) -> bytes:
    try:
        return manager.recv(4096)
    except BlockingIOError:
        return b""


def test_a_call_without_a_deadline_is_refused() -> None:
    """Nothing waits for ever: the status says what to do, with reason and domain."""
    with running_daemon() as daemon, grpc.insecure_channel(daemon.address) as channel:
        stub = control_service_pb2_grpc.ControlServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetVersion(control_pb.GetVersionRequest())
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(caught.value) == "DEADLINE_MISSING"


def test_a_daemon_that_dies_during_a_call_ends_the_call(stopped: DaemonProcess) -> None:
    """The client gets UNAVAILABLE at once, not silence; the next daemon serves the same channel."""
    stopped.start()
    with grpc.insecure_channel(stopped.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        stopped.kill()
        with pytest.raises(grpc.RpcError) as caught:
            next(watch)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        stopped.start()
        stub = control_service_pb2_grpc.ControlServiceStub(channel)
        answer = stub.GetVersion(control_pb.GetVersionRequest(), timeout=30, wait_for_ready=True)
        assert answer.pid == stopped.pid
    assert stopped.stop() == 0


def test_health_turns_before_the_server_goes() -> None:
    """A health watch sees NOT_SERVING before its stream ends."""
    with running_daemon() as daemon, grpc.insecure_channel(daemon.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        os.kill(daemon.pid, signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_bad_configuration_ends_it_with_every_problem(stopped: DaemonProcess) -> None:
    """Exit 78, all problems with their paths, nothing made."""
    stopped.config.write_text("[listen]\nmode = 660\nsokcet = 1\n")
    command = [sys.executable, "-m", "byteord", "--config", str(stopped.config)]
    for extra in ([], ["--check"]):
        ended = subprocess.run(
            [*command, *extra], capture_output=True, text=True, timeout=30, check=False
        )
        assert ended.returncode == 78
        assert "listen.mode" in ended.stderr
        assert "did you mean listen.socket?" in ended.stderr
    assert not stopped.socket.parent.exists()


def test_check_accepts_what_is_right(stopped: DaemonProcess) -> None:
    """`--check` of a good configuration: exit 0, and no daemon."""
    command = [sys.executable, "-m", "byteord", "--config", str(stopped.config), "--check"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (0, f"{stopped.config}: ok\n")
    assert not stopped.socket.parent.exists()


def test_a_missing_configuration_is_named() -> None:
    """Exit 66 with the path."""
    command = [sys.executable, "-m", "byteord", "--config", "/absent/byteord.toml"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 66
    assert "/absent/byteord.toml: No such file" in ended.stderr


def test_an_unknown_group_is_named() -> None:
    """A group the host does not know ends the start with what to do."""
    daemon = DaemonProcess(config={"listen.group": "no-such-group"})
    try:
        daemon.start(wait=False)
        assert daemon.wait() == 66
        assert "groupadd" in daemon.stderr
    finally:
        daemon.close()
