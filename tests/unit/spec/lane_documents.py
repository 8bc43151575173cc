"""Small LaneGraph documents: explicit ones from one-line tables, and plans."""

from __future__ import annotations

from collections.abc import Sequence

from tests.unit.spec.documents import DEPLOYMENT

TOP = 'name = "g"\nmodel = "lane_graph"\n'
LANES = ('name = "a"', 'name = "b"')
ROLES = ('name = "s"\nkind = "stage"\nstage = "look"\nrx = "a"\ntx = "b"',)
ENDS = (
    'name = "in"\nkind = "ingress"\nlane = "a"',
    'name = "out"\nkind = "egress"\nlane = "b"',
)
PLAN_ENDS = ('name = "in"\nkind = "ingress"', 'name = "out"\nkind = "egress"')


def graph(
    *,
    lanes: Sequence[str] = LANES,
    roles: Sequence[str] = ROLES,
    ends: Sequence[str] = ENDS,
    top: str = "",
) -> str:
    """Return an explicit LaneGraph spec; by default one stage between two lanes."""
    return f"{TOP}{top}\n{_tables('lanes', lanes)}{_tables('roles', roles)}" + _tables(
        "endpoints", ends
    )


def plan(
    *connections: str,
    stages: Sequence[str] = (),
    ends: Sequence[str] = PLAN_ENDS,
    top: str = "",
) -> str:
    """Return a LaneGraph spec in shorthand; connections are inline tables without braces."""
    rows = "".join(f"  {{ {each} }},\n" for each in connections)
    head = f"{TOP}{top}\n{_tables('endpoints', ends)}"
    return f"{head}[plan]\nconnections = [\n{rows}]\n{_tables('plan.stages', stages)}"


def look(*names: str) -> list[str]:
    """Return stages of a plan that only look."""
    return [f'name = "{name}"\nstage = "look"' for name in names]


def stage(name: str, rx: str, tx: str = "", more: str = "", key: str = "look") -> str:
    """Return a stage role."""
    writes = f'tx = "{tx}"\n' if tx else ""
    return f'name = "{name}"\nkind = "stage"\nstage = "{key}"\nrx = "{rx}"\n{writes}{more}'


def role(name: str, kind: str, rx: Sequence[str], tx: Sequence[str], more: str = "") -> str:
    """Return a bridge, router or merge."""
    ports = f"rx = {_array(rx)}\ntx = {_array(tx)}"
    return f'name = "{name}"\nkind = "{kind}"\n{ports}\n{more}'


def end(name: str, kind: str, lane: str) -> str:
    """Return an endpoint."""
    return f'name = "{name}"\nkind = "{kind}"\nlane = "{lane}"'


def ingress(*pairs: tuple[str, str]) -> list[str]:
    """Return ingress endpoints at lanes."""
    return [end(name, "ingress", lane) for name, lane in pairs]


def deployed(text: str) -> str:
    """Return the deployment of `in` and `out` with more text."""
    return f"{DEPLOYMENT}\n{text}\n"


def _tables(name: str, rows: Sequence[str]) -> str:
    return "".join(f"[[{name}]]\n{row}\n" for row in rows)


def _array(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
