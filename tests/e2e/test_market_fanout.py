"""The market that fans out, through the real daemon and client: one output in every way of running.

Expected lines are computed here, with nothing of the product.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from byteord import samples
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.shared import shared_data
from tests.support.tree import EXAMPLES

JOURNALS: Any = pytest.importorskip(
    "byteord.regions.journals", reason="this build does not execute journals"
)
RECORD = struct.Struct("<16xQqI2xcc16x")
GROUPED = [
    "groups.0.name=branches",
    "groups.0.roles.0=trades",
    "groups.0.roles.1=vwap",
    "groups.0.roles.2=book",
    "groups.1.name=ends",
    "groups.1.roles.0=report-merge",
    "groups.1.roles.1=report",
]
WAYS = {
    "one process": ["--sp", "--set", "tuning.fuse=never"],
    "one process, fused": ["--sp", "--set", "tuning.fuse=always"],
    "a process for each role": ["--set", "tuning.fuse=never"],
    "fused": ["--set", "tuning.fuse=always"],
    "groups": [part for pair in GROUPED for part in ("--set", pair)],
}


@dataclass(frozen=True)
class Place:
    """A copy of the example, and a daemon that allows its code and a journal beside it."""

    directory: Path
    daemon: DaemonProcess


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Provide them for all ways of running."""
    directory = tmp_path_factory.mktemp("market") / "fanout"
    shutil.copytree(EXAMPLES / "market-fanout", directory)
    allowed = {"allow.code_dirs": [str(directory)], "allow.write_dirs": [str(directory)]}
    with running_daemon(config=allowed) as process:
        yield Place(directory, process)


def _market(origin: str) -> bytes:
    if origin == "shared":
        return shared_data("market/esh4-mbo-20k.bin").read_bytes()
    return samples.book_records(4_000, seed=7)


def _expected(data: bytes) -> list[dict[str, Any]]:
    """Return the lines of the report in the order of the records that they come from."""
    lines: list[dict[str, Any]] = []
    orders: dict[int, tuple[bytes, int, int]] = {}
    levels: dict[bytes, Counter[int]] = {b"B": Counter(), b"A": Counter()}
    trades = total = cents = 0
    before: tuple[int | None, int | None] = (None, None)
    for at in range(0, len(data), 56):
        order, price, size, action, side = RECORD.unpack_from(data, at)
        if action == b"T":
            trades, total, cents = trades + 1, total + size, cents + price // 10_000_000 * size
            vwap = round(cents / total / 100, 4)
            said = {"trade": price / 1e9, "size": size, "trades": trades, "total": total}
            lines.append({**said, "vwap": vwap})
        if action in (b"C", b"M") and order in orders:
            where, level, rests = orders.pop(order)
            gone = min(size, rests) if action == b"C" else rests
            levels[where] -= Counter({level: gone})
            if gone < rests:
                orders[order] = (where, level, rests - gone)
        if action in (b"A", b"M"):
            orders[order] = (side, price, size)
            levels[side][price] += size
        best = (max(levels[b"B"], default=None), min(levels[b"A"], default=None))
        if best != before:
            before = best
            bid, ask = (each / 1e9 if each is not None else None for each in best)
            lines.append({"bid": bid, "ask": ask})
    return lines


CASES = [*(("shared", way) for way in WAYS), ("generated", "groups"), ("generated", "fused")]


@pytest.mark.parametrize(("origin", "way"), CASES)
def test_market_fanout(place: Place, origin: str, way: str) -> None:
    """Trades and best prices come out in the order of the feed, the same however it is run.

    The journal holds every record with its digest, in the same order.
    """
    data = _market(origin)
    wanted = _expected(data)
    if origin == "shared":
        assert sum("trade" in line for line in wanted) == 537
        assert wanted[-1] == {"bid": 4806.75, "ask": 4807.0}
    source, target, journal = (place.directory / name for name in ("input", "output", "journal"))
    source.write_bytes(data)
    shutil.rmtree(journal, ignore_errors=True)
    where = [] if "--sp" in WAYS[way] else ["--address", place.daemon.address]
    files = ["--input", str(source), "--output", str(target)]
    result = byteorctl(*where, "run", *WAYS[way], str(place.directory / "spec.toml"), *files)
    assert result.returncode == 0, result.stderr.decode()
    assert [json.loads(line) for line in target.read_text().splitlines()] == wanted
    records = [record for record in JOURNALS.read(journal) if len(record[3]) == 56]
    assert b"".join(payload for _, _, _, payload in records) == data
    assert [sequence for sequence, _, _, _ in records] == list(range(len(data) // 56))
    times = [time_ns for _, _, time_ns, _ in records]
    assert all(before < after for before, after in pairwise(times))
