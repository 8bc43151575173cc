"""A SingleRing spec on its way through the levels `schema` and `topology`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from byteord.spec import kv, order_rules, rules
from byteord.spec.canonical import flatten
from byteord.spec.findings import Collector, Path
from byteord.spec.keys import SPEC_SCHEMA
from byteord.spec.model import (
    SLOT_HEADER_BYTES,
    ByteRange,
    Endpoint,
    EndpointKind,
    Model,
    Ordering,
    Ring,
    Spec,
    Stage,
    StageCatalogue,
)
from byteord.spec.schema import Reader
from byteord.spec.stage_rules import read_stage


class RingCheck:
    """One SingleRing spec; findings go to the collector."""

    def __init__(self, tree: Mapping[str, Any], found: Collector, stages: StageCatalogue) -> None:
        """Check every key and value by itself."""
        self._found = found
        spec = Reader(found).table(SPEC_SCHEMA, tree)
        rules.check_version(spec, found)
        rules.check_names(spec, found)
        rules.check_ring(spec["ring"], found)
        self._rows = spec
        self._stages = [
            read_stage(row, ("stages", str(i)), self.payload_max(""), stages, found)
            for i, row in enumerate(spec["stages"])
        ]

    def topology(self) -> None:
        """Check what keys say together."""
        spec, found = self._rows, self._found
        rules.check_shards(spec["ring"], found)
        rules.check_endpoints(spec["endpoints"], found)
        rules.check_stage_count(spec["stages"], found)
        order_rules.check_dependencies(spec["stages"], found)
        order_rules.check_concurrency(self._stages, spec["stages"], found)

    def stages(self) -> list[tuple[Path, Stage]]:
        """Return the stages that could be read, with their places."""
        return [
            (("stages", str(index)), stage)
            for index, stage in enumerate(self._stages)
            if stage is not None
        ]

    def endpoints(self) -> dict[str, EndpointKind]:
        """Return the endpoints that could be read, by name, whatever else is wrong."""
        return {
            row["name"]: EndpointKind(row["kind"])
            for row in self._rows["endpoints"]
            if row["name"] and row["kind"]
        }

    def payload_max(self, endpoint: str) -> int:
        """Return the longest message of the ring."""
        del endpoint
        return int(self._rows["ring"]["slot_bytes"]) - SLOT_HEADER_BYTES

    def build(self) -> Spec:
        """Return the spec, which has no error."""
        row = self._rows
        ring = ring_of(row["ring"])
        stages = tuple(stage for stage in self._stages if stage is not None)
        ends = {kind: Endpoint(name, kind) for name, kind in self.endpoints().items()}
        ingress, egress = ends[EndpointKind.INGRESS], ends[EndpointKind.EGRESS]
        text = kv.write(flatten(row["name"], ring, stages, (ingress, egress)))
        return Spec(
            name=row["name"],
            model=Model.SINGLE_RING,
            ring=ring,
            stages=stages,
            ingress=ingress,
            egress=egress,
            kv=text,
            sha256=hashlib.sha256(text).hexdigest(),
        )


def ring_of(row: Mapping[str, Any]) -> Ring:
    """Return the ring that a typed table describes."""
    return Ring(
        capacity=row["capacity"],
        slot_bytes=row["slot_bytes"],
        producer=row["producer"],
        scheduling=row["scheduling"],
        shards=row["shards"],
        ordering=Ordering(row["ordering"]),
        shard_key=ByteRange(*row["shard_key"]) if row["shard_key"] is not None else None,
    )
