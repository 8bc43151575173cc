"""The canonical keys and values of a spec: every default spelled out.

Pure. `byteord.spec.kv` turns them into bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from byteord.spec.keys import VERSION
from byteord.spec.model import ByteRange, Endpoint, Model, Ring, Stage
from byteord.spec.schema import Flat
from byteord.spec.stage_key import BUILTIN, parse_key

FlatDocument = dict[str, str | int | bool | tuple[()]]


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
        put_range(flat, "ring.shard_key", ring.shard_key)
    for index, stage in enumerate(stages):
        _put_stage(flat, f"stages.{index}", stage)
    for index, endpoint in enumerate(endpoints):
        flat[f"endpoints.{index}.name"] = endpoint.name
        flat[f"endpoints.{index}.kind"] = str(endpoint.kind)
    return flat


def put_range(flat: FlatDocument, prefix: str, item: ByteRange) -> None:
    """Put a byte range into a flat document."""
    flat[f"{prefix}.offset"] = item.offset
    flat[f"{prefix}.length"] = item.length


def _put_stage(flat: FlatDocument, prefix: str, stage: Stage) -> None:
    flat[f"{prefix}.name"] = stage.name
    flat[f"{prefix}.source"] = not stage.depends_on
    put_array(flat, f"{prefix}.depends_on", stage.depends_on)
    put_computation(flat, prefix, stage)


def put_computation(flat: FlatDocument, prefix: str, stage: Stage) -> None:
    """Put what a stage does into a flat document: key, configuration, declarations."""
    flat[f"{prefix}.stage"] = stage.stage
    config: Flat = dict(stage.config)
    flat.update({f"{prefix}.config.{key}": value for key, value in config.items()})
    if parse_key(stage.stage).kind == BUILTIN:
        return
    if not stage.mutates:
        flat[f"{prefix}.mutates"] = ()
    for index, item in enumerate(stage.mutates):
        put_range(flat, f"{prefix}.mutates.{index}", item)
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
