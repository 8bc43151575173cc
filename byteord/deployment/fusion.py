"""Which roles of a LaneGraph commit as one unit, and which units share a thread and a worker.

Pure. The result keeps units acyclic: messages never leave a unit and come back to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byteord.deployment.model import CLIENT, Deployment, FailurePolicy, Group
from byteord.deployment.plan import (
    UNIT_PORTS_MAX,
    UNIT_ROLES_MAX,
    LanePlan,
    RolePlan,
    UnitPlan,
    WorkerPlan,
)


def busy_roles(roles: Sequence[RolePlan]) -> int:
    """Return how many roles want a CPU: all but clients, which are processes of their own."""
    return sum(1 for role in roles if role.adapter != CLIENT)


def unite(
    roles: Sequence[RolePlan],
    lanes: Sequence[LanePlan],
    deployment: Deployment,
    *,
    fuse: bool,
    notes: list[str],
) -> tuple[UnitPlan, ...]:
    """Return the units of roles that stand in topological order; each role is in one.

    Adjacent native roles are fused along lossless edges of rings when asked for, within a group.
    """
    groups = _group_of(roles, deployment.groups)
    units = _Units(roles, lanes, groups)
    apart = fuse and deployment.failure.policy is FailurePolicy.SKIP
    if apart:
        notes.append(
            "ingress roles are not fused: with failure.policy = skip a batch is committed in parts"
        )
    for role in roles:
        units.place(role, fuse=fuse, apart=apart)
    return units.ordered()


def _group_of(roles: Sequence[RolePlan], groups: Sequence[Group]) -> dict[int, int]:
    """Return the index of its group, by role index; roles without one are not in it."""
    by_name = {role.name: role.index for role in roles}
    return {
        by_name[name]: number
        for number, group in enumerate(groups)
        for name in group.roles
        if name in by_name
    }


def _ports(role: RolePlan, lanes: Sequence[LanePlan]) -> int:
    """Return how many rings a role reads and writes."""
    read = sum(max(len(lanes[rx.lane].rings), 1) for rx in role.rx)
    return read + len(role.tx) + (role.dead_letter is not None)


def _may_share(role: RolePlan, members: Sequence[RolePlan]) -> bool:
    """Tell whether roles may commit as one.

    A commit record holds the place of one source and one sink; who works in place has no ports.
    """
    if role.in_place or any(member.in_place for member in members):
        return False
    ends = [each.kind for each in (*members, role) if each.kind in {"ingress", "egress"}]
    return len(ends) == len(set(ends))


class _Units:
    """Units on their way, with which of them get messages from which."""

    def __init__(
        self, roles: Sequence[RolePlan], lanes: Sequence[LanePlan], groups: Mapping[int, int]
    ) -> None:
        self._roles, self._lanes, self._groups = roles, lanes, groups
        self._members: list[list[int]] = []
        self._of: dict[int, int] = {}
        self._behind: list[set[int]] = []

    def place(self, role: RolePlan, *, fuse: bool, apart: bool) -> None:
        """Put a role, whose sources are placed, into a unit."""
        joined = next((u for u in self._adjacent(role) if self._fits(role, u, apart)), None)
        if not fuse or joined is None:
            joined = len(self._members)
            self._members.append([])
            self._behind.append(set())
        self._members[joined].append(role.index)
        self._of[role.index] = joined
        for source in self._sources(role):
            if self._of[source] != joined:
                self._behind[self._of[source]].add(joined)

    def _sources(self, role: RolePlan) -> list[int]:
        """Return the roles that it gets messages from, in place the stages before it too."""
        found: list[int] = []
        for rx in role.rx:
            lane = self._lanes[rx.lane]
            found += lane.producers
            found += [each.role for each in lane.consumers if each.cell in rx.depends]
        return [source for source in dict.fromkeys(found) if source != role.index]

    def _adjacent(self, role: RolePlan) -> list[int]:
        """Return the units that write a ring it follows without loss, in the order of its rx."""
        if not _is_native(role):
            return []
        found: list[int] = []
        for rx in role.rx:
            lane = self._lanes[rx.lane]
            if rx.lossy or lane.journal is not None:
                continue
            followed = [each.role for each in lane.consumers if each.cell in rx.depends]
            found += [self._of[source] for source in (*followed, *lane.producers)]
        return list(dict.fromkeys(found))

    def _fits(self, role: RolePlan, unit: int, apart: bool) -> bool:  # noqa: FBT001
        members = [self._roles[index] for index in self._members[unit]]
        if not all(_is_native(member) for member in members):
            return False
        if apart and any(member.kind == "ingress" for member in members):
            return False
        if role.confined != members[0].confined:
            return False
        if self._groups.get(role.index) != self._groups.get(members[0].index):
            return False
        if len(members) >= UNIT_ROLES_MAX or not _may_share(role, members):
            return False
        if sum(_ports(each, self._lanes) for each in (*members, role)) > UNIT_PORTS_MAX:
            return False
        others = {self._of[source] for source in self._sources(role)} - {unit}
        return not others & self._reached(unit)

    def _reached(self, unit: int) -> set[int]:
        found: set[int] = set()
        queue = [unit]
        for each in queue:
            queue.extend(self._behind[each] - found)
            found |= self._behind[each]
        return found

    def ordered(self) -> tuple[UnitPlan, ...]:
        """Return the units, each behind all that it gets messages from."""
        before: list[set[int]] = [set() for _ in self._members]
        for unit, behind in enumerate(self._behind):
            for each in behind:
                before[each].add(unit)
        done: list[int] = []
        while len(done) < len(self._members):
            done.append(
                next(
                    unit
                    for unit in range(len(self._members))
                    if unit not in done and before[unit] <= set(done)
                )
            )
        return tuple(
            UnitPlan(index, self._egress_last(self._members[unit]))
            for index, unit in enumerate(done)
        )

    def _egress_last(self, members: Sequence[int]) -> tuple[int, ...]:
        """Nothing follows an egress, so it may stand at the end, where its worker looks for it."""
        return tuple(sorted(members, key=lambda role: self._roles[role].kind == "egress"))


def _is_native(role: RolePlan) -> bool:
    return not role.is_python and role.adapter != CLIENT


Threads = Mapping[int, tuple[int, ...]]
"""Of each native unit, by index, the units that take turns with it on one thread, itself too."""


def take_turns(
    units: Sequence[UnitPlan],
    roles: Sequence[RolePlan],
    lanes: Sequence[LanePlan],
    groups: Sequence[Group],
    *,
    threads_max: int,
) -> Threads:
    """Return which units share a thread, so that there are no more than `threads_max` of them.

    Those that are neighbours and yet could not commit as one: each has a source or a sink of its
    own, or there are too many. `threads_max` 0: none do.
    """
    native = [unit for unit in units if all(_is_native(roles[role]) for role in unit.roles)]
    found: dict[int, tuple[int, ...]] = {unit.index: (unit.index,) for unit in native}
    if not threads_max:
        return found
    place = {role: unit.index for unit in units for role in unit.roles}
    close, apart = _edges(roles, lanes, place)
    group_of = _group_of(roles, groups)
    kind = {
        unit.index: (roles[unit.roles[0]].confined, group_of.get(unit.roles[0])) for unit in native
    }
    for one, other in close:
        if len(set(found.values())) <= threads_max:
            break
        if one not in found or other not in found or kind[one] != kind[other]:
            continue
        joined = tuple(sorted({*found[one], *found[other]}))
        if not any(a in joined and b in joined for a, b in apart):
            found |= dict.fromkeys(joined, joined)
    return found


def _edges(
    roles: Sequence[RolePlan], lanes: Sequence[LanePlan], place: Mapping[int, int]
) -> tuple[list[tuple[int, int]], set[tuple[int, int]]]:
    """Return pairs of units that hand messages over by a ring, and those where losses are allowed.

    The latter must not hold each other up.
    """
    close: list[tuple[int, int]] = []
    apart: set[tuple[int, int]] = set()
    for role in roles:
        for rx in role.rx:
            lane = lanes[rx.lane]
            followed = [each.role for each in lane.consumers if each.cell in rx.depends]
            pairs = [(place[source], place[role.index]) for source in (*lane.producers, *followed)]
            pairs = [(one, other) for one, other in pairs if one != other]
            if rx.lossy or lane.journal is not None:
                apart |= set(pairs)
            else:
                close += pairs
    return close, apart


def staff(
    units: Sequence[UnitPlan],
    roles: Sequence[RolePlan],
    groups: Sequence[Group],
    *,
    single_process: bool,
    threads: Threads,
) -> tuple[WorkerPlan, ...]:
    """Return the workers: one for all, or one for each group and each thread in none.

    In a shared worker native units have threads as `threads` says, all Python units one together.
    """
    hosted = [unit for unit in units if roles[unit.roles[0]].adapter != CLIENT]
    if single_process:
        return (WorkerPlan(0, "all", _threads(hosted, roles, threads)),)
    of_role = _group_of(roles, groups)
    shared: dict[int, list[UnitPlan]] = {}
    for unit in hosted:
        leader = threads.get(unit.index, (unit.index,))[0]
        shared.setdefault(of_role.get(unit.roles[0], -1 - leader), []).append(unit)
    return tuple(
        WorkerPlan(
            index,
            groups[key].name
            if key >= 0
            else "+".join(roles[role].name for unit in members for role in unit.roles),
            _threads(members, roles, threads),
        )
        for index, (key, members) in enumerate(shared.items())
    )


def _threads(
    units: Sequence[UnitPlan], roles: Sequence[RolePlan], threads: Threads
) -> tuple[tuple[int, ...], ...]:
    python = tuple(u.index for u in units if any(roles[role].is_python for role in u.roles))
    native = dict.fromkeys(threads[unit.index] for unit in units if unit.index not in python)
    return (python, *native) if python else tuple(native)
