"""Errors of calls: what the status and its details become for people and for scripts."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.support.scripted_api import ScriptedApi, serving

Ctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def api() -> ScriptedApi:
    """Provide a peer whose methods a test replaces."""
    return ScriptedApi()  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED


@pytest.fixture
def ctl(api: ScriptedApi, tmp_path: Path) -> Iterator[Ctl]:
    """Provide byteorctl as a process that talks to `api`."""
    (tmp_path / "spec.toml").write_text("")
    with serving(api, tmp_path) as address:

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "byteorctl", "--address", address, *arguments]
            return subprocess.run(
                command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
            )

        yield run


def refusing(code: grpc.StatusCode, *details: Any) -> Callable[[Any, Any], Any]:
    """Return a method that ends with a rich status."""
    status = status_pb2.Status(code=code.value[0], message="the message")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)

    def method(request: Any, context: Any) -> Any:  # noqa: ARG001  gRPC's signature
        context.abort_with_status(rpc_status.to_status(status))

    return method


def test_findings_of_a_refused_run_are_printed_one_a_line(api: ScriptedApi, ctl: Ctl) -> None:
    """Every violation has its code, its key path and what to do; exit 78."""
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(
        field="spec.stages.2.depends_on.0",
        reason="SPEC_FORWARD",
        description="saw 3; wanted 0 or 1",
    )
    bad.field_violations.add(field="deployment.tuning.wait", reason="DEPLOY_WAIT", description="x")
    info = error_details_pb2.ErrorInfo(reason="INVALID_DOCUMENT", domain="byteor")
    api.replies["StartRun"] = refusing(grpc.StatusCode.INVALID_ARGUMENT, info, bad)
    done = ctl("run", "spec.toml", "--input", "/dev/null", "--output", "out")
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        "error SPEC_FORWARD spec.stages.2.depends_on.0: saw 3; wanted 0 or 1",
        "error DEPLOY_WAIT deployment.tuning.wait: x",
        "byteorctl: StartRun: refused for 2 findings, shown above",
    ]


def test_advice_to_try_again_is_passed_on(api: ScriptedApi, ctl: Ctl) -> None:
    """A full daemon exits 75 and says when it may have room."""
    info = error_details_pb2.ErrorInfo(reason="RUNS_MAX", domain="byteor")
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2))
    api.replies["ListRuns"] = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, info, retry)
    done = ctl("list")
    assert done.returncode == 75
    assert done.stderr == "byteorctl: the message\n  trying again in 2 s may help\n"


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", 66),
        (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", 77),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", 2),
        (grpc.StatusCode.FAILED_PRECONDITION, "RUN_ENDED", 1),
        (grpc.StatusCode.DATA_LOSS, "BAD_REGION", 65),
        (grpc.StatusCode.INTERNAL, "INTERNAL", 70),
    ],
)
def test_the_daemons_own_words_and_the_right_exit_code(
    api: ScriptedApi, ctl: Ctl, code: grpc.StatusCode, reason: str, exit_code: int
) -> None:
    """An error of byteor itself is shown as it was written."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain="byteor")
    api.replies["GetRun"] = refusing(code, info)
    done = ctl("status", "x")
    assert (done.returncode, done.stderr) == (exit_code, "byteorctl: the message\n")


def test_a_call_that_takes_too_long_exits_124(api: ScriptedApi, ctl: Ctl) -> None:
    """`--timeout` bounds a unary call."""
    over = threading.Event()

    def slow(request: Any, context: Any) -> Any:  # noqa: ARG001  gRPC's signature
        over.wait(30)

    api.replies["GetRun"] = slow
    done = ctl("status", "x", "--timeout", "0.3")
    over.set()
    assert done.returncode == 124
    assert "GetRun took longer than allowed; see --timeout" in done.stderr


def test_an_older_daemon_is_named_as_such(ctl: Ctl) -> None:
    """A method that the daemon does not know exits 69."""
    done = ctl("validate", "spec.toml")
    assert done.returncode == 69
    assert "does not know Validate" in done.stderr


def test_a_peer_that_is_no_byteord_exits_69(tmp_path: Path) -> None:
    """Something else on the socket is told in one line, without a traceback."""
    where = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(where)
        listener.listen()
        thread = threading.Thread(target=_answer_nonsense, args=(listener,))
        thread.start()
        done = subprocess.run(
            [sys.executable, "-m", "byteorctl", "--address", where, "list", "--timeout", "10"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    assert done.returncode == 69, done.stderr
    assert "Traceback" not in done.stderr


def _answer_nonsense(listener: Any) -> None:
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, contextlib.suppress(OSError):
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
