"""Two UDP sources and a client publisher into one lane, through the daemon: nothing unaccounted.

With `block` what the sockets took and the client sent comes out; with `drop` sent = delivered +
dropped, exactly. Each producer's order is kept.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from byteord import client
from byteord.regions.reader import RunReader
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

EACH, WINDOW = 4_000, 200
SPEC = """
version = 1
name = "gather"
model = "lane_graph"
[[lanes]]
name = "all"
publishers_max = 3
capacity = 64
on_full = "ON_FULL"
[[lanes]]
name = "out"
capacity = 64
[[roles]]
name = "pass"
kind = "stage"
rx = ["all"]
tx = ["out"]
stage = "identity"
[[endpoints]]
name = "left"
kind = "ingress"
lane = "all"
[[endpoints]]
name = "right"
kind = "ingress"
lane = "all"
[[endpoints]]
name = "mine"
kind = "ingress"
lane = "all"
[[endpoints]]
name = "sink"
kind = "egress"
lane = "out"
"""
DEPLOYMENT = """
version = 1
[adapters.left]
kind = "udp"
bind = "127.0.0.1:LEFT"
receive_buffer = 262144
[adapters.right]
kind = "udp"
bind = "127.0.0.1:RIGHT"
receive_buffer = 262144
[adapters.mine]
kind = "client"
[adapters.sink]
kind = "file"
path = "PATH"
framing = "lines"
mode = "truncate"
"""


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _snapshot(daemon: DaemonProcess, run: str) -> dict[str, Any]:
    done = byteorctl("--address", daemon.address, "snapshot", run, "-o", "json")
    assert done.returncode == 0, done.stderr
    regions: dict[str, Any] = json.loads(done.stdout)["regions"]
    return regions


def _received(reader: RunReader, role: str) -> int:
    return int(next(each["received"] for each in reader.read()["roles"] if each["name"] == role))


def _send(ports: dict[str, int], directory: str) -> None:
    """Send from all three; the sockets never get more ahead than the kernel buffers."""
    reader = RunReader(directory)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        client.attach(directory, "mine") as publisher,
    ):
        for first in range(0, EACH, WINDOW):
            for role, port in ports.items():
                for number in range(first, first + WINDOW):
                    sender.sendto(b"%s:%06d" % (role.encode(), number), ("127.0.0.1", port))
            for number in range(first, first + WINDOW):
                publisher.publish(b"mine:%06d" % number)
            for role in ports:
                _until_received(reader, role, first + WINDOW)


def _until_received(reader: RunReader, role: str, count: int) -> None:
    until(lambda: _received(reader, role) >= count, 20, role)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("on_full", ["block", "drop"])
def test_three_producers_of_one_lane_account_for_every_message(
    tmp_path: Path, on_full: str
) -> None:
    """With `block` each of them, with `drop` what came and what was dropped, is what was sent."""
    ports = {"left": _free_port(), "right": _free_port()}
    out = tmp_path / "out"
    text = DEPLOYMENT.replace("LEFT", str(ports["left"])).replace("RIGHT", str(ports["right"]))
    (tmp_path / "spec.toml").write_text(SPEC.replace("ON_FULL", on_full))
    (tmp_path / "deployment.toml").write_text(text.replace("PATH", str(out)))
    allowed = {"allow.write_dirs": [str(tmp_path)], "allow.listen": ["127.0.0.1:*"]}
    with running_daemon(config=allowed) as daemon:
        spec = str(tmp_path / "spec.toml")
        done = byteorctl("--address", daemon.address, "run", "--detach", spec)
        assert done.returncode == 0, done.stderr
        run = done.stdout.decode().strip()
        directory = str(next(path for path in daemon.run_directories() if path.name == run))
        _send(ports, directory)
        assert byteorctl("--address", daemon.address, "stop", run).returncode == 0
        lanes = {each["name"]: each for each in _snapshot(daemon, run)["lanes"]}
    got = out.read_bytes().splitlines()
    dropped = sum(lanes["all"]["dropped"].values())
    assert len(got) + dropped == 3 * EACH
    assert lanes["all"]["published"] == len(got) == lanes["out"]["consumed"]
    for name in (b"left", b"right", b"mine"):
        mine = [message for message in got if message.startswith(name)]
        assert mine == sorted(set(mine))
    if on_full == "block":
        assert dropped == 0
        assert set(Counter(message.split(b":")[0] for message in got).values()) == {EACH}
