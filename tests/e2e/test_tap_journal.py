"""`tap` of a journal lane: what is appended from now on, over segments, in order and counted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byteord import client
from byteord.regions.reader import RunReader
from byteord.regions.tap import LaneTap
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until

SPEC = """
version = 1
name = "kept"
model = "lane_graph"
allow_lanes = ["journal"]
[[lanes]]
name = "first"
slot_bytes = 1024
[[lanes]]
name = "log"
kind = "journal"
slot_bytes = 1024
segment_bytes = 65536
retention_bytes = 1048576
{durable}
[[roles]]
name = "append"
kind = "bridge"
rx = "first"
tx = "log"
[[endpoints]]
name = "in"
kind = "ingress"
lane = "first"
[[endpoints]]
name = "out"
kind = "egress"
lane = "log"
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "client"
[adapters.out]
kind = "discard"
"""
WHERE = {
    "memory": ("", ""),
    "disk": ("durable = true", '[journals.log]\ndirectory = "{top}/log"\n'),
}
MESSAGES_PER_SEGMENT = 65536 // 560


@pytest.fixture(params=WHERE)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DaemonProcess]:
    """Provide a daemon with a run that appends what a client of it says."""
    durable, where = WHERE[request.param]
    (tmp_path / "spec.toml").write_text(SPEC.format(durable=durable))
    (tmp_path / "deployment.toml").write_text(DEPLOYMENT + where.format(top=tmp_path))
    with running_daemon(config={"allow.write_dirs": [str(tmp_path)]}) as daemon:
        done = byteorctl("--address", daemon.address, "run", "--detach", tmp_path / "spec.toml")
        assert done.returncode == 0, done.stderr
        yield daemon
        byteorctl("--address", daemon.address, "stop", "kept")  # unless the test has


def _publish(directory: str, publisher: client.Publisher, begin: int, count: int) -> None:
    """Publish messages and wait until they are committed to the journal."""
    for number in range(begin, begin + count):
        publisher.publish(b"%08d" % number + b"." * 500)
    reader = RunReader(directory)

    def committed() -> bool:
        lanes = reader.read_lanes()
        return bool(lanes[1]["published"] == begin + count)

    until(committed, 20.0, "the journal has them")
    reader.close()


def test_what_is_appended_is_shown_and_the_rest_counted(daemon: DaemonProcess) -> None:
    """Over the ends of segments, from where the tap began; beyond what was asked for is missed."""
    (found,) = daemon.run_directories()
    directory = str(found)
    plan = RunReader(directory).plan
    fresh = LaneTap(directory, plan, "log")
    with client.attach(directory, "in") as publisher:
        _publish(directory, publisher, 0, 10)
        assert [each.sequence for each in fresh.take(100)] == list(range(10))
        tap = LaneTap(directory, plan, "log")
        count = 3 * MESSAGES_PER_SEGMENT
        _publish(directory, publisher, 10, count)
        taken = tap.take(count - 5)
        assert [each.sequence for each in taken] == list(range(10, 5 + count))
        assert [each.payload[:8] for each in taken] == [
            b"%08d" % number for number in range(10, 5 + count)
        ]
        assert len({len(each.payload) for each in taken}) == 1
        assert tap.missed == 5
        _publish(directory, publisher, 10 + count, 3)
        assert [each.sequence for each in tap.take(100)] == list(range(10 + count, 13 + count))
        assert (tap.missed, tap.take(100), tap.ended) == (5, [], False)
        _publish(directory, publisher, 13 + count, 40 * MESSAGES_PER_SEGMENT)
        late = tap.take(1000)
        assert tap.missed + len(late) == 5 + 40 * MESSAGES_PER_SEGMENT
        kept = fresh.take(7)  # what it would go on with was taken by retention
        assert kept[0].payload[:8] == b"%08d" % kept[0].sequence
        assert fresh.missed + len(kept) == 3 + 43 * MESSAGES_PER_SEGMENT
    assert byteorctl("--address", daemon.address, "stop", "kept").returncode == 0
    assert (tap.take(100), tap.ended) == ([], True)
    assert tap.missed + len(late) == 5 + 40 * MESSAGES_PER_SEGMENT


def test_tap_shows_a_journal(daemon: DaemonProcess) -> None:
    """As any other lane."""
    (found,) = daemon.run_directories()
    command = [sys.executable, "-m", "byteorctl", "--address", daemon.address]
    wanted = ["tap", "kept", "log", "--limit", "20", "--timeout", "30"]
    sent = 0
    with (
        client.attach(str(found), "in") as publisher,
        subprocess.Popen(
            [*command, *wanted], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as tap,
    ):

        def over() -> bool:
            nonlocal sent
            publisher.publish(b"entry %d" % sent)
            sent += 1
            return tap.poll() is not None

        until(over, 40.0, "the tap has ended")
        said, _ = tap.communicate()
    assert tap.returncode == 0
    lines = [line.split() for line in said.splitlines()]
    assert len(lines) == 20
    assert all(words[1] == b"entry" and int(words[2]) < sent for words in lines)
