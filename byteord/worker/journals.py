"""Opening the journals of a unit: a writer goes on where its commit record says; and readers.

Owns what a restarted worker has to agree with its predecessor on. It must not run anything.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from byteord._cext.journal import JournalReader, JournalWriter, index_base
from byteord._cext.worker import Host
from byteord.deployment.plan import JournalPlan, LanePlan, RunPlan, UnitPlan
from byteord.deployment.ports import lane_rings, unit_ports
from byteord.regions.journals import check_room, journal_directory, lock, names, recover


@dataclass(slots=True)
class Journals:
    """The journals that a unit writes and reads, by lane."""

    writers: dict[int, JournalWriter] = field(default_factory=dict)
    readers: dict[int, JournalReader] = field(default_factory=dict)
    locks: list[int] = field(default_factory=list)


def open_journals(
    host: Host, plan: RunPlan, unit: UnitPlan, directory: str, *, began: int
) -> Journals:
    """Open what the unit's ports need.

    `began`: commits of the unit so far; 0 in a new one. RegionError, ResourceError and
    UnavailableError say by name why a journal cannot be used.
    """
    found, ports = Journals(), unit_ports(plan, unit)
    for lane in sorted({port.lane for port in ports.tx if port.journal}):
        _open_writer(found, host, plan, plan.lanes[lane], directory, began=began)
    for lane in sorted({port.lane for port in ports.rx if port.journal}):
        where = journal_directory(directory, plan.lanes[lane])
        found.readers[lane] = JournalReader(str(where))
    return found


def _open_writer(
    found: Journals, host: Host, plan: RunPlan, lane: LanePlan, directory: str, *, began: int
) -> None:
    kept = lane.journal
    if not isinstance(kept, JournalPlan):
        raise TypeError(lane.name)
    where = journal_directory(directory, lane)
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
