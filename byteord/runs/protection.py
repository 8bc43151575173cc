"""Data protection of a live or recorded run: which rules whatever is shown of it goes through.

Owns the step from a run's plan and documents to its rules. Pure but for the key of `hash`, which is
new for each view, so that hashes correlate within one view alone.
"""

from __future__ import annotations

import secrets

from byteord.capture.files import RunDocuments, flat_of
from byteord.capture.guarding import Guarding, guarding_of
from byteord.deployment.bundling import bundling_from_flat
from byteord.deployment.plan import RunPlan
from byteord.spec.model import SLOT_BYTES_MAX

_KEY_BYTES = 32


def protection_of(plan: RunPlan, documents: RunDocuments) -> Guarding | None:
    """Return the rules of a run; None: nothing of it is under one."""
    kv = documents.deployment_kv
    rules = dict(bundling_from_flat(flat_of(kv)).redact) if kv else {}
    return guarding_of(
        [(role.stage, role.config) for role in plan.roles],
        plan.schemas,
        rules=rules,
        slot_bytes=max((ring.slot_bytes for ring in plan.rings), default=SLOT_BYTES_MAX),
        key=secrets.token_bytes(_KEY_BYTES),
    )
