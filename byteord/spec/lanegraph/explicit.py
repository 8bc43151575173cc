"""A LaneGraph whose author wrote its lanes and roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byteord.spec import rules
from byteord.spec.canonical import FlatDocument
from byteord.spec.findings import Collector, Path, shown
from byteord.spec.lane_model import GraphRole, Lane, LaneEndpoint, OnFull
from byteord.spec.lanegraph import canonical
from byteord.spec.lanegraph.draft import Draft
from byteord.spec.lanegraph.read import check_lane, check_role, lane_of, missing, role_of
from byteord.spec.model import (
    SLOT_BYTES_DEFAULT,
    SLOT_HEADER_BYTES,
    EndpointKind,
    Stage,
    StageCatalogue,
)
from byteord.spec.stage_rules import read_stage


class Explicit:
    """Reads lanes, roles and endpoints; findings go to the collector."""

    def __init__(self, rows: Mapping[str, Any], found: Collector, stages: StageCatalogue) -> None:
        """Check every row by itself."""
        self._rows, self._found = rows, found
        self._places: dict[tuple[str, str], Path] = {}
        for part in ("lanes", "roles", "endpoints"):
            self._take_names(part, rows[part])
        lanes = self._lanes()
        self._stages: list[tuple[Path, Stage]] = []
        roles = self._roles(lanes, stages)
        self.draft = Draft(lanes, roles, self._endpoints(), self._places)

    def _take_names(self, part: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Report names that are none or taken; lanes have names of their own."""
        for index, row in enumerate(rows):
            name, path = row["name"], (part, str(index))
            if not isinstance(name, str):
                continue
            rules.check_name(name, (*path, "name"), self._found)
            what = part[:-1]
            kinds = ("lane",) if what == "lane" else ("role", "endpoint")
            holder = next((self._places[k, name] for k in kinds if (k, name) in self._places), None)
            if holder is None:
                self._places[what, name] = path
                continue
            self._found.add(
                "SPEC_NAME_DUPLICATE",
                (*path, "name"),
                seen=shown(name),
                wanted=f"names unique among {' and '.join(f'{kind}s' for kind in kinds)}; "
                f"{'.'.join(holder)} has it already",
                fix="rename one of the two",
            )

    def _lanes(self) -> dict[str, Lane]:
        lanes: dict[str, Lane] = {}
        for index, row in enumerate(self._rows["lanes"]):
            check_lane(row, ("lanes", str(index)), self._found)
            lane = lane_of(row, OnFull(self._rows["on_full"]))
            if lane.name:
                lanes.setdefault(lane.name, lane)
        return lanes

    def _roles(self, lanes: Mapping[str, Lane], stages: StageCatalogue) -> list[GraphRole]:
        roles = []
        for index, row in enumerate(self._rows["roles"]):
            path = ("roles", str(index))
            check_role(row, path, self._found)
            stage = None
            if row["kind"] == "stage":
                source = lanes.get(row["rx"][0]) if row["rx"] else None
                slot_bytes = source.slot_bytes if source is not None else SLOT_BYTES_DEFAULT
                plain = {**row, "depends_on": ()}
                payload_max = slot_bytes - SLOT_HEADER_BYTES
                stage = read_stage(plain, path, payload_max, stages, self._found)
            if stage is not None:
                self._stages.append((path, stage))
            role = role_of(row, stage)
            if role is not None and role.name:
                roles.append(role)
        return roles

    def _endpoints(self) -> list[LaneEndpoint]:
        ends = []
        for index, row in enumerate(self._rows["endpoints"]):
            if row["lane"] is None:
                missing(("endpoints", str(index)), "lane", "the lane that it is at", self._found)
            if row["name"] and row["kind"]:
                kind = EndpointKind(row["kind"])
                ends.append(LaneEndpoint(row["name"], kind, row["lane"] or ""))
        return ends

    def stages(self) -> list[tuple[Path, Stage]]:
        """Return the stages that could be read, with their places."""
        return self._stages

    def topology(self) -> None:
        """Check what only this form can have wrong: nothing."""

    def put(self, flat: FlatDocument) -> None:
        """Put what the author wrote into a flat document."""
        canonical.put_endpoints(flat, sorted_ends(self.draft.endpoints), bound=True)
        for index, lane in enumerate(self.draft.lanes.values()):
            canonical.put_lane(flat, f"lanes.{index}", lane)
        for index, role in enumerate(self.draft.roles):
            canonical.put_role(flat, f"roles.{index}", role)


def sorted_ends(endpoints: Sequence[LaneEndpoint]) -> list[LaneEndpoint]:
    """Return endpoints ingress first, otherwise as declared."""
    return sorted(endpoints, key=lambda end: end.kind is EndpointKind.EGRESS)
