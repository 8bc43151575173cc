"""Replays whose egress adapter acts: dry by default, for real within the limit of actions."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byteord.deployment.model import Authority
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.recordings import Capture, frames, write_capture
from tests.support.replayed import replay

COUNT, LIMIT = 60, 20
SPEC = """
version = 1
name = "sent"
model = "single_ring"
[[stages]]
name = "keep"
stage = "filter"
config = { contains = "keep" }
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "stdin"
framing = "lines"
[adapters.out]
"""


class Outside:
    """What the adapter writes to: a file, or a socket that takes datagrams."""

    def __init__(self, kind: str, top: Path) -> None:
        """Make it, and documents that name it."""
        self._file = top / "out.txt"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._got: list[bytes] = []
        self.kind = kind
        where = f'kind = "udp"\nconnect = "127.0.0.1:{self._socket.getsockname()[1]}"\n'
        if kind == "file":
            where = f'kind = "file"\npath = "{self._file}"\nframing = "lines"\nmode = "append"\n'
        self.spec, self.deployment = top / "spec.toml", top / "deployment.toml"
        self.spec.write_text(SPEC)
        self.deployment.write_text(DEPLOYMENT + where)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def got(self) -> list[bytes]:
        """Return everything that arrived so far."""
        if self.kind == "file":
            return self._file.read_bytes().splitlines() if self._file.exists() else []
        while True:
            try:
                self._got.append(self._socket.recv(1024))
            except BlockingIOError:
                return self._got


@pytest.fixture(params=["udp", "file"])
def outside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outside]:
    """Provide each kind of it."""
    made = Outside(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """Provide a daemon that may act again."""
    config = {
        "replay.policy": "execute",
        "allow.write_dirs": [str(tmp_path)],
        "allow.connect": ["127.0.0.1:*"],
    }
    with running_daemon(config=config) as started:
        yield started


def _audit(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))


def test_it_sends_for_real_only_when_told_to_and_no_more_than_it_may(
    outside: Outside, daemon: DaemonProcess, tmp_path: Path
) -> None:
    """Dry: nothing arrives. Execute: everything, once. At the limit: exactly so many, exit 1."""
    given = frames([b"%d %s" % (n, b"drop" if n % 3 == 1 else b"keep") for n in range(COUNT)])
    kept = [each for each in given if b"keep" in each.payload]
    authority = Authority(write_dirs=(str(tmp_path),), connect=("127.0.0.1:*",))
    capture = write_capture(
        tmp_path / "capture",
        outside.spec,
        outside.deployment,
        Capture({"in": given}, {"out": kept}),
        authority,
        client_output=False,
    )
    audit = tmp_path / "audit.json"
    code, result, said = replay(daemon.address, capture, "--audit", audit)
    assert (code, result["verdict"], result["mode"]) == (0, "equal", "dry_run"), said
    assert outside.got() == []
    (row,) = _audit(audit)["actions"]
    assert (row["action"], row["role"], row["stage"]) == (f"adapter:{outside.kind}", "out", None)
    assert (row["input_lane"], row["output_lane"]) == ("ring-0", None)
    assert (row["decision"], row["count"]) == ("DryRunOnly", len(kept))

    code, result, said = replay(daemon.address, capture, "--execute", "--audit", audit)
    assert (code, result["verdict"], result["mode"]) == (0, "equal", "execute"), said
    assert result["actions"] == len(kept)
    wanted = [each.payload for each in kept]
    until(lambda: len(outside.got()) >= len(kept), 10.0, "everything arrived")
    assert outside.got() == wanted
    (row,) = _audit(audit)["actions"]
    assert (row["decision"], row["count"]) == ("Allow", len(kept))

    limited: list[str | Path] = ["--execute", "--max-actions", str(LIMIT), "--audit", audit]
    code, result, said = replay(daemon.address, capture, *limited)
    assert (code, result["stopped_by"], result["actions"]) == (1, "actions_limit", LIMIT), said
    assert "ACTION_LIMIT" in result["failure"]["message"]
    until(lambda: len(outside.got()) >= len(kept) + LIMIT, 10.0, "the first arrived")
    assert outside.got() == [*wanted, *wanted[:LIMIT]]
    document = _audit(audit)
    assert document["limits"]["actions_max"] == LIMIT
    assert document["limits"]["actions_reached"] is True
    assert document["result"]["stopped_by"] == "actions_limit"
    assert document["actions"][0]["count"] == LIMIT
