"""The tapes of a unit: what its worker hands over to the recorder.

Owns that translation from the plan.
"""

from __future__ import annotations

from byteord._cext.capture import UnitCapture
from byteord._cext.worker import Host
from byteord.deployment.plan import RunPlan, UnitPlan
from byteord.deployment.ports import tape_rings


def open_tapes(host: Host, plan: RunPlan, unit: UnitPlan) -> UnitCapture | None:
    """Return what the unit hands over to; None where nothing of it is recorded."""
    capture = plan.capture
    if capture is None:
        return None
    waits = capture.on_full == "wait"
    mine = [
        (tape.kind, tape.member, host.ring_address(ring), waits, tape.ports)
        for tape, ring in zip(capture.tapes, tape_rings(plan), strict=True)
        if tape.unit == unit.index
    ]
    return UnitCapture(mine) if mine else None
