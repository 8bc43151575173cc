"""Stages that see the clock and where their batches end, recorded live and called so again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.recording_host import RecordingHost
from tests.support.replayed import replay

MESSAGES = 6_000
RING = """
version = 1
name = "clocked"
model = "single_ring"
[ring]
capacity = 256
slot_bytes = 128
[[stages]]
name = "first"
stage = "python:clocked:Stamp"
mutates = "all"
resizes = true
deterministic = true
effects = []
[[stages]]
name = "second"
stage = "python:clocked:Stamp"
depends_on = [0]
mutates = "all"
resizes = true
deterministic = true
effects = []
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
SHARDED = RING.replace(
    "capacity = 256",
    'capacity = 256\nshards = 4\nordering = "per_key"\nshard_key = { offset = 4, length = 2 }',
    1,
)
GRAPH = """
version = 1
name = "clocked"
model = "lane_graph"
on_full = "block"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
[plan]
capacity = 128
slot_bytes = 128
[[plan.stages]]
name = "first"
stage = "python:clocked:Stamp"
mutates = "all"
resizes = true
deterministic = true
effects = []
[[plan.stages]]
name = "second"
stage = "python:clocked:Stamp"
mutates = "all"
resizes = true
deterministic = true
effects = []
[[plan.connections]]
from = "in"
to = "first"
[[plan.connections]]
from = "first"
to = "second"
[[plan.connections]]
from = "second"
to = "out"
"""
CODE = '''
class Stamp:
    """Write clock and size of the batch behind each message."""
    def __init__(self, ctx):
        self.ctx = ctx
    def process(self, batch):
        assert self.ctx.now_ns == batch.now_ns
        for index, payload in enumerate(batch):
            text = b" %d/%d" % (batch.now_ns, len(batch))
            batch.replace(index, bytes(payload) + text)
'''


@pytest.fixture(scope="module")
def host() -> Iterator[RecordingHost]:
    """Provide the directories."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        yield RecordingHost(Path(place), {"clocked.py": CODE}, MESSAGES)


@pytest.fixture(scope="module")
def daemon(host: RecordingHost) -> Iterator[DaemonProcess]:
    """Provide a daemon that may use them."""
    with host.daemon() as started:
        yield started


def recorded(host: RecordingHost, daemon: DaemonProcess, text: str, fuse: str) -> Path:
    """Run the spec; return its capture."""
    capture = host.record(daemon, text, "--set", f"tuning.fuse={fuse}")
    stamped = host.output.read_bytes().splitlines()
    assert len(stamped) == MESSAGES
    assert len({line.split()[1] for line in stamped}) > 1, "a run of one batch shows nothing"
    return capture


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "fuse"),
    [
        (RING, "never"),
        (RING, "always"),
        (GRAPH, "auto"),
        (SHARDED, "auto"),
        (SHARDED, "always"),
    ],
    ids=["ring-apart", "ring-fused", "graph", "shards-apart", "shards-fused"],
)
def test_stages_see_the_clock_and_the_batches_that_they_saw_live(
    host: RecordingHost, daemon: DaemonProcess, text: str, fuse: str
) -> None:
    """Clock and batch size stand in the output, and it is equal; a paced replay is no exception."""
    capture = recorded(host, daemon, text, fuse)
    code, result, said = replay(daemon.address, capture)
    assert (code, result["verdict"], result["reasons"]) == (0, "equal", []), (said, result)
    assert result["egresses"][0]["count"] == MESSAGES
    code, result, said = replay(daemon.address, capture, "--speed", "10")
    assert (code, result["verdict"]) == (0, "equal"), (said, result)
    # the last batch is cut, and these stages write its size: they are not to blame for that
    code, result, said = replay(daemon.address, capture, "--to-sequence", "2999")
    assert (code, result["replayed"]) == (0, 3000), (said, result)
    seen = {each["code"] for each in result["reasons"]}
    if result["verdict"] != "equal":  # where the cut falls between two batches
        assert seen == {"clock_not_replayed"}, (said, result)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", [RING, GRAPH], ids=["ring", "graph"])
def test_without_the_recorded_calls_a_stage_that_reads_the_clock_is_not_comparable(
    host: RecordingHost, daemon: DaemonProcess, text: str
) -> None:
    """The choices gone: the reason is told for each stage that reads the clock."""
    capture = recorded(host, daemon, text, "auto")
    bare = host.top / "data" / "bare"
    shutil.copytree(capture, bare)
    shutil.rmtree(bare / "choices")
    code, result, said = replay(daemon.address, bare)
    shutil.rmtree(bare)
    assert (code, result["verdict"]) == (0, "not_comparable"), (said, result)
    assert [each["code"] for each in result["reasons"]] == ["clock_not_replayed"] * 2
