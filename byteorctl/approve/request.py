"""A request for an approval: the payload that signers sign, from what a daemon or options say."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byteor.trust.approval import Approval, parse_payload, render_credential, render_payload
from byteorctl.approve.files import trusted
from byteorctl.errors import Plain
from byteorctl.exit_codes import Exit

SKEW_S = 30
"""How far before now the validity begins, for clocks that are behind."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an approval is for."""

    spec_hash: str
    deployment_hash: str
    code: Mapping[str, str]
    environment: str
    host: str
    principal: str
    capabilities: Sequence[str]


def facts_of(draft: Plain, *, any_host: bool, more: Sequence[str]) -> Facts:
    """Return the facts in a daemon's answer; `more` capabilities go beyond what it needs."""
    needed = {
        need["capability"] for need in draft["needs"] if need["decision"] == "RequireApproval"
    }
    return Facts(
        spec_hash=draft["spec_hash"],
        deployment_hash=draft["deployment_hash"],
        code=draft["code"],
        environment=draft["environment"],
        host="" if any_host else draft["host"],
        principal=draft["principal"],
        capabilities=sorted({*needed, *more}),
    )


def make_request(facts: Facts, *, valid_s: int, max_uses: int, reason: str) -> bytes:
    """Return an envelope without signatures; raises `CliError` for facts that make no sense."""
    now = int(time.time())
    approval = Approval(
        version=2,
        approval_id=f"apr-{time.strftime('%Y%m%d', time.gmtime(now))}-{secrets.token_hex(6)}",
        spec_hash=facts.spec_hash,
        environment=facts.environment,
        capabilities=tuple(facts.capabilities),
        not_before=now - SKEW_S,
        expires_at=now + valid_s,
        deployment_hash=facts.deployment_hash,
        code=dict(facts.code),
        host=facts.host,
        max_uses=max_uses,
        nonce=secrets.token_urlsafe(18),
        requested_by=facts.principal,
        reason=reason,
    )
    payload = render_payload(approval)
    with trusted(Exit.USAGE):
        parse_payload(payload)
    return render_credential(payload, ())
