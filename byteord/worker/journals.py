"""Opening the journals of a unit: a writer goes on where its commit record says; and readers.

Owns what a restarted worker has to agree with its predecessor on. It must not run anything.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from byteord._cext.journal import JournalReader, JournalWriter, index_base
from byteord._cext.worker import Host
from byteord.adapters.paths import beneath
from byteord.deployment.plan import JournalPlan, LanePlan, RunPlan, UnitPlan
from byteord.deployment.ports import lane_rings, unit_ports
from byteord.regions.journals import check_room, journal_directory, lock, names, recover, unusable


@dataclass(slots=True)
class Journals:
    """The journals that a unit writes and reads, by lane."""

    writers: dict[int, JournalWriter] = field(default_factory=dict)
    readers: dict[int, JournalReader] = field(default_factory=dict)
    locks: list[int] = field(default_factory=list)
    opening: int = -1
    """Lane of the journal that is being opened, or was when that failed; -1: none yet."""

    @property
    def unsure(self) -> bool:
        """Tell whether a sync failed: then nobody knows what is on the disk."""
        return any(writer.unsure for writer in self.writers.values())

    def role(self, plan: RunPlan, unit: UnitPlan) -> int:
        """Return the role of the unit that the journal being opened belongs to."""
        mine = [plan.roles[role] for role in unit.roles]
        for role in mine:
            if self.opening in (*(tx.lane for tx in role.tx), *(rx.lane for rx in role.rx)):
                return role.index
        return unit.roles[0]


def open_journals(
    found: Journals, host: Host, plan: RunPlan, unit: UnitPlan, directory: str, *, began: int
) -> None:
    """Open what the unit's ports need, into `found`.

    `began`: commits of the unit so far; 0 in a new one. RegionError, ResourceError and
    UnavailableError say by name why a journal cannot be used.
    """
    ports = unit_ports(plan, unit)
    for lane in sorted({port.lane for port in ports.tx if port.journal}):
        found.opening = lane
        _open_writer(found, host, plan, plan.lanes[lane], directory, began=began)
    for lane in sorted({port.lane for port in ports.rx if port.journal}):
        found.opening = lane
        where = _where(plan, plan.lanes[lane], directory)
        try:
            found.readers[lane] = JournalReader(str(where))
        except OSError as error:
            raise unusable(where, error) from error


def _where(plan: RunPlan, lane: LanePlan, directory: str) -> Path:
    """Return a journal's directory; a durable one lies beneath what the daemon may write to."""
    kept = lane.journal
    if kept is None or not kept.durable:
        return journal_directory(directory, lane)
    allowed, components = beneath(kept.directory, plan.write_dirs)
    return Path(allowed, *components)


def _open_writer(
    found: Journals, host: Host, plan: RunPlan, lane: LanePlan, directory: str, *, began: int
) -> None:
    kept = lane.journal
    if not isinstance(kept, JournalPlan):
        raise TypeError(lane.name)
    where = _where(plan, lane, directory)
    found.locks.append(lock(where))
    index = host.ring_address(lane_rings(plan, lane)[0])
    base = index_base(index)
    if base is None or not began:
        state = recover(where)
        base = index_base(index, state.next_sequence)
        segments = [each for each in state.segments if base is not None and each[0] < base]
        check_room(where, kept)
    else:
        segments = [(number, os.stat(where).st_mtime_ns) for number in names(where)]
    found.writers[lane.index] = JournalWriter(
        str(where),
        segments=segments,
        base=base or 0,
        segment_bytes=kept.segment_bytes,
        retention_bytes=kept.retention_bytes,
        retention_ns=kept.retention_s * 1_000_000_000,
        sync=kept.sync,
        sync_interval_ns=kept.sync_interval_ms * 1_000_000,
        durable=kept.durable,
    )
