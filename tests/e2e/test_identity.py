"""Who may call: the kernel says who connects, roles say what they may, everybody else nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from byteor.v1 import control_service_pb2 as control_pb
from byteor.v1 import control_service_pb2_grpc
from byteord.deployment.model import Access
from byteord.errors import DeniedError
from byteord.rpc.identity import ROLE_OF_METHOD, Grants, Identity, Role
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.rpc import reason_of, stub_of

NOBODY = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")


def somebody(uid: int = 1000, *gids: int) -> Identity:
    """Return an identity."""
    return Identity(uid, frozenset(gids))


def test_roles_come_from_the_configuration_alone() -> None:
    """By uid and by any group; root and the daemon's own user are admins; others are nothing."""
    access = Access(viewers=("uid:1",), operators=("gid:20",), approvers=("uid:3",))
    grants = Grants(access, 77)
    assert grants.roles(somebody(1)) == {Role.VIEWER}
    assert grants.roles(somebody(2, 5, 20)) == {Role.OPERATOR, Role.VIEWER}
    assert grants.roles(somebody(3)) == {Role.APPROVER, Role.VIEWER}
    assert grants.roles(somebody(0)) == grants.roles(somebody(77)) == set(Role)
    assert grants.roles(somebody(1000, 1000)) == set()


def test_names_are_resolved_and_unknown_ones_told() -> None:
    """A name that the host does not know grants nobody anything."""
    grants = Grants(Access(viewers=("user:root", "user:nobody-of-that-name")), 77)
    assert grants.unknown == ["user:nobody-of-that-name"]
    assert Role.VIEWER in grants.roles(somebody(0))


@pytest.mark.parametrize("method", [*ROLE_OF_METHOD, "NoSuchMethod"])
def test_by_default_nobody_may_call_anything(method: str) -> None:
    """Without a role each method is refused; one without an entry also for admins."""
    grants = Grants(Access(), 77)
    with pytest.raises(DeniedError) as caught:
        grants.check(somebody(), method)
    assert caught.value.reason == "ROLE_MISSING"
    if method == "NoSuchMethod":
        with pytest.raises(DeniedError):
            grants.check(somebody(0), method)
    else:
        grants.check(somebody(0), method)


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """Provide a daemon that `nobody` can reach and, as a viewer, look at."""
    config: Mapping[str, Any] = {"access.viewers": [f"uid:{NOBODY}"], "listen.group": "nogroup"}
    with running_daemon(config=config if os.geteuid() == 0 else {}) as made:
        made.directory.chmod(0o755)
        yield made


AS_NOBODY = """
import json, os, sys
import grpc
from byteor.v1 import control_service_pb2_grpc, runs_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = control_service_pb2_grpc.ControlServiceStub(channel)
    stub.ListRuns(runs_pb2.ListRunsRequest(), timeout=20)
    try:
        stub.StopRun(runs_pb2.StopRunRequest(request_id="x", run_id="y"), timeout=20)
    except grpc.RpcError as error:
        print(json.dumps([error.code().name, error.details()]))
"""


@needs_root
@pytest.mark.skipif(
    not all(place.stat().st_mode & 0o001 for place in Path(sys.prefix).resolve().parents),
    reason="another user cannot read the environment that the tests run in",
)
def test_another_user_has_the_role_it_was_given(daemon: DaemonProcess) -> None:
    """A viewer looks and may not stop; who did what is in the log and, refused, in the audit."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, daemon.address],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    code, said = json.loads(done.stdout)
    assert code == "PERMISSION_DENIED"
    assert "has viewer; wanted the role operator" in said
    calls = {event["method"]: event for event in daemon.events("rpc.finished")}
    assert calls["ListRuns"]["principal"] == f"uid:{NOBODY}"
    assert calls["StopRun"]["reason"] == "ROLE_MISSING"
    shown = byteorctl("audit", "show", "--kind", "denied", "-o", "jsonl", "--address",
                      daemon.address)  # fmt: skip
    last = json.loads(shown.stdout.splitlines()[-1])
    assert (last["principal"], last["method"]) == (f"uid:{NOBODY}", "StopRun")


def test_the_way_past_the_gate_leads_nowhere(daemon: DaemonProcess) -> None:
    """GRPC's own socket is in a directory of the daemon's, and unknown connections are refused."""
    inner = daemon.socket.parent / "inner"
    assert inner.stat().st_mode & 0o077 == 0
    with grpc.insecure_channel(f"unix:{inner / 's'}") as channel:
        stub: Any = control_service_pb2_grpc.ControlServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetVersion(control_pb.GetVersionRequest(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason_of(caught.value) == "IDENTITY_UNKNOWN"


def test_connections_that_come_and_go_disturb_no_other(daemon: DaemonProcess) -> None:
    """Probes that close at once, half a preface, and many clients at the same time."""

    def client(index: int) -> int:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(daemon.socket))
            if index % 3:
                probe.send(b"PRI * HTTP"[: index % 10])
        with stub_of(daemon) as stub:
            return int(stub.GetVersion(control_pb.GetVersionRequest(), timeout=20).pid)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(client, range(60))) == {daemon.pid}
