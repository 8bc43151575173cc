"""Validation of a spec by itself: from its bytes to all findings and, without an error, a `Spec`.

Pure: opens no file and imports no stage code. What depends on the deployment, the daemon's
authority or the host is `byteord.deployment.validate`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from byteord.spec import kv, order_rules, rules
from byteord.spec.document import Document, Source, read
from byteord.spec.findings import Collector, Finding, Path, Severity
from byteord.spec.keys import SPEC_SCHEMA, VERSION
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
from byteord.spec.schema import Flat, Reader
from byteord.spec.secrets import check_secrets
from byteord.spec.stage_key import BUILTIN, parse_key
from byteord.spec.stage_rules import read_stage

FlatDocument = dict[str, str | int | bool | tuple[()]]


class SpecCheck:
    """One spec on its way through the levels `syntax`, `schema` and `topology`."""

    def __init__(self, source: Source) -> None:
        """Read the text; the findings of the syntax level stand afterwards."""
        syntax = Collector("spec", {})
        self.document: Document = read(source, syntax)
        self.found = Collector("spec", self.document.places)
        self.found.findings.extend(syntax.findings)
        self.stages: list[Stage | None] = []
        self._rows: Mapping[str, Any] | None = None

    @property
    def findings(self) -> list[Finding]:
        """Return what was found so far."""
        return self.found.findings

    def schema(self, stages: StageCatalogue, *, unknown: Severity) -> bool:
        """Check every key and value by itself.

        Tell whether the document could be read as a SingleRing spec.
        """
        found, tree = self.found, self.document.tree
        if not self.document.readable:
            return False
        found.unknown = unknown
        check_secrets(tree, found)
        if not rules.check_model(tree, found):
            return False
        spec = Reader(found).table(SPEC_SCHEMA, tree)
        rules.check_version(spec, found)
        rules.check_names(spec, found)
        rules.check_ring(spec["ring"], found)
        payload_max = spec["ring"]["slot_bytes"] - SLOT_HEADER_BYTES
        self.stages = [
            read_stage(row, ("stages", str(i)), payload_max, stages, found)
            for i, row in enumerate(spec["stages"])
        ]
        self._rows = spec
        return True

    def topology(self) -> bool:
        """Check what keys say together; tell whether it ran."""
        if self._rows is None:
            return False
        spec, found = self._rows, self.found
        rules.check_shards(spec["ring"], found)
        rules.check_endpoints(spec["endpoints"], found)
        rules.check_stage_count(spec["stages"], found)
        order_rules.check_dependencies(spec["stages"], found)
        order_rules.check_concurrency(self.stages, spec["stages"], found)
        return True

    @property
    def is_read(self) -> bool:
        """Tell whether the document could be read as a SingleRing spec, with or without errors."""
        return self._rows is not None

    @property
    def has_errors(self) -> bool:
        """Tell whether any finding is an error."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    def endpoints(self) -> dict[str, EndpointKind]:
        """Return the endpoints that could be read, by name, whatever else is wrong."""
        rows = self._rows["endpoints"] if self._rows is not None else ()
        return {
            row["name"]: EndpointKind(row["kind"]) for row in rows if row["name"] and row["kind"]
        }

    def payload_max(self) -> int:
        """Return the longest message of the ring as far as it is known."""
        ring = self._rows["ring"] if self._rows is not None else {"slot_bytes": 256}
        return int(ring["slot_bytes"]) - SLOT_HEADER_BYTES

    def build(self) -> Spec | None:
        """Return the spec, or None while any finding is an error or the levels did not run."""
        if self._rows is None or self.has_errors:
            return None
        row = self._rows
        ring = ring_of(row["ring"])
        stages = tuple(stage for stage in self.stages if stage is not None)
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


def flatten(
    name: str, ring: Ring, stages: tuple[Stage, ...], endpoints: tuple[Endpoint, ...]
) -> FlatDocument:
    """Return the canonical keys and values of a spec.

    Every default spelled out, what a catalogue declares left out.
    """
    flat: FlatDocument = {"version": VERSION, "name": name, "model": str(Model.SINGLE_RING)}
    flat["ring.capacity"] = ring.capacity
    flat["ring.slot_bytes"] = ring.slot_bytes
    flat["ring.producer"] = ring.producer
    flat["ring.scheduling"] = ring.scheduling
    flat["ring.shards"] = ring.shards
    flat["ring.ordering"] = str(ring.ordering)
    if ring.shard_key is not None:
        _put_range(flat, "ring.shard_key", ring.shard_key)
    for index, stage in enumerate(stages):
        _put_stage(flat, f"stages.{index}", stage)
    for index, endpoint in enumerate(endpoints):
        flat[f"endpoints.{index}.name"] = endpoint.name
        flat[f"endpoints.{index}.kind"] = str(endpoint.kind)
    return flat


def _put_range(flat: FlatDocument, prefix: str, item: ByteRange) -> None:
    flat[f"{prefix}.offset"] = item.offset
    flat[f"{prefix}.length"] = item.length


def _put_stage(flat: FlatDocument, prefix: str, stage: Stage) -> None:
    flat[f"{prefix}.name"] = stage.name
    flat[f"{prefix}.stage"] = stage.stage
    flat[f"{prefix}.source"] = not stage.depends_on
    put_array(flat, f"{prefix}.depends_on", stage.depends_on)
    config: Flat = dict(stage.config)
    flat.update({f"{prefix}.config.{key}": value for key, value in config.items()})
    if parse_key(stage.stage).kind == BUILTIN:
        return
    if not stage.mutates:
        flat[f"{prefix}.mutates"] = ()
    for index, item in enumerate(stage.mutates):
        _put_range(flat, f"{prefix}.mutates.{index}", item)
    flat[f"{prefix}.drops"] = stage.drops
    flat[f"{prefix}.resizes"] = stage.resizes
    flat[f"{prefix}.state"] = str(stage.state)
    flat[f"{prefix}.state_bytes"] = stage.state_bytes
    flat[f"{prefix}.deterministic"] = stage.deterministic
    if stage.effects is not None:
        put_array(flat, f"{prefix}.effects", stage.effects)
    if stage.digest:
        flat[f"{prefix}.digest"] = stage.digest


def put_array(flat: FlatDocument, prefix: str, items: Sequence[str | int]) -> None:
    """Put an array of scalars into a flat document; an empty one is written as such."""
    if not items:
        flat[prefix] = ()
    for index, item in enumerate(items):
        flat[f"{prefix}.{index}"] = item


def path_of(text: str) -> Path:
    """Return the key path that a dotted text names."""
    return tuple(text.split("."))
