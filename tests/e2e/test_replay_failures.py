"""Stages that fail on messages and go on: again on the same ones, or it is told where not."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess
from tests.support.recording_host import RecordingHost
from tests.support.replayed import replay

MESSAGES = 4_000
ALWAYS = {7, 8, 3999}
RING = """
version = 1
name = "failing"
model = "single_ring"
[ring]
capacity = 256
slot_bytes = 128
[[stages]]
name = "picky"
stage = "python:failing:{stage}"
mutates = "all"
resizes = true
deterministic = true
effects = []
[[stages]]
name = "after"
stage = "python:failing:Size"
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
GRAPH = """
version = 1
name = "failing"
model = "lane_graph"
on_full = "block"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
[[endpoints]]
name = "bad"
kind = "egress"
[plan]
capacity = 128
slot_bytes = 128
[[plan.stages]]
name = "picky"
stage = "python:failing:{stage}"
mutates = "all"
resizes = true
deterministic = true
effects = []
dead_letter = "bad"
[[plan.stages]]
name = "after"
stage = "python:failing:Size"
mutates = "all"
resizes = true
deterministic = true
effects = []
dead_letter = "bad"
[[plan.connections]]
from = "in"
to = "picky"
[[plan.connections]]
from = "picky"
to = "after"
[[plan.connections]]
from = "after"
to = "out"
"""
CODE = '''
from pathlib import Path

BAD = {7, 8, 3999, int((Path(__file__).parent / "also").read_text())}

class Size:
    """Write the size of the batch behind each message."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for index, payload in enumerate(batch):
            batch.replace(index, bytes(payload) + b" %d" % len(batch))

class Picky(Size):
    """It cannot do some numbers."""
    def process(self, batch):
        for index, payload in enumerate(batch):
            if int(bytes(payload)) in BAD:
                raise ValueError("cannot do %d" % int(bytes(payload)))
            batch.replace(index, bytes(payload) + b" %d" % len(batch))

class Vague(Size):
    """As Picky, but it does not tell which message of a batch it was."""
    def process(self, batch):
        for index in reversed(range(len(batch))):
            if int(bytes(batch.payload(index))) in BAD:
                batch.payload(0)
                raise ValueError("cannot do one of them")
        super().process(batch)
'''


@pytest.fixture(scope="module")
def host() -> Iterator[RecordingHost]:
    """Provide the directories; which number fails besides lies in a file beside the code."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        yield RecordingHost(Path(place), {"failing.py": CODE}, MESSAGES)


@pytest.fixture(scope="module")
def daemon(host: RecordingHost) -> Iterator[DaemonProcess]:
    """Provide a daemon that may use them."""
    with host.daemon() as started:
        yield started


def _recorded(host: RecordingHost, daemon: DaemonProcess, text: str, stage: str, fuse: str) -> Path:
    """Run the spec, failing on 1500 as well; return its capture."""
    deployment = host.top / "code" / "deployment.toml"
    more = '[failure]\npolicy = "skip"\n'
    if text == GRAPH:
        bad = f'kind = "file"\nframing = "lines"\nmode = "truncate"\npath = "{host.top}/data/bad"'
        more = f'[adapters.bad]\n{bad}\n[failure]\npolicy = "dead_letter"\n'
    plain = deployment.read_text()
    deployment.write_text(plain + more)
    (host.top / "code" / "also").write_text("1500")
    capture = host.record(daemon, text.format(stage=stage), "--set", f"tuning.fuse={fuse}")
    deployment.write_text(plain)
    left = {int(line.split()[0]) for line in host.output.read_bytes().splitlines()}
    assert set(range(MESSAGES)) - left == {*ALWAYS, 1500}
    return capture


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "stage", "fuse"),
    [(RING, "Picky", "always"), (RING, "Vague", "never"), (GRAPH, "Picky", "auto")],
    ids=["fused", "apart", "graph"],
)
def test_a_stage_that_went_on_after_failures_fails_again_or_that_is_the_difference(
    host: RecordingHost, daemon: DaemonProcess, text: str, stage: str, fuse: str
) -> None:
    """On the same messages: equal, sizes of batches and all. On another: stage, message, words."""
    capture = _recorded(host, daemon, text, stage, fuse)
    code, result, said = replay(daemon.address, capture)
    assert (code, result["verdict"], result["reasons"]) == (0, "equal", []), (said, result)
    counts = {each["name"]: each["count"] for each in result["egresses"]}
    bad = len({*ALWAYS, 1500})
    assert counts == {"out": MESSAGES - bad, **({"bad": bad} if text == GRAPH else {})}
    assert result["failed_otherwise"] == []
    (host.top / "code" / "also").write_text("2500")
    kept = host.top / "audit.json"
    code, result, said = replay(daemon.address, capture, "--audit", kept)
    assert (code, result["verdict"], result["reasons"]) == (1, "different", []), (said, result)
    rows = [(each["role"], each["live"], each["sequence"]) for each in result["failed_otherwise"]]
    assert rows == [("picky", True, 1500), ("picky", False, 2500)], result
    assert "ValueError: cannot do" in result["failed_otherwise"][1]["error"]
    assert result["divergence"]["sequence"] == 1500
    audited = json.loads(kept.read_text())["result"]["failed_otherwise"]
    assert [(each["sequence"], "error" in each) for each in audited] == [
        (1500, False),
        (2500, False),
    ]
    shown = byteorctl("--address", daemon.address, "replay", capture).stdout.decode()
    assert "it failed on message 1,500 live, and did not now" in shown
    assert "it failed on message 2,500 now (ValueError: cannot do" in shown
