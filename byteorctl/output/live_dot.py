"""The graph of a run as it is now, in the DOT language: coloured by who holds whom back. Pure."""

from __future__ import annotations

from byteorctl.errors import Plain
from byteorctl.output.clean import clean
from byteorctl.output.quantities import count

HELD, HOLDER, BUSY, OVER = "#f4a6a0", "#e05a4f", "#bfe3c0", "#d9d9d9"
FILL_BY_STATE = {"running": BUSY, "failed": HOLDER, "ended": OVER, "stopped": OVER}
DEEP = 0.5


def live_dot(run: Plain) -> str:
    """Return roles as boxes, lanes as cylinders with depth and capacity, edges as they flow.

    Red: a role that a full lane holds, or a merge that waits for a silent one; dark red: the
    consumer that the lane is full because of, or who is silent.
    """
    holders = {lane["held_by"] for lane in run["lanes"] if lane["full"]}
    holders |= {hold["by"] for hold in run["holds"]}
    lines = [
        f"digraph {_quoted(run['name'])} {{",
        "  rankdir=LR;",
        '  node [style=filled, fillcolor=white, fontname="sans-serif"];',
    ]
    held = {hold["role"] for hold in run["holds"]}
    lines += [_role(role, held, holders) for role in run["roles"]]
    for lane in run["lanes"]:
        lines += _lane(lane)
    lines += _hosted(run)
    return "\n".join([*lines, "}"]) + "\n"


def _role(role: Plain, held: set[str], holders: set[str]) -> str:
    fill = FILL_BY_STATE.get(role["state"], "white")
    if role["name"] in held:
        fill = HELD
    if role["name"] in holders:
        fill = HOLDER
    label = [role["name"], role["stage"], f"{role['state']}, {count(role['received'])} in"]
    shape = "cds" if role["kind"] in ("ingress", "egress") else "box"
    return (
        f"  {_quoted(role['name'])} [shape={shape}, fillcolor={_quoted(fill)}, "
        f"label={_label(label)}];"
    )


def _lane(lane: Plain) -> list[str]:
    name = _quoted(f"lane {lane['name']}")
    share = lane["depth"] / max(1, lane["capacity"] * lane["stripes"])
    fill = HELD if lane["full"] else "#f9e2af" if share > DEEP else "white"
    room = lane["capacity"] * lane["stripes"]
    full = (
        f"{count(lane['depth'])} of {count(room)}" if room else f"{count(lane['published'])} kept"
    )
    label = [lane["name"], lane["kind"], full]
    lost = sum(lane["dropped"].values()) + lane["overruns"]
    if lost:
        label.append(f"{count(lost)} lost")
    lines = [f"  {name} [shape=cylinder, fillcolor={_quoted(fill)}, label={_label(label)}];"]
    lines += [f"  {_quoted(producer)} -> {name};" for producer in lane["producers"]]
    for each in lane["consumers"]:
        style = ", style=dashed" if each["lossy"] else ""
        colour = f", color={_quoted(HOLDER)}, penwidth=2" if each["role"] == lane["held_by"] else ""
        behind = f"label={_quoted(count(each['lag_slots']))}"
        lines.append(f"  {name} -> {_quoted(each['role'])} [{behind}{style}{colour}];")
    return lines


def _hosted(run: Plain) -> list[str]:
    """Draw the egress of a ring behind the final stage, in whose worker it runs."""
    readers = {each["role"] for lane in run["lanes"] for each in lane["consumers"]}
    pairs = zip(run["roles"], run["roles"][1:], strict=False)
    return [
        f"  {_quoted(before['name'])} -> {_quoted(role['name'])};"
        for before, role in pairs
        if run["lanes"] and role["kind"] == "egress" and role["name"] not in readers
    ]


def _label(parts: list[str]) -> str:
    return '"' + "\\n".join(_quoted(part)[1:-1] for part in parts if part) + '"'


def _quoted(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
