"""The ledger of approvals: durable, exact, and refusing when it cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from byteord.errors import DataError, ResourceError
from byteord.policy.ledger import Ledger
from tests.support.trust import NOW


def opened(path: Path) -> Ledger:
    """Return a ledger as the next daemon reads it."""
    ledger = Ledger(str(path))
    ledger.open(NOW)
    return ledger


def test_uses_are_counted_across_restarts(tmp_path: Path) -> None:
    """Two uses of two are all; the same run is one use; another approval has its own count."""
    path = tmp_path / "ledger"
    first = opened(path)
    assert first.use("chg-1", "run-1", NOW + 60, 2)
    second = opened(path)
    assert second.use("chg-1", "run-1", NOW + 60, 2)
    assert second.use("chg-1", "run-2", NOW + 60, 2)
    third = opened(path)
    assert not third.use("chg-1", "run-3", NOW + 60, 2)
    assert third.uses("chg-1") == 2
    assert third.uses("chg-1", "run-2") == 1
    assert third.use("chg-2", "run-3", NOW + 60, 1)
    assert third.use("chg-3", "run-3", NOW + 60, 0)


def test_a_torn_line_is_dropped_and_damage_is_not(tmp_path: Path) -> None:
    """What a crash left of a line never counted; a changed line may hide a use, so nothing goes."""
    path = tmp_path / "ledger"
    opened(path).use("chg-1", "run-1", NOW + 60, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-9])
    assert opened(path).uses("chg-1") == 1
    path.write_bytes(whole.replace(b"run-1", b"run-9"))
    damaged = opened(path)
    with pytest.raises(DataError, match="checksum"):
        damaged.uses("chg-1")
    with pytest.raises(DataError, match="checksum"):
        damaged.use("x", "r", NOW, 1)


def test_what_expired_long_ago_is_forgotten(tmp_path: Path) -> None:
    """The file does not grow for ever: an approval that can hold no more needs no count."""
    path = tmp_path / "ledger"
    opened(path).use("old", "run-1", NOW - 2 * 86_400, 1)
    assert opened(path).uses("old") == 0
    assert path.read_bytes() == b""


def test_a_use_that_cannot_be_written_does_not_count(tmp_path: Path) -> None:
    """Without a place to write there is no use, and the error says so."""
    ledger = Ledger(str(tmp_path / "gone" / "ledger"))
    ledger.open(NOW)
    with pytest.raises(ResourceError) as caught:
        ledger.use("chg-1", "run-1", NOW + 60, 1)
    assert caught.value.reason == "LEDGER_NOT_WRITABLE"
    assert ledger.uses("chg-1") == 0
