"""Rules of a SingleRing spec that concern the whole document: model, names, ring, endpoints.

Each function looks at one thing and reports everything wrong with it. Stages have `stage_rules` and
`order_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from byteord.spec.findings import Collector, Path, Severity, shown
from byteord.spec.keys import VERSION
from byteord.spec.model import SLOT_HEADER_BYTES, STAGES_MAX, Model
from byteord.spec.nearest import did_you_mean

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}\Z")

LANE_GRAPH_ADVICE = 'use model = "lane_graph", or split the pipeline'


def check_model(tree: Mapping[str, Any], found: Collector) -> bool:
    """Report a model that does not exist; tell whether the spec is to be read as a LaneGraph."""
    model = tree.get("model")
    if model == Model.LANE_GRAPH:
        return True
    if isinstance(model, str) and model != Model.SINGLE_RING:
        found.add(
            "SPEC_MODEL_UNKNOWN",
            ("model",),
            seen=shown(model),
            wanted="single_ring or lane_graph",
            fix=did_you_mean(model, list(Model), otherwise='write model = "single_ring"'),
        )
    return False


def check_version(spec: Mapping[str, Any], found: Collector) -> None:
    """Report a format version that this build does not read."""
    if spec["version"] != VERSION:
        found.add(
            "DOCUMENT_VERSION_UNSUPPORTED",
            ("version",),
            seen=shown(spec["version"]),
            wanted=str(VERSION),
            fix="write the document in version 1, or use a byteor that reads the other",
        )


def check_names(spec: Mapping[str, Any], found: Collector) -> None:
    """Report names that are not identifiers, and names given twice among stages and endpoints."""
    if isinstance(spec["name"], str):
        check_name(spec["name"], ("name",), found)
    taken: dict[str, Path] = {}
    for part in ("stages", "endpoints"):
        for index, item in enumerate(spec[part]):
            name, path = item["name"], (part, str(index), "name")
            if not isinstance(name, str):
                continue
            check_name(name, path, found)
            if name in taken:
                found.add(
                    "SPEC_NAME_DUPLICATE",
                    path,
                    seen=shown(name),
                    wanted=f"names unique among stages and endpoints; {'.'.join(taken[name])} "
                    "has it already",
                    fix="rename one of the two",
                )
            taken.setdefault(name, path)


def check_name(name: str, path: Path, found: Collector) -> None:
    """Report a name that is no identifier."""
    if not NAME.match(name):
        found.add(
            "SPEC_NAME_INVALID",
            path,
            seen=shown(name),
            wanted="a letter, then letters, digits, _ and -, 63 characters at most",
            fix="rename it",
        )


def check_ring(ring: Mapping[str, Any], found: Collector) -> None:
    """Report sizes that the ring cannot have and modes that SingleRing refuses."""
    check_sizes(ring["capacity"], ring["slot_bytes"], ("ring",), found)
    _check_only(ring, "producer", "single", "SPEC_PRODUCER_UNSUPPORTED", found)
    _check_only(ring, "scheduling", "dedicated", "SPEC_SCHEDULING_UNSUPPORTED", found)


def check_sizes(capacity: int, slot_bytes: int, path: Path, found: Collector) -> None:
    """Report a capacity or slot size that no ring has."""
    if capacity & (capacity - 1):
        lower = 1 << (capacity.bit_length() - 1)
        found.add(
            "SPEC_CAPACITY_NOT_POWER_OF_TWO",
            (*path, "capacity"),
            seen=str(capacity),
            wanted="a power of two from 8 to 16777216",
            fix=f"choose {lower} or {lower * 2}",
        )
    if slot_bytes % 64:
        found.add(
            "SPEC_SLOT_BYTES_NOT_MULTIPLE",
            (*path, "slot_bytes"),
            seen=str(slot_bytes),
            wanted="a multiple of 64 from 64 to 65536",
            fix=f"choose {(slot_bytes + 63) // 64 * 64}",
        )


def _check_only(ring: Mapping[str, Any], key: str, only: str, code: str, found: Collector) -> None:
    if ring[key] != only:
        found.add(
            code,
            ("ring", key),
            seen=shown(ring[key]),
            wanted=f'"{only}"; a SingleRing has no other',
            fix=f'write {key} = "{only}", or {LANE_GRAPH_ADVICE}',
        )


def check_shards(ring: Mapping[str, Any], found: Collector) -> None:
    """Report combinations of shards, ordering and shard key that keep no order."""
    shards, ordering, key = ring["shards"], ring["ordering"], ring["shard_key"]
    if ordering == "strict" and shards > 1 and not found.is_bad(("ring", "ordering")):
        found.add(
            "SPEC_STRICT_SHARDS",
            ("ring", "shards"),
            seen=f'{shards} with ordering = "strict"',
            wanted="one shard: strict order holds in one ring only",
            fix='write shards = 1, or ordering = "per_key" with a shard_key',
        )
    if ordering == "per_key" and key is None and not found.is_bad(("ring", "shard_key")):
        found.add(
            "SPEC_SHARD_KEY_MISSING",
            ("ring", "shard_key"),
            seen="nothing",
            wanted='the payload bytes that ordering = "per_key" goes by',
            fix="add shard_key = { offset = 0, length = 8 } with the place of the key in the "
            "payload",
        )
    if key is None:
        return
    if ordering == "strict" and not found.is_bad(("ring", "ordering")):
        found.add(
            "SPEC_SHARD_KEY_UNUSED",
            ("ring", "shard_key"),
            seen='a shard key with ordering = "strict"',
            wanted='a shard key with ordering = "per_key" only',
            fix='delete shard_key, or write ordering = "per_key"',
            severity=Severity.WARNING,
        )
    _check_shard_key(key, ring["slot_bytes"] - SLOT_HEADER_BYTES, found)


def _check_shard_key(key: tuple[int, int], payload_max: int, found: Collector) -> None:
    offset, length = key
    if length == 0:
        found.add(
            "SPEC_SHARD_KEY_EMPTY",
            ("ring", "shard_key", "length"),
            seen="0",
            wanted="at least 1 byte",
            fix="give the length of the key in bytes",
        )
    elif offset + length > payload_max:
        found.add(
            "SPEC_RANGE_OUTSIDE",
            ("ring", "shard_key"),
            seen=f"bytes {offset} to {offset + length - 1}",
            wanted=f"bytes within the longest message, {payload_max} bytes (slot_bytes less 16)",
            fix="move the range, or raise slot_bytes",
        )


def check_endpoints(endpoints: Sequence[Mapping[str, Any]], found: Collector) -> None:
    """Report anything but exactly one ingress and one egress."""
    for kind in ("ingress", "egress"):
        places = [i for i, endpoint in enumerate(endpoints) if endpoint["kind"] == kind]
        if len(places) == 1 or (not places and any(e["kind"] is None for e in endpoints)):
            continue
        path: Path = ("endpoints", str(places[1]), "kind") if places else ("endpoints",)
        found.add(
            f"SPEC_{kind.upper()}_COUNT",
            path,
            seen=f"{len(places)} endpoints of kind {kind}",
            wanted=f"exactly one {kind}",
            fix=f'add [[endpoints]] with name and kind = "{kind}"'
            if not places
            else f"keep one; for several, {LANE_GRAPH_ADVICE}",
        )


def check_stage_count(stages: Sequence[Mapping[str, Any]], found: Collector) -> None:
    """Report no stage, or more than a SingleRing holds."""
    if not stages and not found.is_bad(("stages",)):
        found.add(
            "SPEC_STAGES_NONE",
            ("stages",),
            seen="no stage",
            wanted=f"1 to {STAGES_MAX} stages",
            fix='add [[stages]] with name and stage, for example stage = "identity"',
        )
    if len(stages) > STAGES_MAX:
        found.add(
            "SPEC_STAGES_TOO_MANY",
            ("stages",),
            seen=f"{len(stages)} stages",
            wanted=f"1 to {STAGES_MAX} stages in a SingleRing; more need a LaneGraph",
            fix=f"join stages, or {LANE_GRAPH_ADVICE}",
        )
