"""A LaneGraph whose author wrote stages and connections, lowered to lanes and roles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from byteord.spec import rules
from byteord.spec.canonical import FlatDocument
from byteord.spec.findings import Collector, Path, shown
from byteord.spec.lane_model import GraphRole, LaneEndpoint, OnFull, RoleKind
from byteord.spec.lanegraph import canonical, plan_rules
from byteord.spec.lanegraph.draft import Draft
from byteord.spec.lanegraph.explicit import sorted_ends
from byteord.spec.lanegraph.lower import Connection, Sizes, lower
from byteord.spec.model import (
    CAPACITY_DEFAULT,
    SLOT_BYTES_DEFAULT,
    SLOT_HEADER_BYTES,
    EndpointKind,
    Stage,
    StageCatalogue,
)
from byteord.spec.stage_rules import read_stage


class Shorthand:
    """Reads and lowers a plan; findings go to the collector."""

    def __init__(self, rows: Mapping[str, Any], found: Collector, stages: StageCatalogue) -> None:
        """Check every row by itself and lower what fits together."""
        self._rows, self._plan, self._found = rows, rows["plan"], found
        self._where: dict[str, Path] = {}
        self._kinds = self._places()
        self._check_rows()
        self._connections = list(self._read())
        sizes = Sizes(
            self._plan["capacity"] or CAPACITY_DEFAULT,
            self._plan["slot_bytes"] or SLOT_BYTES_DEFAULT,
            OnFull(rows["on_full"]),
        )
        self._lowered = lower(self._kinds, self._connections, sizes)
        self._stages = self._read_stages(stages)
        self.draft = self._drafted()

    def _places(self) -> dict[str, str]:
        """Return the places that connections join, ingress first, and report names taken twice."""
        kinds: dict[str, str] = {}
        ends = [(row, ("endpoints", str(i))) for i, row in enumerate(self._rows["endpoints"])]
        steps = [(row, ("plan", "stages", str(i))) for i, row in enumerate(self._plan["stages"])]
        heads = [each for each in ends if each[0]["kind"] == "ingress"]
        tails = [each for each in ends if each[0]["kind"] == "egress"]
        for row, path in (*heads, *steps, *tails):
            name = row["name"]
            if not isinstance(name, str):
                continue
            rules.check_name(name, (*path, "name"), self._found)
            if name in kinds:
                self._found.add(
                    "SPEC_NAME_DUPLICATE",
                    (*path, "name"),
                    seen=shown(name),
                    wanted="names unique among stages and endpoints; "
                    f"{'.'.join(self._where[name])} has it already",
                    fix="rename one of the two",
                )
                continue
            kinds[name] = row["kind"] if path[0] == "endpoints" else "stage"
            self._where[name] = path
        return kinds

    def _check_rows(self) -> None:
        found, plan = self._found, self._plan
        slots = plan["slot_bytes"] or SLOT_BYTES_DEFAULT
        rules.check_sizes(plan["capacity"] or CAPACITY_DEFAULT, slots, ("plan",), found)
        for index, row in enumerate(plan["connections"]):
            plan_rules.check_row(row, ("plan", "connections", str(index)), found)
        for part in ("lanes", "roles"):
            if self._rows[part]:
                self._mixed((part,), part)
        for index, row in enumerate(self._rows["endpoints"]):
            if row["lane"] is not None:
                self._mixed(("endpoints", str(index), "lane"), "the lane of an endpoint")

    def _mixed(self, path: Path, what: str) -> None:
        self._found.add(
            "SPEC_PLAN_MIXED",
            path,
            seen=f"{what} beside a plan",
            wanted="a plan of stages and connections, or lanes and roles, not both",
            fix="write everything in one of the two forms; `byteorctl describe` shows the lanes "
            "and roles of a plan",
        )

    def _read(self) -> Iterator[Connection]:
        """Yield the connections whose ends exist, dead letters last."""
        kinds = self._kinds
        for index, row in enumerate(self._plan["connections"]):
            source, target = row["from"], row["to"] or ""
            known = kinds.get(target, "") in ("stage", "egress")
            if kinds.get(source, "") not in ("ingress", "stage"):
                continue
            if known or (not target and row["intent"] == "journal"):
                path = ("plan", "connections", str(index))
                yield Connection(source, target, row["intent"], row, path)
        unsaid = dict.fromkeys(self._plan["connections"][0]) if self._plan["connections"] else {}
        for index, row in enumerate(self._plan["stages"]):
            name, target = row["name"], row["dead_letter"] or ""
            fits = unsaid and name in kinds and name != target
            if fits and kinds.get(target, "") in ("stage", "egress"):
                letters: Path = ("plan", "stages", str(index), "dead_letter")
                yield Connection(name, target, "events", unsaid, letters, is_dead_letter=True)

    def _read_stages(self, catalogue: StageCatalogue) -> list[Stage | None]:
        read = []
        for index, row in enumerate(self._plan["stages"]):
            ports = self._lowered.ports.get(row["name"])
            lane = self._lowered.lanes.get(ports.rx) if ports is not None else None
            payload = (lane.slot_bytes if lane else SLOT_BYTES_DEFAULT) - SLOT_HEADER_BYTES
            path = ("plan", "stages", str(index))
            plain = {**row, "depends_on": ()}
            read.append(read_stage(plain, path, payload, catalogue, self._found))
        return read

    def _drafted(self) -> Draft:
        lowered = self._lowered
        places = dict(lowered.places)
        roles = []
        for row, stage in zip(self._plan["stages"], self._stages, strict=True):
            name = row["name"]
            if self._kinds.get(name) != "stage" or ("role", name) in places:
                continue
            ports = lowered.ports[name]
            places["role", name] = self._where[name]
            roles.append(
                GraphRole(
                    name,
                    RoleKind.STAGE,
                    rx=(ports.rx,) if ports.rx else (),
                    tx=(ports.tx,) if ports.tx else (),
                    stage=stage,
                    outputs_max=row["outputs_max"] or 1,
                    dead_letter=ports.dead_letter,
                )
            )
        ends = []
        for name, kind in self._kinds.items():
            if kind == "stage":
                continue
            ports = lowered.ports[name]
            lane = ports.tx if kind == "ingress" else ports.rx
            places["endpoint", name] = self._where[name]
            ends.append(LaneEndpoint(name, EndpointKind(kind), lane))
        return Draft(
            lowered.lanes,
            [*roles, *lowered.roles],
            ends,
            places,
            tuple(lowered.inserted),
            is_lowered=True,
        )

    def stages(self) -> list[tuple[Path, Stage]]:
        """Return the stages that could be read, with their places."""
        return [
            (("plan", "stages", str(index)), stage)
            for index, stage in enumerate(self._stages)
            if stage is not None
        ]

    def topology(self) -> None:
        """Check what connections say together."""
        found, plan = self._found, self._plan
        plan_rules.check_ends(plan["connections"], self._kinds, found)
        plan_rules.check_letters(plan["stages"], self._kinds, found)
        plan_rules.check_agreement(self._connections, self._lowered, found)
        plan_rules.check_connected(self._kinds, self._lowered, found, self._where)

    def put(self, flat: FlatDocument) -> None:
        """Put what the author wrote into a flat document."""
        canonical.put_endpoints(flat, sorted_ends(self.draft.endpoints), bound=False)
        stages = [stage for stage in self._stages if stage is not None]
        canonical.put_plan(flat, self._plan, stages)
