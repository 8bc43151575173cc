"""When a recorder is overrun, and when it only fell behind."""

from __future__ import annotations

import pytest

from byteord.worker.overrun import WINDOW_S, Overrun, reading


def _judged(*, came: int, lost: int, cpu_s: float, wall_s: float = WINDOW_S) -> bool:
    """Return the judgement on one window of a stream that had lost some before."""
    overrun = Overrun(reading(5.0, 1.0, [{"seen": 1_000, "lost": 100}]))
    assert not overrun.is_so
    after = {"seen": 1_000 + came, "lost": 100 + lost}
    overrun.judge(reading(5.0 + wall_s, 1.0 + cpu_s, [after]))
    return overrun.is_so


@pytest.mark.parametrize("cpu_s", [WINDOW_S, WINDOW_S / 2, WINDOW_S / 50])
def test_it_goes_by_what_a_message_costs_not_by_how_many_were_taken(cpu_s: float) -> None:
    """The same run is the same to a recorder that rests, or that others keep from its CPU."""
    each_s = 1e-7  # a CPU takes a million of them in the window
    taken = int(cpu_s / each_s)
    for came, overrun in ((1_500_000, False), (2_500_000, True)):
        assert _judged(came=came, lost=came - taken, cpu_s=cpu_s) is overrun


def test_without_a_loss_nobody_is_overrun() -> None:
    """Whatever the CPU time: it takes what comes."""
    assert not _judged(came=1_000, lost=0, cpu_s=WINDOW_S)


def test_one_stream_is_enough_and_the_last_window_counts() -> None:
    """A digest may take far more of a CPU than the messages that are kept; then it is over."""
    calm = {"seen": 0, "lost": 0}
    overrun = Overrun(reading(0.0, 0.0, [calm, calm]))
    assert not overrun.due(WINDOW_S / 2)
    assert overrun.due(WINDOW_S)
    flooded = {"seen": 1_000_000, "lost": 999_000}
    overrun.judge(reading(WINDOW_S, WINDOW_S / 2, [calm, flooded]))
    assert overrun.is_so
    overrun.judge(reading(2 * WINDOW_S, WINDOW_S, [calm, flooded]))
    assert not overrun.is_so
