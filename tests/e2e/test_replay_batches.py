"""A stage that tells how its calls were cut, not the clock: called so again, or the reason told."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.recording_host import RecordingHost
from tests.support.replayed import replay

MESSAGES = 4_000
SPEC = """
version = 1
name = "sized"
model = "single_ring"
[ring]
capacity = 256
slot_bytes = 128
[[stages]]
name = "size"
stage = "python:sized:Sized"
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
CODE = '''
class Sized:
    """Write the size of the batch behind each message."""
    def __init__(self, ctx):
        pass
    def process(self, batch):
        for index, payload in enumerate(batch):
            batch.replace(index, bytes(payload) + b" %d" % len(batch))
'''


@pytest.fixture(scope="module")
def host() -> Iterator[RecordingHost]:
    """Provide the directories; no code beside the stage's says anything of a clock."""
    with tempfile.TemporaryDirectory(prefix="byteor-t-", dir="/tmp") as place:
        yield RecordingHost(Path(place), {"sized.py": CODE}, MESSAGES)


@pytest.fixture(scope="module")
def daemon(host: RecordingHost) -> Iterator[DaemonProcess]:
    """Provide a daemon that may use them."""
    with host.daemon() as started:
        yield started


@pytest.mark.timeout(60)
def test_without_the_recorded_calls_other_batches_are_the_reason(
    host: RecordingHost, daemon: DaemonProcess
) -> None:
    """With them it is equal; without them, or given from the middle, it is told why not."""
    capture = host.record(daemon, SPEC)
    assert len({line.split()[1] for line in host.output.read_bytes().splitlines()}) > 1
    code, result, said = replay(daemon.address, capture)
    assert (code, result["verdict"], result["reasons"]) == (0, "equal", []), (said, result)
    bare = host.top / "data" / "bare"
    shutil.copytree(capture, bare)
    shutil.rmtree(bare / "choices")
    for source, more, wanted in (
        (bare, [], ["calls_not_replayed"]),
        (capture, ["--from-sequence", "100"], ["partial_range", "calls_not_replayed"]),
    ):
        code, result, said = replay(daemon.address, source, *more)
        assert (code, result["verdict"]) == (0, "not_comparable"), (said, result)
        assert [each["code"] for each in result["reasons"]] == wanted
        assert "stage size" in result["reasons"][-1]["message"]
    code, _, said = replay(daemon.address, bare, "--fail-on", "not-comparable")
    assert code == 1, said
