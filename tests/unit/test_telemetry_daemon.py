"""What the daemon tells systemd and the log."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from byteord.telemetry.lag import LAG_S_MAX, LoopWatch
from byteord.telemetry.log import bridge_library_logs, make_logger
from byteord.telemetry.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Provide the socket on which systemd would listen, at `tmp_path / "notify"`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def told(listener: socket.socket) -> list[str]:
    """Return the datagrams that have arrived."""
    texts = []
    try:
        while True:
            texts.append(listener.recv(4096).decode())
    except BlockingIOError:
        return texts


def test_states_arrive_as_datagrams(manager: socket.socket) -> None:
    """Each state is one datagram of KEY=VALUE lines."""
    notifier = Notifier(manager.getsockname(), 0.0)
    notifier.ready("serving")
    notifier.watchdog()
    notifier.status("busy")
    notifier.stopping("bye")
    assert told(manager) == [
        "READY=1\nSTATUS=serving",
        "WATCHDOG=1",
        "STATUS=busy",
        "STOPPING=1\nSTATUS=bye",
    ]


def test_an_abstract_address_works() -> None:
    """`@name` is a socket without a file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0byteor-test-{os.getpid()}")
        listener.setblocking(False)
        Notifier(f"@byteor-test-{os.getpid()}", 0.0).ready("x")
        assert told(listener) == ["READY=1\nSTATUS=x"]


def test_the_environment_is_taken_once_and_emptied() -> None:
    """Children find none of the variables; a watchdog meant for another process is not ours."""
    environ = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.from_environment(environ)
    assert environ == {}
    assert notifier.watchdog_s == 3.0
    foreign = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
    assert Notifier.from_environment(foreign).watchdog_s == 0.0


@pytest.mark.parametrize("address", ["", "/absent/notify"])
def test_nobody_listening_is_no_error(address: str) -> None:
    """Without systemd, or with one that went away, the daemon goes on."""
    Notifier(address, 0.0).ready("x")


def test_pings_stop_while_the_loop_lags(manager: socket.socket) -> None:
    """A lag above the bound withholds the next ping; a period without one brings it back."""
    log = make_logger(form="json", level="error", stream=io.StringIO())
    watch = LoopWatch(Notifier(manager.getsockname(), 3.0), log, lambda: "")
    watch.step(0.0, 100.0)
    assert told(manager) == ["WATCHDOG=1"]
    watch.step(LAG_S_MAX * 2, 100.5)
    watch.step(0.0, 101.1)
    assert told(manager) == []
    watch.step(0.0, 102.2)
    assert told(manager) == ["WATCHDOG=1"]
    assert watch.lag_s_max == LAG_S_MAX * 2


def test_pings_stop_while_supervision_is_stuck(manager: socket.socket) -> None:
    """A step that does not complete withholds the ping, says which in the log, and no longer."""
    out, stuck = io.StringIO(), ["putting away r1 for 200 s"]
    log = make_logger(form="json", level="error", stream=out)
    watch = LoopWatch(Notifier(manager.getsockname(), 3.0), log, lambda: "".join(stuck))
    watch.step(0.0, 100.0)
    assert told(manager) == []
    assert json.loads(out.getvalue())["what"] == "putting away r1 for 200 s"
    stuck.clear()
    watch.step(0.0, 101.1)
    assert told(manager) == ["WATCHDOG=1"]


def test_json_has_one_event_a_line() -> None:
    """Machines get one JSON object a line; what is below the level is left out."""
    out = io.StringIO()
    log = make_logger(form="auto", level="info", stream=out)
    log.debug("daemon.hidden")
    log.info("daemon.ready", address="unix:/x")
    [line] = out.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["address"]) == ("daemon.ready", "info", "unix:/x")
    assert event["timestamp"].endswith("Z")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_terminal_gets_text_and_systemd_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` chooses by who reads."""
    monkeypatch.setenv("NO_COLOR", "1")
    people, journal = Terminal(), Terminal()
    make_logger(form="auto", level="info", stream=people, environ={}).info("run.started", run="r1")
    journal_env = {"JOURNAL_STREAM": "8:1"}
    make_logger(form="auto", level="info", stream=journal, environ=journal_env).info("run.started")
    assert "run.started" in people.getvalue()
    assert not people.getvalue().startswith("{")
    assert journal.getvalue().startswith("{")


def fail_with(payload: bytes) -> None:
    """Fail while a payload is in hand."""
    raise ValueError("broken") if payload else KeyError


def test_exceptions_are_data_without_payloads() -> None:
    """A logged exception stays one line, names its frames, and shows no value of a variable."""
    out = io.StringIO()
    log = make_logger(form="json", level="info", stream=out)
    with pytest.raises(ValueError, match="broken") as caught:
        fail_with(b"secret")
    log.error("rpc.crashed", exc_info=caught.value)
    [line] = out.getvalue().splitlines()
    [error] = json.loads(line)["exception"]
    assert error["exc_value"] == "broken"
    assert error["frames"][-1]["name"] == "fail_with"
    assert "secret" not in line


def test_what_libraries_log_is_an_event() -> None:
    """Warnings of libraries that use the standard logging end up in the same log."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = io.StringIO()
    try:
        bridge_library_logs(make_logger(form="json", level="info", stream=out))
        logging.getLogger("some.library").warning("odd: %d", 3)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    event = json.loads(out.getvalue())
    assert (event["event"], event["message"], event["level"]) == (
        "library.logged",
        "odd: 3",
        "warning",
    )
