"""The measurement of replays works; what it measures is for people to judge."""

from __future__ import annotations

from tests.bench.replay_bench import KINDS, as_text, measure


def test_each_kind_of_run_is_recorded_and_replayed_to_equal_digests() -> None:
    """A small round of each: every message is given again, and a rate comes of it."""
    figures = measure(1, 20_000)
    assert [each.kind for each in figures] == [kind.name for kind in KINDS]
    assert all(each.rates[0] > 0 and each.took_s[0] > 0 for each in figures)
    assert as_text(figures).count("\n") == len(KINDS) + 1
