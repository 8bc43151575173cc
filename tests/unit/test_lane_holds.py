"""Who holds whom back, also where that goes round in a circle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from byteord.deployment.plan import RunPlan
from byteord.regions.lanes import holds


def _plan(*names: str) -> RunPlan:
    """Return as much of a plan as it takes: each role writes to the lane of its own number."""
    roles = [
        SimpleNamespace(name=name, tx=[SimpleNamespace(lane=lane)], dead_letter=None)
        for lane, name in enumerate(names)
    ]
    return cast("RunPlan", SimpleNamespace(roles=roles))


def _lane(by: str, *, full: bool = True) -> dict[str, Any]:
    return {"name": "l", "full": full, "on_full": "block", "held_by": by, "held_lag_slots": 7}


@pytest.mark.timeout(10)
def test_a_chain_ends_at_its_root_and_a_circle_somewhere_in_it() -> None:
    """A merge that waits for a lane which its own backlog keeps empty is told, not looked for."""
    chain = holds(_plan("a", "b", "c"), [_lane("b"), _lane("c"), _lane("x", full=False)])
    assert {name: held["root"] for name, held in chain.items()} == {"a": "c", "b": "c"}
    alone = holds(_plan("a", "b"), [_lane("b"), _lane("b")])
    assert {name: held["root"] for name, held in alone.items()} == {"a": "b", "b": "b"}
    waits = {"merge": {"lane": "l", "by": "router"}}
    circle = holds(
        _plan("in", "router", "merge"),
        [_lane("router"), _lane("merge"), _lane("x", full=False)],
        waits,
    )
    assert set(circle) == {"in", "router", "merge"}
    assert {held["root"] for held in circle.values()} <= {"router", "merge"}
