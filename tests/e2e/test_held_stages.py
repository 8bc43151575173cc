"""A stage that holds a message: what came before that, by other ways, leaves all the same."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

BEFORE = 100
CODE = """
import os
import threading

GO = os.path.join(os.path.dirname(__file__), "go")


class Hold:
    def __init__(self, ctx):
        pass

    def process(self, batch):
        while any(bytes(payload).endswith(b"hold") for payload in batch) and not os.path.exists(GO):
            threading.Event().wait(0.001)
"""
STAGE = """
name = "hold"
stage = "python:hold:Hold"
deterministic = true
effects = []
"""
ENDS = """
[[endpoints]]
name = "in"
kind = "ingress"
{}
[[endpoints]]
name = "out"
kind = "egress"
{}
"""
RING = f"""
version = 1
name = "held"
model = "single_ring"
[ring]
capacity = 256
shards = 2
ordering = "per_key"
shard_key = {{ offset = 0, length = 1 }}
[[stages]]
{STAGE}
{ENDS.format("", "")}
"""
GRAPH = f"""
version = 1
name = "held"
model = "lane_graph"
[[lanes]]
name = "a"
[[lanes]]
name = "slots"
kind = "sequenced_slots"
[[lanes]]
name = "other"
[[lanes]]
name = "joined"
[[roles]]
name = "route"
kind = "router"
mode = "key_hash"
key = {{ offset = 0, length = 1 }}
rx = ["a"]
tx = ["slots", "other"]
[[roles]]
kind = "stage"
rx = ["slots"]
tx = ["slots"]
{STAGE}
[[roles]]
name = "join"
kind = "merge"
mode = "ordered"
rx = ["slots", "other"]
tx = ["joined"]
{ENDS.format('lane = "a"', 'lane = "joined"')}
"""
DEPLOYMENT = """
version = 1
environment = "dev"
[adapters.in]
kind = "file"
path = "{top}/given"
framing = "lines"
[adapters.out]
kind = "file"
path = "{top}/taken"
framing = "lines"
[tuning]
fuse = "never"
"""


def _way(key: bytes) -> int:
    """Which of two ways the messages of a key go (cext/shard_key.h)."""
    mixed = 1469598103934665603
    for byte in key:
        mixed = (mixed ^ byte) * 1099511628211 % 2**64
    mixed ^= mixed >> 32
    return (mixed * 0x9E3779B97F4A7C15 % 2**64 >> 32) % 2


def _lines() -> list[bytes]:
    letters = [bytes([letter]) for letter in range(ord("a"), ord("z"))]
    held, free = (next(key for key in letters if _way(key) == way) for way in (0, 1))
    before = [free + b"%03d" % number for number in range(BEFORE)]
    after = [key + b"%03d" % number for number in range(BEFORE, 300) for key in (free, held)]
    return [*before, held + b" hold", *after]


def _taken(daemon: DaemonProcess, run: str) -> int:
    done = byteorctl("--address", daemon.address, "status", run, "-o", "json")
    status = json.loads(done.stdout)
    return int(next(role["received"] for role in status["roles"] if role["name"] == "out"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("spec", [RING, GRAPH], ids=["shards", "graph"])
def test_what_came_before_a_held_message_does_not_wait_for_it(tmp_path: Path, spec: str) -> None:
    """All of it leaves, and nothing behind it; once let go, all leaves in the order it came in."""
    given = _lines()
    (tmp_path / "given").write_bytes(b"\n".join(given) + b"\n")
    (tmp_path / "hold.py").write_text(CODE)
    (tmp_path / "spec.toml").write_text(spec)
    (tmp_path / "deployment.toml").write_text(DEPLOYMENT.format(top=tmp_path))
    allowed = [f"--{what}-dir={tmp_path}" for what in ("code", "read", "write")]
    with running_daemon(arguments=allowed) as daemon:
        started = byteorctl("--address", daemon.address, "run", "--detach", tmp_path / "spec.toml")
        assert started.returncode == 0, started.stderr
        run = started.stdout.decode().strip()
        until(lambda: _taken(daemon, run) >= BEFORE, 20.0, "all before the held one left")
        assert all(_taken(daemon, run) == BEFORE for _ in itertools.repeat(None, 3))
        (tmp_path / "go").touch()
        ended = byteorctl("--address", daemon.address, "watch", run)
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "taken").read_bytes().splitlines() == given
