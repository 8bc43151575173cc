"""A LaneGraph spec on its way through the levels `schema` and `topology`, up to a `LaneGraph`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from byteord.spec import kv, rules
from byteord.spec.findings import Collector, Path, shown
from byteord.spec.lane_model import GATED_KINDS, LaneGraph, LaneKind, OnFull
from byteord.spec.lanegraph import canonical, lane_rules, shape_rules
from byteord.spec.lanegraph.draft import Draft, topological
from byteord.spec.lanegraph.explicit import Explicit, sorted_ends
from byteord.spec.lanegraph.keys import LANE_GRAPH_SCHEMA
from byteord.spec.lanegraph.shorthand import Shorthand
from byteord.spec.model import (
    SLOT_BYTES_DEFAULT,
    SLOT_HEADER_BYTES,
    EndpointKind,
    Stage,
    StageCatalogue,
)
from byteord.spec.schema import Reader


class LaneGraphCheck:
    """One LaneGraph spec; findings go to the collector."""

    def __init__(self, tree: Mapping[str, Any], found: Collector, stages: StageCatalogue) -> None:
        """Check every key and value by itself."""
        self._found = found
        self._rows = Reader(found).table(LANE_GRAPH_SCHEMA, tree)
        rules.check_version(self._rows, found)
        if isinstance(self._rows["name"], str):
            rules.check_name(self._rows["name"], ("name",), found)
        form = Shorthand if "plan" in tree else Explicit
        self._authored: Explicit | Shorthand = form(self._rows, found, stages)

    @property
    def draft(self) -> Draft:
        """Return lanes, roles and endpoints as far as they could be read."""
        return self._authored.draft

    def topology(self) -> None:
        """Check what keys say together."""
        draft, found = self.draft, self._found
        self._authored.topology()
        lane_rules.check_size(draft, found)
        lane_rules.check_references(draft, found)
        lane_rules.check_ends(draft, found)
        lane_rules.check_lossy(draft, found)
        lane_rules.check_in_place(draft, found)
        shape_rules.check_cycles(draft, found)
        shape_rules.check_messages(draft, found)

    def check_gated(self, where: str) -> None:
        """Report lanes of gated kinds that the spec does not allow itself, outside `dev`."""
        allowed = self._rows["allow_lanes"]
        for lane in self.draft.lanes.values():
            if lane.kind in GATED_KINDS and lane.kind not in allowed:
                self._found.add(
                    "POLICY_LANE_GATED",
                    self.draft.place("lane", lane.name, "kind"),
                    seen=f"{shown(lane.name)} of kind {lane.kind} in {where}",
                    wanted="events and fanout_broadcast, or a spec that names the kind on purpose",
                    fix=f'write allow_lanes = ["{lane.kind}"] at the top of the spec',
                )

    def stages(self) -> list[tuple[Path, Stage]]:
        """Return the stages that could be read, with their places."""
        return self._authored.stages()

    def endpoints(self) -> dict[str, EndpointKind]:
        """Return the endpoints that could be read, by name, whatever else is wrong."""
        return {end.name: end.kind for end in self.draft.endpoints}

    def payload_max(self, endpoint: str) -> int:
        """Return the longest message at an endpoint as far as it is known."""
        lane = next((end.lane for end in self.draft.endpoints if end.name == endpoint), "")
        return self._payload_max(lane)

    def stage_payload_max(self, name: str) -> int:
        """Return the longest message that a stage gets, as far as it is known."""
        role = self.draft.role(name)
        return self._payload_max(role.rx[0] if role is not None and role.rx else "")

    def _payload_max(self, lane: str) -> int:
        known = self.draft.lanes.get(lane)
        slot_bytes = known.slot_bytes if known is not None else SLOT_BYTES_DEFAULT
        return slot_bytes - SLOT_HEADER_BYTES

    def build(self) -> LaneGraph:
        """Return the graph, which has no error."""
        rows, draft = self._rows, self.draft
        flat = canonical.head(rows)
        self._authored.put(flat)
        text = kv.write(flat)
        return LaneGraph(
            name=rows["name"],
            on_full=OnFull(rows["on_full"]),
            allow_lanes=tuple(LaneKind(kind) for kind in sorted(set(rows["allow_lanes"]))),
            lanes=tuple(
                replace(lane, lossy=tuple(sorted(set(lane.lossy)))) for lane in draft.lanes.values()
            ),
            roles=tuple(topological(draft.roles)),
            endpoints=tuple(sorted_ends(draft.endpoints)),
            inserted=draft.inserted,
            kv=text,
            sha256=hashlib.sha256(text).hexdigest(),
        )
