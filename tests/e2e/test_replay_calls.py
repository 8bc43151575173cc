"""Stages that see the clock and where their batches end, recorded live and called so again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
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
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "stdin"
framing = "lines"
[adapters.out]
kind = "stdout"
framing = "lines"
[tuning]
fuse = "{fuse}"
[capture]
directory = "{top}/data/captures"
outputs = "messages"
"""


class Host:
    """A daemon's directories, and lines for its runs."""

    def __init__(self, top: Path) -> None:
        """Write code and input."""
        self.top = top
        for name in ("code", "data"):
            (top / name).mkdir()
        (top / "code" / "clocked.py").write_text(CODE)
        self.lines = top / "lines"
        self.lines.write_bytes(b"".join(b"%06d\n" % number for number in range(MESSAGES)))

    def spec(self, text: str) -> Path:
        """Return the spec as a file."""
        path = self.top / "code" / "spec.toml"
        path.write_text(text)
        return path

    def record(self, daemon: DaemonProcess, spec: Path, fuse: str) -> Path:
        """Run the spec; return its capture."""
        deployment = self.top / "code" / "deployment.toml"
        deployment.write_text(DEPLOYMENT.format(top=self.top, fuse=fuse))
        done = byteorctl(
            "--address", daemon.address, "-o", "json", "run", spec, "--input", self.lines,
            "--output", self.top / "output",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        stamped = (self.top / "output").read_bytes().splitlines()
        assert len(stamped) == MESSAGES
        assert len({line.split()[1] for line in stamped}) > 1, "a run of one batch shows nothing"
        return max((self.top / "data" / "captures").iterdir(), key=lambda each: each.name)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Provide the directories."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        yield Host(Path(place))


@pytest.fixture(scope="module")
def daemon(host: Host) -> Iterator[DaemonProcess]:
    """Provide a daemon that may use them."""
    config = {
        "allow.code_dirs": [str(host.top / "code")],
        "allow.write_dirs": [str(host.top / "data")],
    }
    with running_daemon(config=config) as started:
        yield started


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
    host: Host, daemon: DaemonProcess, text: str, fuse: str
) -> None:
    """Clock and batch size stand in the output, and it is equal; a paced replay is no exception."""
    capture = host.record(daemon, host.spec(text), fuse)
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
    host: Host, daemon: DaemonProcess, text: str
) -> None:
    """The choices gone: the reason is told for each stage that reads the clock."""
    capture = host.record(daemon, host.spec(text), "auto")
    bare = host.top / "data" / "bare"
    shutil.copytree(capture, bare)
    shutil.rmtree(bare / "choices")
    code, result, said = replay(daemon.address, bare)
    shutil.rmtree(bare)
    assert (code, result["verdict"]) == (0, "not_comparable"), (said, result)
    assert [each["code"] for each in result["reasons"]] == ["clock_not_replayed"] * 2
