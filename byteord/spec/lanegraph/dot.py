"""The topology of a LaneGraph in the DOT language of Graphviz.

A lane between one producer and one consumer is an edge with its name; what several share, a journal
and a ring that stages work in stand as nodes of their own. What lowering inserted is dashed. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from byteord.spec.dot import quoted, traits
from byteord.spec.lane_model import GraphRole, Lane, LaneGraph, LaneKind, OnFull, RoleKind
from byteord.spec.model import EndpointKind
from byteord.spec.topology import range_text

_HEAD = """\
  rankdir=LR;
  graph [fontname="sans-serif", nodesep=0.35, ranksep=0.6];
  node [fontname="sans-serif", fontsize=12, shape=box, style="rounded,filled",
        fillcolor="#ffffff", color="#444444"];
  edge [fontname="sans-serif", fontsize=9, color="#555555", fontcolor="#555555", arrowsize=0.7];\
"""
_ENDS = {EndpointKind.INGRESS: "#dcecdc", EndpointKind.EGRESS: "#f3e2cf"}
_ROLES = {
    RoleKind.STAGE: 'shape=box, fillcolor="#eef2f8"',
    RoleKind.BRIDGE: 'shape=box, style=filled, fillcolor="#ffffff"',
    RoleKind.ROUTER: 'shape=hexagon, style=filled, fillcolor="#fbf3d0"',
    RoleKind.MERGE: 'shape=hexagon, style=filled, fillcolor="#fbf3d0"',
}
_LANES = {
    LaneKind.EVENTS: 'shape=box, style=filled, fillcolor="#f4f4f4"',
    LaneKind.FANOUT_BROADCAST: 'shape=box, style=filled, fillcolor="#d7e5f7"',
    LaneKind.JOURNAL: 'shape=cylinder, style=filled, fillcolor="#e6dff2"',
    LaneKind.SEQUENCED_SLOTS: 'shape=box, peripheries=2, style=filled, fillcolor="#f7e0e0"',
}
_INSERTED = ', style="filled,dashed"'


def to_dot(graph: LaneGraph) -> str:
    """Return a directed graph: endpoints, roles, lanes."""
    inserted = {each.name for each in graph.inserted}
    lines = [f"digraph {quoted(graph.name)} {{", _HEAD]
    lines.extend(
        f'  {_node(end.name)} [shape=cds, style=filled, margin="0.3,0.1", '
        f'fillcolor="{_ENDS[end.kind]}", '
        f"label={_label(end.name, str(end.kind))}];"
        for end in graph.endpoints
    )
    for role in graph.roles:
        dashed = _INSERTED if role.name in inserted else ""
        look = _ROLES[role.kind]
        lines.append(f"  {_node(role.name)} [{look}{dashed}, label={_label(*_words(role))}];")
    for lane in graph.lanes:
        lines.extend(_lane(graph, lane, dashed=lane.name in inserted))
    lines.append("}")
    return "\n".join(lines) + "\n"


def _node(name: str) -> str:
    return quoted(name)


def _lane_node(lane: Lane) -> str:
    return quoted(f"lane {lane.name}")


def _label(*lines: str) -> str:
    return '"' + "\\n".join(quoted(line)[1:-1] for line in lines if line) + '"'


def _words(role: GraphRole) -> tuple[str, ...]:
    if role.stage is None:
        key = range_text(role.key) if role.key else ""
        return role.name, role.mode or "bridge", key
    more = f"up to {role.outputs_max} outputs" if role.outputs_max > 1 else ""
    return role.name, role.stage.stage, ", ".join([*traits(role.stage), *([more] if more else [])])


def _size(lane: Lane) -> tuple[str, ...]:
    if lane.journal is not None:
        where = "durable" if lane.journal.durable else "in memory"
        return (f"journal, {where}",)
    rings = f"{lane.publishers_max} x " if lane.publishers_max > 1 else ""
    full = "drops when full" if lane.on_full is OnFull.DROP else ""
    return f"{rings}{lane.capacity} x {lane.slot_bytes}", full


def _lane(graph: LaneGraph, lane: Lane, *, dashed: bool) -> Iterator[str]:
    producers, consumers = _producers(graph, lane), _consumers(graph, lane)
    in_place = [role for role in graph.roles if role.in_place and role.rx == (lane.name,)]
    look = [
        *(["style=dashed"] if dashed else []),
        *(['color="#b03030"'] if lane.on_full is OnFull.DROP else []),
    ]
    if lane.kind is LaneKind.EVENTS and len(producers) == len(consumers) == 1:
        (source, kind), (target, _) = producers[0], consumers[0]
        label = f"label={_label(lane.name, *_size(lane), kind)}"
        yield f"  {_node(source)} -> {_node(target)} [{', '.join([label, *look])}];"
        return
    shape = _LANES[lane.kind] + (', style="filled,dashed"' if dashed else "")
    kind = "" if lane.journal is not None else str(lane.kind).replace("_", " ")
    label = _label(lane.name, kind, *_size(lane))
    yield f"  {_lane_node(lane)} [{shape}, fontsize=10, label={label}];"
    for source, kind in producers:
        yield f"  {_node(source)} -> {_lane_node(lane)} [{_edge(kind)}];"
    for role in in_place:
        for before in role.depends_on or (f"lane {lane.name}",):
            yield f'  {quoted(before)} -> {_node(role.name)} [label="in place", dir=both];'
    followed = {name for role in in_place for name in role.depends_on}
    last = [quoted(role.name) for role in in_place if role.name not in followed]
    for target, kind in consumers:
        for source in last or [_lane_node(lane)]:
            yield f"  {source} -> {_node(target)} [{_edge(kind)}];"


def _edge(kind: str) -> str:
    return f'label="{kind}", style=dashed' if kind else "style=solid"


def _producers(graph: LaneGraph, lane: Lane) -> Sequence[tuple[str, str]]:
    found = [(end.name, "") for end in graph.endpoints if _is_at(end.kind, end.lane, lane, 0)]
    for role in graph.roles:
        if lane.name in role.tx and not role.in_place:
            found.append((role.name, ""))
        if role.dead_letter == lane.name:
            found.append((role.name, "dead letters"))
    return found


def _consumers(graph: LaneGraph, lane: Lane) -> Sequence[tuple[str, str]]:
    names = [role.name for role in graph.roles if lane.name in role.rx and not role.in_place]
    names += [end.name for end in graph.endpoints if _is_at(end.kind, end.lane, lane, 1)]
    return [(name, "lossy" if name in lane.lossy else "") for name in names]


def _is_at(kind: EndpointKind, name: str, lane: Lane, side: int) -> bool:
    return name == lane.name and kind is (EndpointKind.INGRESS, EndpointKind.EGRESS)[side]
