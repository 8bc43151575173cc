"""Whether an approval holds: the one verification, with a reason code for every refusal.

Pure: clock, key set, hashes and uses come as values. The daemon asks it before a run starts and
while one runs; `byteorctl approve verify` asks it offline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from byteor.trust.approval import Approval, Credential
from byteor.trust.key_set import Key, KeySet
from byteor.trust.keys import verify
from byteor.trust.strict import TrustError, time_text

REASONS: Mapping[str, str] = {
    "APPROVAL_TOO_LARGE": "more bytes than a credential may have",
    "APPROVAL_MALFORMED": "does not decode as either form, or a field is missing, unknown or wrong",
    "APPROVAL_UNSUPPORTED": "a version or type that this build does not read",
    "APPROVAL_V1_REFUSED": "the dotted form, where the daemon's configuration does not take it",
    "APPROVAL_KEY_UNKNOWN": "signed with a key that the key set does not have",
    "APPROVAL_KEY_REVOKED": "signed with a key that was revoked",
    "APPROVAL_KEY_NOT_VALID": "signed with a key outside its validity",
    "APPROVAL_BAD_SIGNATURE": "a signature is not that key's over these bytes",
    "APPROVAL_REVOKED": "the key set revokes this approval by its id",
    "APPROVAL_TOO_FEW_SIGNERS": "fewer different people signed than this environment wants",
    "APPROVAL_SPEC_DIFFERS": "made for another spec",
    "APPROVAL_DEPLOYMENT_DIFFERS": "made for another effective deployment",
    "APPROVAL_CODE_DIFFERS": "made for other code of the stages",
    "APPROVAL_WRONG_ENVIRONMENT": "made for another environment",
    "APPROVAL_WRONG_HOST": "made for another host",
    "APPROVAL_NOT_YET_VALID": "its validity has not begun",
    "APPROVAL_EXPIRED": "its validity is over",
    "APPROVAL_VALIDITY_TOO_LONG": "valid for longer than the daemon's configuration takes",
    "APPROVAL_CAPABILITY_MISSING": "does not cover everything that the run needs",
    "APPROVAL_NOT_CALLER": "was requested by somebody else than the caller",
    "APPROVAL_SELF_APPROVED": "the requester or the caller is one of its signers",
    "APPROVAL_USED_UP": "was used as often as it may be",
}
"""Every reason for which a credential is refused."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the verifier's own configuration demands."""

    signers_min: int = 1
    v1_scope: str = ""
    """`ORG/PROJECT/ENVIRONMENT_ID` of dotted credentials that are taken; empty: none is."""
    clock_skew_s: int = 60
    """How far the clock of whoever made the approval may be ahead of this one."""
    validity_max_s: int = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Wanted:
    """The run that the approval must be for. `principal` is the caller."""

    spec_hash: str
    deployment_hash: str
    code: Mapping[str, str]
    environment: str
    host: str
    capabilities: tuple[str, ...]
    principal: str
    counted: bool = field(default=True)
    """Whether starting uses it up; not so for a run that goes on."""


@dataclass(frozen=True, slots=True)
class Held:
    """An approval that holds: who signed, and with what assurance (`full` or `low`)."""

    approval: Approval
    signers: tuple[str, ...]
    assurance: str


def check(
    credential: Credential,
    key_set: KeySet,
    *,
    wanted: Wanted,
    rules: Rules,
    now: float,
    uses: int,
) -> Held:
    """Return the approval if it holds; raise TrustError with the first reason why it does not."""
    approval = credential.approval
    if credential.form == "v1" and (wanted.environment == "prod" or not rules.v1_scope):
        _refuse(
            "APPROVAL_V1_REFUSED",
            f"the dotted form covers neither deployment nor uses, and {wanted.environment} "
            "does not take it here; make one with `byteorctl approve request`",
        )
    keys = [_signer(credential, each.kid, each.value, key_set, now) for each in
            credential.signatures]  # fmt: skip
    signers = tuple(sorted({key.owner for key in keys}))
    if len(signers) < max(1, rules.signers_min):
        _refuse(
            "APPROVAL_TOO_FEW_SIGNERS",
            f"signed by {', '.join(signers) or 'nobody'}; {wanted.environment} wants "
            f"{max(1, rules.signers_min)} different people: sign it with `byteorctl approve sign`",
        )
    if approval.approval_id in key_set.revoked_approvals:
        _refuse("APPROVAL_REVOKED", f"{approval.approval_id} was revoked")
    _check_run(approval, wanted, rules)
    _check_time(approval, rules, now)
    _check_people(approval, keys, wanted)
    if wanted.counted and approval.max_uses and uses >= approval.max_uses:
        _refuse("APPROVAL_USED_UP", f"{approval.approval_id} was used {uses} times, as it may be")
    return Held(approval, signers, "low" if credential.form == "v1" else "full")


def _refuse(reason: str, text: str) -> None:
    raise TrustError(reason, f"approval: {text}")


def _signer(credential: Credential, kid: str, value: bytes, key_set: KeySet, now: float) -> Key:
    key = key_set.keys.get(kid)
    if key is None:
        raise TrustError(
            "APPROVAL_KEY_UNKNOWN",
            f"approval: signed with the key {kid}, which the key set (version {key_set.version}) "
            "does not have",
        )
    if key.revoked_at:
        _refuse("APPROVAL_KEY_REVOKED", f"the key {kid} was revoked {time_text(key.revoked_at)}")
    if not key.not_before <= now < key.not_after:
        _refuse(
            "APPROVAL_KEY_NOT_VALID",
            f"the key {kid} is valid from {time_text(key.not_before)} to "
            f"{time_text(key.not_after)}",
        )
    if not verify(key.public, value, credential.message):
        _refuse("APPROVAL_BAD_SIGNATURE", f"the signature of {kid} is not over these bytes")
    return key


def _check_run(approval: Approval, wanted: Wanted, rules: Rules) -> None:
    if approval.environment != wanted.environment or (
        approval.version == 1 and approval.scope != rules.v1_scope
    ):
        where = approval.environment if approval.version > 1 else approval.scope
        _refuse("APPROVAL_WRONG_ENVIRONMENT", f"made for {where}; this is {wanted.environment}")
    if approval.host and approval.host != wanted.host:
        _refuse("APPROVAL_WRONG_HOST", f"made for the host {approval.host}; this is {wanted.host}")
    if approval.spec_hash != wanted.spec_hash:
        _refuse("APPROVAL_SPEC_DIFFERS", f"made for spec {approval.spec_hash}; this run has "
                f"{wanted.spec_hash}")  # fmt: skip
    if approval.version > 1 and approval.deployment_hash != wanted.deployment_hash:
        _refuse("APPROVAL_DEPLOYMENT_DIFFERS", f"made for deployment {approval.deployment_hash}; "
                f"this run has {wanted.deployment_hash}")  # fmt: skip
    if approval.version > 1 and approval.code != dict(wanted.code):
        names = sorted(
            name
            for name in {*approval.code, *wanted.code}
            if approval.code.get(name) != wanted.code.get(name)
        )
        _refuse("APPROVAL_CODE_DIFFERS", f"made for other code of {', '.join(names)}")
    missing = [each for each in wanted.capabilities if each not in approval.capabilities]
    if missing:
        _refuse("APPROVAL_CAPABILITY_MISSING", f"does not cover {', '.join(missing)}")


def _check_time(approval: Approval, rules: Rules, now: float) -> None:
    if now + rules.clock_skew_s < approval.not_before:
        _refuse("APPROVAL_NOT_YET_VALID", f"valid from {time_text(approval.not_before)}")
    if now >= approval.expires_at:
        _refuse("APPROVAL_EXPIRED", f"expired {time_text(approval.expires_at)}")
    lasts = approval.expires_at - approval.not_before
    if lasts > rules.validity_max_s:
        _refuse(
            "APPROVAL_VALIDITY_TOO_LONG",
            f"valid for {lasts} s; this daemon takes at most {rules.validity_max_s}",
        )


def _check_people(approval: Approval, keys: list[Key], wanted: Wanted) -> None:
    named: Callable[[str], bool] = lambda who: any(key.names(who) for key in keys)  # noqa: E731
    if approval.requested_by and approval.requested_by != wanted.principal:
        _refuse(
            "APPROVAL_NOT_CALLER",
            f"requested by {approval.requested_by}; the caller is {wanted.principal}",
        )
    for who in (approval.requested_by, wanted.principal):
        if who and named(who):
            _refuse("APPROVAL_SELF_APPROVED", f"{who} is one of its signers")
