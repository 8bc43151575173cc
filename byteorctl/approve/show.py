"""A credential as data and as people see it."""

from __future__ import annotations

from byteor.trust.approval import Credential
from byteor.trust.strict import time_text
from byteorctl.errors import Plain


def credential_plain(credential: Credential) -> Plain:
    """Return what a credential says; nothing of it is verified."""
    approval = credential.approval
    return {
        "form": credential.form,
        "approval_id": approval.approval_id,
        "spec_hash": approval.spec_hash,
        "deployment_hash": approval.deployment_hash,
        "code": approval.code,
        "environment": approval.environment,
        "host": approval.host,
        "capabilities": list(approval.capabilities),
        "not_before": time_text(approval.not_before),
        "expires_at": time_text(approval.expires_at),
        "max_uses": approval.max_uses,
        "requested_by": approval.requested_by,
        "issued_by": approval.issued_by,
        "reason": approval.reason,
        "signed_by_keys": [each.kid for each in credential.signatures],
    }


def credential_fields(shown: Plain) -> list[tuple[str, str]]:
    """Return the pairs that people see."""
    uses = str(shown["max_uses"]) if shown["max_uses"] else "not counted"
    return [
        ("approval", f"{shown['approval_id']} ({shown['form']})"),
        ("for spec", shown["spec_hash"]),
        ("for deployment", shown["deployment_hash"] or "any"),
        *((f"for code of {stage}", digest) for stage, digest in shown["code"].items()),
        ("in", shown["environment"]),
        ("on host", shown["host"] or "any"),
        ("allows", ", ".join(shown["capabilities"]) or "nothing"),
        ("valid", f"{shown['not_before']} to {shown['expires_at']}"),
        ("uses", uses),
        ("requested by", shown["requested_by"]),
        ("issued by", shown["issued_by"]),
        ("reason", shown["reason"]),
        ("signed with", ", ".join(shown["signed_by_keys"]) or "nothing yet"),
    ]
