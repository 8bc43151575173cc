"""Directories of durable journals: where they lie, and that they are there before a run begins.

Owns that step. What lies in them is the business of who writes and reads journals.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace

from byteord.adapters.paths import beneath, parent_of, path_error
from byteord.deployment.plan import LanePlan, RunPlan

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def with_absolute_journals(
    lanes: Sequence[LanePlan], write_dirs: tuple[str, ...]
) -> tuple[LanePlan, ...]:
    """Return lanes whose durable journals lie at absolute paths beneath an allowed directory."""
    return tuple(_absolute(lane, write_dirs) for lane in lanes)


def _absolute(lane: LanePlan, write_dirs: tuple[str, ...]) -> LanePlan:
    if lane.journal is None or not lane.journal.durable:
        return lane
    allowed, parts = beneath(lane.journal.directory, write_dirs)
    return replace(lane, journal=replace(lane.journal, directory=posixpath.join(allowed, *parts)))


def make_directories(plan: RunPlan) -> None:
    """Make the directories of durable journals that are not there yet, never through a link.

    The directory around each must exist. DeniedError, NotFoundError or AdapterError says why not.
    """
    for lane in plan.lanes:
        if lane.journal is not None and lane.journal.durable:
            make_directory(lane.journal.directory, plan.write_dirs)


def make_directory(path: str, write_dirs: tuple[str, ...]) -> None:
    """Make one such directory, or see that it is one."""
    with parent_of(path, write_dirs) as (parent, name):
        try:
            try:
                os.mkdir(name, 0o750, dir_fd=parent)
            except FileExistsError:
                os.close(os.open(name, _DIRECTORY, dir_fd=parent))
        except OSError as error:
            raise path_error(path, error, at=path) from error
