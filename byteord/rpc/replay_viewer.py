"""Who may see what of a replay's messages: the grant, and the rules of all that had a hand in them.

Owns the choice of rules: those of the spec and deployment that are replayed, and those of the
recorded ones, so that another spec shows no more. Pure but for the key of `hash`, new each time.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping

from byteord.capture.files import flat_of
from byteord.capture.guarding import Guarding, guarding_of
from byteord.capture.recorded import Recorded
from byteord.capture.shown import Viewer
from byteord.deployment.bundling import bundling_from_flat
from byteord.deployment.model import Deployment
from byteord.errors import DeniedError
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import SLOT_BYTES_MAX, Scalar, Spec

_STAGE = re.compile(r"((?:stages|roles)\.[0-9]+)\.(?:(stage)|config\.(.+))\Z")
_KEY_BYTES = 32
Configured = list[tuple[str, Mapping[str, Scalar]]]


def viewer_of(
    recorded: Recorded, spec: Spec | LaneGraph, deployment: Deployment, *, allowed: bool
) -> Viewer:
    """Return what shows payloads of a replay."""
    rules = guarding(recorded, spec, deployment)
    return Viewer(allowed, rules is not None, rules.open() if rules is not None else None)


def guarding(recorded: Recorded, spec: Spec | LaneGraph, deployment: Deployment) -> Guarding | None:
    """Return the rules that messages of a replay are shown through; None: none."""
    stages: Configured = [(each.stage, each.config) for each in spec.stages]
    asked = dict(bundling_from_flat(flat_of(deployment.kv)).redact)
    if not isinstance(recorded.facts.get("redacted"), Mapping):  # else it was done to them already
        stages += _stages_of(flat_of(recorded.spec_kv)) if recorded.spec_kv else []
        kv = recorded.deployment_kv
        asked = dict(bundling_from_flat(flat_of(kv)).redact) if kv and not asked else asked
    return guarding_of(
        stages,
        [file.text for file in deployment.dataguard.schemas],
        rules=asked,
        slot_bytes=SLOT_BYTES_MAX,
        key=secrets.token_bytes(_KEY_BYTES),
    )


def _stages_of(flat: Mapping[str, Scalar]) -> Configured:
    keys: dict[str, str] = {}
    configs: dict[str, dict[str, Scalar]] = {}
    for path, value in flat.items():
        if found := _STAGE.match(path):
            if found[2]:
                keys[found[1]] = str(value)
            else:
                configs.setdefault(found[1], {})[found[3]] = value
    return [(key, configs.get(place, {})) for place, key in keys.items()]


def check_output(viewer: Viewer, names: Iterable[str], *, sees: bool) -> None:
    """Refuse to stream what leaves a replay to somebody who may not see it as it is.

    Raises DeniedError: PAYLOAD_NOT_GRANTED, PAYLOAD_PROTECTED.
    """
    said = ", ".join(names)
    if not sees:
        raise DeniedError(
            f"output: who asks may not see payloads, and {said} would be streamed; wanted "
            "access.payload of the daemon's configuration to grant it, or no --output",
            reason="PAYLOAD_NOT_GRANTED",
        )
    if viewer.guarded:
        raise DeniedError(
            f"output: messages are under data protection rules, and {said} would be streamed as it "
            "left; wanted no --output: --step and differences show messages through the rules",
            reason="PAYLOAD_PROTECTED",
        )
