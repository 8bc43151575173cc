"""Which message a worker's roles had in hand when they hung or died, and how exactly that is known.

Owns the words. Reads the control region and the ring only; must not need the worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from byteord._cext import control, region
from byteord.deployment.plan import RunPlan


@dataclass(frozen=True, slots=True)
class InHand:
    """A role inside a stage's call, or the first role of a worker that was in none."""

    role: int
    since_ns: int = 0
    """Run clock; 0: in no call."""
    sequence: int | None = None
    digest: bytes = b""
    """SHA-256 of the payload as it stands in the ring; empty when there is none."""
    words: str = ""


def in_hand(
    plan: RunPlan, shown: control.Control, rings: Sequence[region.Ring], roles: Sequence[int]
) -> InHand:
    """Return what the first of `roles` that is inside a call works on."""
    for role in roles:
        since, sequence, exact = shown.busy(role)
        if since:
            payload = rings[max(plan.roles[role].shard, 0)].payload(sequence)
            digest = hashlib.sha256(payload).digest() if payload is not None else b""
            return InHand(role, since, sequence, digest, _words(sequence, exact=exact))
    return InHand(roles[0])


def _words(sequence: int, *, exact: bool) -> str:
    if exact:
        return f"; the message that it took last is sequence {sequence}"
    return (
        f"; it had the batch that begins at sequence {sequence} in hand, at which message of it is "
        "not known: sequence and digest are those of the first"
    )
