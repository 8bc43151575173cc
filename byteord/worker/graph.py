"""Opening a unit of a LaneGraph: its ports laid out for the native loop, the size of its batches.

Owns that translation from the plan. It must not run anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byteord._cext.graph import Graph
from byteord._cext.journal import READER_BATCH_MAX
from byteord._cext.worker import Host
from byteord.deployment.plan import (
    GONE_BYTES,
    STATE_DOUBLE_BYTES_MAX,
    RolePlan,
    RunPlan,
    UnitPlan,
    role_payload_bytes,
)
from byteord.deployment.ports import (
    MemberPorts,
    RxPort,
    TxPort,
    UnitPorts,
    progress_wanted,
    unit_ports,
)
from byteord.spec.lane_model import LOSSY_SHARE
from byteord.worker.journals import Journals
from byteord.worker.replay import Scripts, scripts_of

STAGING_BYTES_MAX = 16 << 20
"""Private memory of a unit for slots that lie in no ring; bounds its batches."""


def open_graph(
    host: Host, plan: RunPlan, unit: UnitPlan, batch_max: int, journals: Journals, *, gone: int = 0
) -> tuple[Graph, int]:
    """Return the unit's ports over the rings of `host`, and the largest batch that they allow.

    `gone`: address where a replay notes by role what journals had let go of; 0: nowhere.
    """
    ports = unit_ports(plan, unit)
    roles = [plan.roles[role] for role in unit.roles]
    lanes = [port.lane for port in ports.rx] + [port.lane for port in ports.tx]
    widest = max((plan.lanes[lane].slot_bytes for lane in lanes), default=64)
    outputs = max(role.outputs_max for role in roles)
    batch = _batch(plan, ports, batch_max, widest * outputs)
    scripts = {role.index: scripts_of(plan, role) for role in roles}
    lossy = any(port.cell < 0 for port in ports.rx)
    graph = Graph(
        area=host.area_address(unit.index),
        words=ports.words,
        entries=batch,
        staging_bytes=widest,
        copy_bytes=widest if lossy else 0,
        extra_max=batch * (outputs - 1),
        wants_progress=progress_wanted(plan),
        rx=[
            _rx(
                host,
                port,
                journals,
                lost=_input_losses(scripts, ports, at),
                gone=_reader(ports, at) * GONE_BYTES + gone if gone else 0,
            )
            for at, port in enumerate(ports.rx)
        ],
        tx=[
            _tx(host, plan, port, journals, script=_output_script(scripts, ports, at))
            for at, port in enumerate(ports.tx)
        ],
        members=[
            _member(plan, role, member, scripts[role.index])
            for role, member in zip(roles, ports.members, strict=True)
        ],
    )
    return graph, batch


def _batch(plan: RunPlan, ports: UnitPorts, batch_max: int, bytes_each: int) -> int:
    most = min(batch_max, max(STAGING_BYTES_MAX // bytes_each, 1))
    if any(port.journal for port in ports.rx):
        most = min(most, READER_BATCH_MAX)
    for port in ports.tx:
        if port.journal:
            continue
        capacity = plan.lanes[port.lane].capacity
        most = min(most, capacity // LOSSY_SHARE if port.lossy else capacity)
    return max(most, 1)


def _rx(host: Host, port: RxPort, journals: Journals, *, lost: bytes, gone: int) -> dict[str, Any]:
    return {
        "journal": journals.readers[port.lane].address if port.journal else 0,
        "ring": host.ring_address(port.ring),
        "cell": port.cell,
        "word": port.word,
        "source": port.source,
        "monotone": port.monotone,
        "depends": port.depends,
        "lost": lost,
        "gone": gone if port.journal else 0,
    }


def _reader(ports: UnitPorts, at: int) -> int:
    """Return the role that reads at a port."""
    for member in ports.members:
        first, count = member.rx
        if first <= at < first + count:
            return member.role
    return 0


def _input_losses(scripts: Mapping[int, Scripts], ports: UnitPorts, at: int) -> bytes:
    """Return what was missed at a port, which its role numbers from its first on."""
    for member in ports.members:
        first, count = member.rx
        if first <= at < first + count:
            return scripts[member.role].lost.get(at - first, b"")
    return b""


def _output_script(scripts: Mapping[int, Scripts], ports: UnitPorts, at: int) -> bytes:
    """Return what was kept and dropped at a port, which its role numbers from its first on."""
    for member in ports.members:
        first, count = member.tx
        number = count if at == member.dead_letter else at - first
        if at == member.dead_letter or first <= at < first + count:
            return scripts[member.role].outputs.get(number, b"")
    return b""


def _tx(
    host: Host, plan: RunPlan, port: TxPort, journals: Journals, *, script: bytes
) -> dict[str, Any]:
    capacity = plan.lanes[port.lane].capacity
    return {
        "journal": journals.writers[port.lane].address if port.journal else 0,
        "ring": host.ring_address(port.ring),
        "word": port.word,
        "drops": port.drops and not script,
        "script": script,
        "claim_max": capacity // LOSSY_SHARE if port.lossy else capacity,
    }


def _member(plan: RunPlan, role: RolePlan, ports: MemberPorts, scripts: Scripts) -> dict[str, Any]:
    payload_max = role_payload_bytes(plan, role)
    return {
        "rx": ports.rx,
        "tx": ports.tx,
        "dead_letter": ports.dead_letter,
        "place_word": ports.place_word,
        "pick": role.mode if role.kind == "merge" else "fair",
        "route": role.mode if role.kind == "router" else "broadcast",
        "key": role.key or (0, 0),
        "payload_max": payload_max,
        "outputs_max": role.outputs_max,
        "large_state": role.state_bytes > STATE_DOUBLE_BYTES_MAX,
        "take": scripts.take,
        "steer": scripts.steer,
        "staged": any(plan.lanes[rx.lane].slot_bytes - 16 > payload_max for rx in role.rx),
    }
