"""A LaneGraph on its way to being valid: what could be read, and where in the document it stands.

Owns the values that rules look at, whether the author wrote lanes and roles or a plan that was
lowered to them. It must not report anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from byteord.spec.findings import Path
from byteord.spec.lane_model import (
    GraphRole,
    Inserted,
    Lane,
    LaneEndpoint,
)
from byteord.spec.model import EndpointKind


@dataclass(frozen=True, slots=True)
class Port:
    """One place where a role or endpoint touches a lane."""

    holder: str
    """Name of the role or endpoint."""
    lane: str
    path: Path
    is_dead_letter: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """Lanes, roles and endpoints, some of which may not fit together."""

    lanes: Mapping[str, Lane]
    roles: Sequence[GraphRole]
    endpoints: Sequence[LaneEndpoint]
    places: Mapping[tuple[str, str], Path]
    """By (`lane`, `role` or `endpoint`, name)."""
    inserted: tuple[Inserted, ...] = ()
    is_lowered: bool = False
    """Places are then those of the plan's connections and have no keys of lanes and roles."""

    def place(self, what: str, name: str, *keys: str) -> Path:
        """Return the key path of a lane, role or endpoint, or of a key of it that was written."""
        path = self.places.get((what, name), ())
        return path if self.is_lowered else (*path, *keys)

    def producers(self) -> Iterator[Port]:
        """Yield who writes where: ingress endpoints, then roles, in document order."""
        for end in self.endpoints:
            if end.kind is EndpointKind.INGRESS and end.lane:
                yield Port(end.name, end.lane, self.place("endpoint", end.name, "lane"))
        for role in self.roles:
            for index, lane in enumerate(() if role.in_place else role.tx):
                yield Port(role.name, lane, self.place("role", role.name, "tx", str(index)))
            if role.dead_letter:
                path = self.place("role", role.name, "dead_letter")
                yield Port(role.name, role.dead_letter, path, is_dead_letter=True)

    def consumers(self) -> Iterator[Port]:
        """Yield who reads where, stages in place left out: roles, then egress endpoints."""
        for role in self.roles:
            if role.in_place:
                continue
            for index, lane in enumerate(role.rx):
                yield Port(role.name, lane, self.place("role", role.name, "rx", str(index)))
        for end in self.endpoints:
            if end.kind is EndpointKind.EGRESS and end.lane:
                yield Port(end.name, end.lane, self.place("endpoint", end.name, "lane"))

    def in_place(self, lane: str) -> list[GraphRole]:
        """Return the stages that work in the slots of a lane, in document order."""
        return [role for role in self.roles if role.in_place and role.rx[0] == lane]

    def role(self, name: str) -> GraphRole | None:
        """Return a role by name, or None."""
        return next((role for role in self.roles if role.name == name), None)


def topological(roles: Sequence[GraphRole]) -> list[GraphRole]:
    """Return roles so that each stands after all whose messages it gets; else in their order.

    A stage in place stands after the ones it depends on, and before the one that leaves its lane.
    Roles of a cycle keep their order, at the end.
    """
    before = {role.name: _sources(role, roles) for role in roles}
    done: dict[str, GraphRole] = {}
    while True:
        ready = next(
            (r for r in roles if r.name not in done and before[r.name] <= done.keys()), None
        )
        if ready is None:
            return [*done.values(), *(role for role in roles if role.name not in done)]
        done[ready.name] = ready


def _sources(role: GraphRole, roles: Sequence[GraphRole]) -> set[str]:
    if role.in_place:
        writers = {r.name for r in roles if role.rx[0] in _written(r) and not r.in_place}
        return writers | {name for name in role.depends_on if name != role.name}
    return {r.name for r in roles if set(role.rx) & _written(r)}


def _written(role: GraphRole) -> set[str]:
    return {*role.tx, *([role.dead_letter] if role.dead_letter else [])}
