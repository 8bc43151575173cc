"""The audit artifact of a replay: asked, allowed, attempted, and what came out. Pure.

Owns its shape, which other tools read (`audit_v`). Payloads never enter it: digests stand for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

AUDIT_VERSION = 1


def replay_audit(
    *,
    replay_id: str,
    created_unix_ms: int,
    bundle_dir: str | None,
    spec_sha256: str,
    source: Mapping[str, Any],
    policy: Mapping[str, Any],
    actions: Sequence[Mapping[str, Any]] = (),
    limits: Mapping[str, Any],
    result: Mapping[str, Any] | None = None,
    refused: Mapping[str, str] | None = None,
) -> bytes:
    """Return the artifact as JSON. `refused`: reason and message of a replay that did not start."""
    document: dict[str, Any] = {
        "audit_v": AUDIT_VERSION,
        "created_unix_ms": created_unix_ms,
        "bundle_dir": bundle_dir,
        "spec_sha256": spec_sha256,
        "input": dict(source),
        "policy": dict(policy),
        "actions": [dict(each) for each in actions],
        "replay_id": replay_id,
        "limits": dict(limits),
        "refused": dict(refused) if refused else None,
        "result": dict(result) if result else None,
    }
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
