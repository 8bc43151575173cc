"""Time for inputs of clients: a merge by time need not wait for who is not there, or is stopped.

Owns no input. One that nobody plays it takes for each look as a client would, for microseconds, and
says so on the ring, so that a client that comes meanwhile waits that long and is not refused. For a
client that is there and silent it says that time has passed, unless that one is about to publish.
"""

from __future__ import annotations

import os
import selectors
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from byteord._cext.client import ClosedError
from byteord._cext.region import RegionFault
from byteord._cext.timekeeping import SilentInput
from byteord.client import client_places, handle_at, keeping_time
from byteord.deployment.plan import RolePlan, RunPlan
from byteord.deployment.ports import progress_wanted
from byteord.errors import UnavailableError
from byteord.regions.create import CONTROL
from byteord.regions.reader import open_region

KEEP_S = 0.005
"""Messages wait for so long at most in a merge because an input has no client."""
SILENT_S = 0.02
"""A client that is there says 20 times as often that time has passed, if it is not stopped."""


class _Place:
    """One ring that a client may publish to: looked after while nobody does."""

    def __init__(self, directory: Path, plan: RunPlan, role: RolePlan, ring: int) -> None:
        """Open it; only `keep` touches it."""
        self._directory, self._plan, self._role = directory, plan, role
        # Of its own: a lock belongs to an open file, and workers share those of the shim.
        self._fd = open_region(directory / plan.rings[ring].file, writable=True)
        self._publisher: Any = None
        self._silent = SilentInput(self._fd)

    def keep(self) -> bool:
        """Say that time has passed, unless a client does; False once there is no more to it."""
        try:
            with suppress(UnavailableError), keeping_time(self._fd):
                self._resume()
                return bool(self._publisher._progress())  # noqa: SLF001 - our own compiled half
        except (ClosedError, RegionFault, ValueError):
            return False  # it has ended, or the run fails by name elsewhere
        return self._silent.keep(SILENT_S)

    def _resume(self) -> None:
        """Go on behind what clients published meanwhile, and what one that died had written."""
        if self._publisher is not None:
            self._publisher._resume()  # noqa: SLF001
            return
        control_fd = open_region(self._directory / CONTROL, writable=True)
        try:
            self._publisher = handle_at(
                self._plan,
                self._role,
                "backoff",
                cell=-1,
                ring_fds=[self._fd],
                control_fd=control_fd,
            )
        finally:
            os.close(control_fd)

    def close(self) -> None:
        """Let go of it."""
        del self._publisher, self._silent
        os.close(self._fd)


class Timekeeper:
    """All inputs of a run that clients may play, where a merge goes by time; else nothing."""

    def __init__(self, directory: str, plan: RunPlan, selector: selectors.BaseSelector) -> None:
        """Open the rings of those inputs."""
        self._selector = selector
        self._places = [
            _Place(Path(directory), plan, role, ring)
            for role in plan.roles
            if role.kind == "ingress" and role.adapter == "client" and progress_wanted(plan)
            for ring, _cell, _byte in client_places(plan, role)
        ]

    def select(self, timeout_s: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events as the selector does, and keep time meanwhile."""
        until = time.monotonic() + timeout_s
        while self._places:
            self._keep()
            left = until - time.monotonic()
            found = self._selector.select(max(0.0, min(KEEP_S, left)))
            if found or left <= KEEP_S:
                return found
        return self._selector.select(max(0.0, until - time.monotonic()))

    def _keep(self) -> None:
        for place in list(self._places):
            if not place.keep():
                self._places.remove(place)
                place.close()
