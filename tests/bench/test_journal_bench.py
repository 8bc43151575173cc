"""The journal bench measures what it says: both sides move the same bytes, nothing is left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from byteord.regions.journals import read
from tests.bench.journal_bench import JournalServer, build_journal, line, measure, one_round
from tests.bench.native import BenchError

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the bench needs gcc")
FRAME = 48 + 240


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the server, built once."""
    return build_journal(tmp_path_factory.mktemp("journal"))


@pytest.mark.parametrize("kind", ["cached", "synced"])
def test_both_sides_write_the_same_bytes(program: Path, tmp_path: Path, kind: str) -> None:
    """An append writes as many bytes as the plain side, all of them frames."""
    with JournalServer(program, tmp_path) as server:
        ours, plain = one_round(server, kind, 240, 1, ours_first=True)
    assert ours.frames == plain.frames == (1 << 20) // FRAME
    assert ours.bytes == plain.bytes == ours.frames * FRAME


def test_what_is_replayed_is_a_journal_and_every_frame_of_it(program: Path, tmp_path: Path) -> None:
    """The journal that is timed is one: its frames are read back by byteord, and all replayed."""
    with JournalServer(program, tmp_path) as server:
        made = server.ask("make", 240, 20)
        kept = read(tmp_path)
        replayed, mapped = one_round(server, "replay", 240, 20, ours_first=False)
    assert [sequence for sequence, *_ in kept] == list(range(made.frames))
    assert all(payload == bytes([index % 256]) * 240 for index, (*_, payload) in enumerate(kept))
    assert replayed.frames == made.frames
    words = (int.from_bytes(payload[:8], "little") for *_, payload in kept)
    assert replayed.sum == sum(words) % (1 << 64)
    assert mapped.bytes == made.bytes
    assert mapped.sum != 0


def test_a_row_has_both_sides_and_a_verdict(program: Path, tmp_path: Path) -> None:
    """The target is judged on the payload that fills a default slot, and the line says so."""
    with JournalServer(program, tmp_path) as server:
        row = measure(server, "replay", 240, 2)
        text = line(row)
        assert row["verdict"] in {"reached", "missed"}
        assert f"want >= 0.7: {row['verdict'].upper()}" in text
        with pytest.raises(BenchError, match="usage"):
            server.ask("append", 4, 1)
