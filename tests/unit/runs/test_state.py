"""The life of a run as a table."""

from __future__ import annotations

import pytest

from byteord.runs.state import FOLLOWERS, RunState, may_follow


def test_every_state_is_in_the_table() -> None:
    """No state is without a line."""
    assert set(FOLLOWERS) == set(RunState)


@pytest.mark.parametrize("state", list(RunState))
def test_only_ends_are_terminal(state: RunState) -> None:
    """A run has ended exactly when it completed, was stopped or failed."""
    assert state.terminal == (state in {RunState.COMPLETED, RunState.STOPPED, RunState.FAILED})


@pytest.mark.parametrize("state", list(RunState))
def test_every_live_state_can_fail_and_none_goes_back(state: RunState) -> None:
    """Anything alive can fail; nothing returns to `starting`; staying is always allowed."""
    assert may_follow(state, state)
    assert may_follow(state, RunState.FAILED) == (not state.terminal or state is RunState.FAILED)
    assert may_follow(state, RunState.STARTING) == (state is RunState.STARTING)


def test_no_cycle() -> None:
    """A run changes its state at most as often as there are states."""
    seen: list[RunState] = []

    def visit(state: RunState, path: tuple[RunState, ...]) -> None:
        assert state not in path
        seen.append(state)
        for follower in FOLLOWERS[state]:
            visit(follower, (*path, state))

    visit(RunState.STARTING, ())
    assert set(seen) == set(RunState)
