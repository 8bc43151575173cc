"""The generator and the discarding egress, alone."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from byteord._cext import adapter_drive as drive
from byteord._cext import adapters as native
from tests.unit.adapters.support import context, resume_from, sink, source


def test_the_same_seed_gives_the_same_content(tmp_path: Path) -> None:
    """Content is a function of seed and sequence: also from the middle, in any batches."""
    for content in ("counter", "random", "checksummed", "text", "trades"):
        with source("generator", context(tmp_path), content=content, count=100, seed=7) as handle:
            whole = drive.drain(handle)
            assert handle.report()["status"] == native.ENDED
        with source("generator", context(tmp_path), content=content, count=100, seed=7) as handle:
            first = drive.drain(handle, limit=33, max_batch=5)
            resume = resume_from(handle.report())
        with source(
            "generator", context(tmp_path, resume=resume), content=content, count=100, seed=7
        ) as handle:
            assert first + drive.drain(handle, max_batch=1) == whole
        with source("generator", context(tmp_path), content=content, count=100, seed=8) as handle:
            assert drive.drain(handle) != whole
        assert len(set(whole)) > 90


def test_messages_at_once_are_bounded(tmp_path: Path) -> None:
    """A poll gives no more than asked for; what the messages say does not depend on it."""
    with source("generator", context(tmp_path), count=10) as handle:
        whole = drive.drain(handle)
    with source("generator", context(tmp_path), count=10, at_once=3) as handle:
        polls = [drive.drain(handle, once=True) for _ in range(4)]
    assert [len(messages) for messages in polls] == [3, 3, 3, 1]
    assert [message for messages in polls for message in messages] == whole


def test_sizes(tmp_path: Path) -> None:
    """Messages have the size asked for, or sizes between the two."""
    for size in (0, 3, 8, 71, 240):
        with source("generator", context(tmp_path), size=size, count=3) as handle:
            assert [len(message) for message in drive.drain(handle)] == [size] * 3
    with source(
        "generator", context(tmp_path), content="checksummed", size=12, size_max=16, count=200
    ) as handle:
        assert {len(message) for message in drive.drain(handle)} == {12, 13, 14, 15, 16}


def test_a_rate_stamps_the_intended_time(tmp_path: Path) -> None:
    """However late it is asked, each message carries the time it was due; none comes early."""
    with source("generator", context(tmp_path), size=8, rate=1000, count=30) as handle:
        start = 5_000_000_000
        assert drive.drain(handle, now_ns=start, stamped=True) == [(bytes(8), start)]
        assert drive.drain(handle, now_ns=start + 999_999, stamped=True) == []
        assert handle.report()["status"] == native.WAITING
        late = drive.drain(handle, now_ns=start + 20_500_000, stamped=True)
        assert [time_ns - start for _payload, time_ns in late] == [
            number * 1_000_000 for number in range(1, 21)
        ]
        assert len(drive.drain(handle, now_ns=start + 10**12)) == 9
        assert handle.report()["status"] == native.ENDED


def test_text_lines_and_trades_look_real(tmp_path: Path) -> None:
    """The demonstrations have something to find: failed passwords, trades."""
    with source("generator", context(tmp_path), content="text", count=4000) as handle:
        lines = drive.drain(handle)
    pattern = (
        rb"^Dec 10 \d\d:\d\d:\d\d gateway sshd\[\d+\]: Failed password for (invalid user )?\w+ "
        rb"from [\d.]+ port \d+ ssh2$"
    )
    failed = [line for line in lines if b"Failed password" in line]
    assert all(re.match(pattern, line) for line in failed)
    assert 1300 < len(failed) < 1700
    with source("generator", context(tmp_path), content="trades", count=4000) as handle:
        records = [struct.unpack("<BBHIQQqIBBccQiI", record) for record in drive.drain(handle)]
    assert {record[0] for record in records} == {14}
    assert {record[10] for record in records} == {b"A", b"C", b"M", b"F", b"T"}
    assert 60 < sum(record[10] == b"T" for record in records) < 150
    assert all(earlier[12] < later[12] for earlier, later in pairwise(records))


def test_discard_proves_what_came(tmp_path: Path) -> None:
    """The generator's checksummed messages pass as they are, and nothing else does."""
    with source(
        "generator", context(tmp_path), content="checksummed", count=50, size=20, size_max=90
    ) as handle:
        messages = drive.drain(handle)
    with sink("discard", context(tmp_path), verify=True) as handle:
        assert drive.push(handle, [*messages, b""], flags=[0] * 50 + [0x10]) == 51
        assert drive.finish(handle) == native.ENDED
        assert handle.report()["bytes_total"] == sum(map(len, messages))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: m[:3] + m[4:], "message 4 came, 3 was next"),
        (lambda m: m[:4] + m[3:], "message 3 came, 4 was next"),
        (lambda m: [*m[:3], m[4], m[3], *m[5:]], "message 4 came, 3 was next"),
        (lambda m: [*m[:3], m[3][:-1], *m[4:]], "corrupt"),
        (lambda m: [*m[:3], m[3][:-1] + bytes([m[3][-1] ^ 1]), *m[4:]], "corrupt"),
        (lambda m: [*m[:3], b"short", *m[4:]], "has 5 bytes"),
    ],
)
def test_discard_names_what_is_wrong(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], text: str
) -> None:
    """Loss, repetition, disorder, tearing: the sink fails at that message and says which."""
    with source("generator", context(tmp_path), content="checksummed", count=10) as handle:
        messages = drive.drain(handle)
    with sink("discard", context(tmp_path), verify=True) as handle:
        drive.push(handle, change(messages), first_sequence=100)
        report = handle.report()
    assert report["status"] == native.FAILED
    assert text in report["error_text"]
    assert report["position"][0] in {3, 4}


def test_discard_keeps_nothing(tmp_path: Path) -> None:
    """Without verify anything goes."""
    with sink("discard", context(tmp_path)) as handle:
        assert drive.push(handle, [b"x", b"y"]) == 2
