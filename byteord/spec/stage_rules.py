"""Rules of one stage by itself: its key, what it declares, its configuration.

Owns the step from a table row of the document to a `Stage`. What built-in stages declare comes from
the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from byteord.spec.config import inferred, settle
from byteord.spec.findings import Collector, Path, shown
from byteord.spec.model import (
    ByteRange,
    Stage,
    StageCatalogue,
    StageInfo,
    StateKind,
)
from byteord.spec.nearest import did_you_mean
from byteord.spec.stage_key import ACTION_KINDS, USER_KINDS, StageKey, StageKeyError, parse_key
from byteord.spec.topology import range_text

DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
EFFECT = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")

DECLARED = ("mutates", "drops", "resizes", "state", "state_bytes", "deterministic", "effects")
"""Keys of a stage that the catalogue declares for built-in stages."""


def read_stage(
    row: Mapping[str, Any],
    path: Path,
    payload_max: int,
    catalogue: StageCatalogue,
    found: Collector,
) -> Stage | None:
    """Return the stage that a row describes.

    None, with findings, when nothing sure can be said of it.
    """
    if not isinstance(row["stage"], str):
        return None
    key = _read_key(row["stage"], path, catalogue, found)
    if key is None:
        return None
    ranges = tuple(ByteRange(*item) for item in row["mutates"] or ())
    check_ranges(ranges, (*path, "mutates"), payload_max, found)
    if key.is_builtin:
        return _builtin(row, path, payload_max, catalogue, found)
    if key.is_action:
        return _action(row, path, key, found)
    return _user(row, path, key, found)


def _read_key(
    text: str, path: Path, catalogue: StageCatalogue, found: Collector
) -> StageKey | None:
    known = sorted(catalogue.names())
    try:
        key = parse_key(text)
    except StageKeyError as error:
        kind = text.partition(":")[0]
        in_catalogue = kind in known
        found.add(
            "SPEC_STAGE_KEY_INVALID"
            if in_catalogue or kind in (*USER_KINDS, *ACTION_KINDS)
            else "SPEC_STAGE_UNKNOWN",
            (*path, "stage"),
            seen=shown(text),
            wanted=f'"{kind}" without a target' if in_catalogue else error.wanted,
            fix="put configuration under its config; a built-in stage key has no target"
            if in_catalogue
            else did_you_mean(kind, (*known, *USER_KINDS), otherwise="write the key in that form"),
        )
        return None
    if key.is_builtin and key.name not in known:
        form = f"write {key.name}:... with its target" if key.name in USER_KINDS else ""
        found.add(
            "SPEC_STAGE_UNKNOWN",
            (*path, "stage"),
            seen=shown(text),
            wanted=f"one of {', '.join(known)}, or python:, cabi:, numba: with a target",
            fix=form
            or did_you_mean(
                key.name, known, otherwise="see `byteorctl capabilities` for the stages"
            ),
        )
        return None
    return key


def check_ranges(
    ranges: tuple[ByteRange, ...], path: Path, payload_max: int, found: Collector
) -> None:
    """Report byte ranges that no message can hold."""
    for index, item in enumerate(ranges):
        if item.offset >= payload_max or item.offset + item.length > payload_max:
            found.add(
                "SPEC_RANGE_OUTSIDE",
                (*path, str(index)),
                seen=range_text(item),
                wanted=f"bytes within the longest message, {payload_max} bytes (slot_bytes less "
                "16)",
                fix="move the range, or raise slot_bytes",
            )


def _builtin(
    row: Mapping[str, Any],
    path: Path,
    payload_max: int,
    catalogue: StageCatalogue,
    found: Collector,
) -> Stage | None:
    name = row["stage"]
    if row["digest"] is not None:
        found.add(
            "SPEC_DIGEST_UNUSED",
            (*path, "digest"),
            seen=shown(row["digest"]),
            wanted="a digest on python:, cabi: and numba: stages only",
            fix="delete it; built-in stages are part of byteor",
        )
    known = catalogue.info(name)
    config = settle(
        row["config"] or {},
        known.keys if known is not None else (),
        lambda full: catalogue.check(name, full, payload_max),
        (*path, "config"),
        found,
    )
    if config is None:
        return None
    info = catalogue.configured(name, config, payload_max)
    _check_declared(row, path, info, found)
    return Stage(
        name=row["name"] or "",
        stage=name,
        depends_on=row["depends_on"],
        config=config,
        mutates=info.mutates,
        drops=info.drops,
        resizes=info.resizes,
        state=info.state,
        state_bytes=info.state_bytes,
        deterministic=info.deterministic,
        effects=info.effects,
    )


def _check_declared(row: Mapping[str, Any], path: Path, info: StageInfo, found: Collector) -> None:
    for key in DECLARED:
        said = row[key]
        if said is None or found.is_bad((*path, key)):
            continue
        truth: object = getattr(info, key)
        if key == "mutates":
            said, truth = (
                _ranges_text(said),
                _ranges_text([(r.offset, r.length) for r in info.mutates]),
            )
        elif key == "effects":
            said, truth = sorted(set(said)), sorted(info.effects)
        if said != truth:
            found.add(
                "SPEC_DECLARATION_CONFLICT",
                (*path, key),
                seen=_declared(said),
                wanted=f"{_declared(truth)}, as the catalogue declares {info.name} with this "
                "configuration",
                fix="delete the key; for a built-in stage the catalogue says it",
            )


def _declared(value: object) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value).lower()


def _ranges_text(ranges: object) -> str:
    items = sorted(ranges) if isinstance(ranges, list | tuple) else []
    return ", ".join(range_text(ByteRange(*item)) for item in items) or "nothing"


def _user(row: Mapping[str, Any], path: Path, key: StageKey, found: Collector) -> Stage:
    state = row["state"] or ("private" if key.kind == "python" else "stateless")
    _check_state(row, path, state, found)
    digest = row["digest"]
    if digest is not None and not DIGEST.match(digest):
        found.add(
            "SPEC_DIGEST_INVALID",
            (*path, "digest"),
            seen=shown(digest),
            wanted="sha256: and 64 lower-case hex digits",
            fix="copy the digest that `byteorctl describe` or a run's status shows",
        )
    for index, effect in enumerate(row["effects"] or ()):
        if not EFFECT.match(effect):
            found.add(
                "SPEC_EFFECT_INVALID",
                (*path, "effects", str(index)),
                seen=shown(effect),
                wanted="a capability: a small letter, then small letters, digits and _",
                fix="correct the name",
            )
    return Stage(
        name=row["name"] or "",
        stage=row["stage"],
        depends_on=row["depends_on"],
        config=inferred(row["config"] or {}),
        mutates=tuple(ByteRange(*item) for item in row["mutates"] or ()),
        drops=bool(row["drops"]),
        resizes=bool(row["resizes"]),
        state=StateKind(state),
        state_bytes=row["state_bytes"] or 0,
        deterministic=bool(row["deterministic"]),
        effects=None if row["effects"] is None else tuple(sorted(set(row["effects"]))),
        digest=digest or "",
    )


ACTION_STATE_BYTES = 4160
"""Shared memory of an action's report (`byteord.regions.report`)."""


def _action(row: Mapping[str, Any], path: Path, key: StageKey, found: Collector) -> Stage:
    """Return an action: it passes its messages on; limits and retries are the deployment's."""
    if row["config"]:
        found.add(
            "STAGE_CONFIG_UNKNOWN_KEY",
            (*path, "config"),
            seen=shown(min(row["config"])),
            wanted=f"no configuration of {key.kind}",
            fix="give limits and retries under [actions] in the deployment",
        )
    for name in ("mutates", "drops", "resizes"):
        if row[name]:
            found.add(
                "SPEC_DECLARATION_CONFLICT",
                (*path, name),
                seen="declared",
                wanted=f"nothing: {key.kind} passes its messages on as they are",
                fix="delete the key",
            )
    if row["effects"] is not None and list(row["effects"]) != [key.kind]:
        found.add(
            "SPEC_DECLARATION_CONFLICT",
            (*path, "effects"),
            seen=", ".join(row["effects"]) or "none",
            wanted=key.kind,
            fix="delete the key; the stage says it",
        )
    return Stage(
        name=row["name"] or "",
        stage=row["stage"],
        depends_on=row["depends_on"],
        state=StateKind.STATE,
        state_bytes=ACTION_STATE_BYTES,
        effects=(key.kind,),
        digest=row["digest"] or "",
    )


def _check_state(row: Mapping[str, Any], path: Path, state: str, found: Collector) -> None:
    size = row["state_bytes"] or 0
    if state == "state" and not size and not found.is_bad((*path, "state_bytes")):
        found.add(
            "SPEC_STATE_BYTES_MISSING",
            (*path, "state_bytes"),
            seen="nothing",
            wanted='the bytes of shared memory that state = "state" keeps',
            fix="add state_bytes, for example the size of the dtype given to ctx.state",
        )
    if state != "state" and size and not found.is_bad((*path, "state")):
        found.add(
            "SPEC_STATE_BYTES_UNUSED",
            (*path, "state_bytes"),
            seen=f'{size} with state = "{state}"',
            wanted='state_bytes with state = "state" only',
            fix='write state = "state", or delete state_bytes',
        )
