"""Signers, key sets and approvals for tests: real keys, real signatures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from byteor.trust import keys
from byteor.trust.approval import (
    Approval,
    Signature,
    parse_credential,
    render_credential,
    render_payload,
)
from byteor.trust.key_set import Key, KeySet, parse_key_set, render_key_set
from byteor.trust.strict import dumps, encode_base64, time_text
from byteor.trust.verdict import Wanted

NOW = 1_800_000_000
DAY = 86_400
SPEC, DEPLOYMENT, CODE = (f"sha256:{digit * 64}" for digit in "abc")


@dataclass(frozen=True)
class Signer:
    """A person with a key."""

    owner: str
    private: bytes
    kid: str
    public: bytes

    def sign(self, message: bytes) -> Signature:
        """Return a signature over a message."""
        return Signature(self.kid, keys.sign(self.private, message))

    def key(self, **changes: Any) -> Key:
        """Return the row of a key set."""
        row = Key(self.kid, self.public, self.owner, (f"cert:{self.owner}",), NOW - DAY, NOW + DAY)
        return replace(row, **changes)


def signer(owner: str) -> Signer:
    """Return a person with a fresh key."""
    private = keys.new_private_key()
    public = keys.public_of(private)
    return Signer(owner, private, keys.key_id(public), public)


def key_set(*rows: Key, version: int = 1, revoked: tuple[str, ...] = ()) -> KeySet:
    """Return a key set as it comes out of its document."""
    made = KeySet(version, {row.kid: row for row in rows}, frozenset(revoked))
    return parse_key_set(render_key_set(made))


APPROVAL = Approval(
    version=2,
    approval_id="chg-1",
    spec_hash=SPEC,
    environment="prod",
    capabilities=("adapter:udp", "http_post"),
    not_before=NOW - 60,
    expires_at=NOW + 3600,
    deployment_hash=DEPLOYMENT,
    code={"mine": CODE},
    host="host-1",
    max_uses=2,
    nonce="0123456789abcdef",
    requested_by="uid:1000",
    reason="release 7",
)

WANTED = Wanted(
    spec_hash=SPEC,
    deployment_hash=DEPLOYMENT,
    code={"mine": CODE},
    environment="prod",
    host="host-1",
    capabilities=("http_post",),
    principal="uid:1000",
)


def signed(approval: Approval, *signers: Signer) -> bytes:
    """Return a DSSE credential."""
    payload = render_payload(approval)
    bare = parse_credential(render_credential(payload, ()))
    return render_credential(payload, tuple(each.sign(bare.message) for each in signers))


def dotted(by: Signer, **changes: Any) -> bytes:
    """Return a credential of the v1 form; `changes` override or (None) leave out fields."""
    row: dict[str, Any] = {
        "v": 1,
        "kid": by.kid,
        "org_id": "org",
        "project_id": "pipes",
        "environment_id": "eu-1",
        "environment_posture": "staging",
        "spec_hash": SPEC,
        "capabilities": ["http_post"],
        "issued_at": time_text(NOW - 60),
        "expires_at": time_text(NOW + 3600),
        "issued_by": by.owner,
        "approval_id": "old-1",
        **changes,
    }
    payload = dumps({name: value for name, value in row.items() if value is not None})
    value = keys.sign(by.private, payload)
    return f"{encode_base64(payload, url=True)}.{encode_base64(value, url=True)}".encode()
