"""Approval credentials as documents: two wire forms, parsed from the very bytes that are verified.

DSSE (JSON envelope, the type inside the signature) is the full form. The dotted v1 form is
base64url(payload) `.` base64url(signature over the payload bytes) with a payload of canonical JSON;
it knows neither deployment, code nor uses. Whether an approval holds is `byteor.trust.verdict`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from byteor.trust.key_set import APPROVAL_ID, PRINCIPAL
from byteor.trust.keys import KID, SIGNATURE_BYTES, pae
from byteor.trust.strict import (
    Reader,
    TrustError,
    decode_base64,
    dumps,
    encode_base64,
    loads,
    time_text,
)

PAYLOAD_TYPE = "application/vnd.byteor.approval.v2+json"
CREDENTIAL_BYTES_MAX = 64 << 10
DSSE_VERSION, DOTTED_VERSION = 2, 1
SIGNATURES_MAX = 16
USES_MAX = 1_000_000
MALFORMED = "APPROVAL_MALFORMED"
UNSUPPORTED = "APPROVAL_UNSUPPORTED"
TOO_LARGE = "APPROVAL_TOO_LARGE"
CAPABILITY = r"(adapter:)?[a-z][a-z0-9_]{0,62}"
HASH = r"sha256:[0-9a-f]{64}"
STAGE = r"[\x21-\x7e]{1,128}"
_NAME = r"[\x21-\x7e]{1,128}"
_HOST = r"[A-Za-z0-9._-]{1,253}"
_NONCE = r"[A-Za-z0-9_-]{16,64}"


@dataclass(frozen=True, slots=True)
class Approval:
    """What the signers approved. Times are seconds since the epoch.

    In the dotted form `deployment_hash`, `host`, `nonce` and `requested_by` are empty and `code` is
    too; `max_uses` 0 means that uses are not counted, `host` empty that any host may use it.
    """

    version: int
    approval_id: str
    spec_hash: str
    environment: str
    capabilities: tuple[str, ...]
    not_before: int
    expires_at: int
    deployment_hash: str = ""
    code: dict[str, str] = field(default_factory=dict)
    host: str = ""
    max_uses: int = 0
    nonce: str = ""
    requested_by: str = ""
    reason: str = ""
    scope: str = ""
    """Dotted form only: `ORG/PROJECT/ENVIRONMENT_ID`."""
    issued_by: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the id of the key that it claims to be of."""

    kid: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential taken apart; nothing about it is verified yet."""

    form: str
    """`dsse` or `v1`."""
    approval: Approval
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def message(self) -> bytes:
        """What the signatures are over."""
        return pae(PAYLOAD_TYPE, self.payload) if self.form == "dsse" else self.payload


def parse_credential(data: bytes) -> Credential:
    """Return a credential of either form.

    Raises TrustError: APPROVAL_TOO_LARGE, APPROVAL_MALFORMED, APPROVAL_UNSUPPORTED.
    """
    if len(data) > CREDENTIAL_BYTES_MAX:
        raise TrustError(
            TOO_LARGE, f"approval: {len(data)} bytes; wanted at most {CREDENTIAL_BYTES_MAX}"
        )
    text = data.strip(b" \t\r\n")
    if not text:
        raise TrustError(MALFORMED, "approval: is empty")
    return _dsse(text) if text.startswith(b"{") else _dotted(text)


def _dsse(data: bytes) -> Credential:
    reader = Reader(loads(data, "approval", MALFORMED), "approval", MALFORMED)
    kind = reader.text("payloadType")
    payload = decode_base64(reader.text_long("payload"), "approval payload", MALFORMED)
    rows = reader.take("signatures")
    reader.end()
    if kind != PAYLOAD_TYPE:
        raise TrustError(
            UNSUPPORTED, f"approval: payloadType is {kind[:80]!r}; wanted {PAYLOAD_TYPE!r}"
        )
    if not isinstance(rows, list) or len(rows) > SIGNATURES_MAX:
        reader.fail(f"signatures is no list of at most {SIGNATURES_MAX}")
    signatures = tuple(_signature(row) for row in rows)
    if len({each.kid for each in signatures}) != len(signatures):
        reader.fail("a key signed twice")
    return Credential("dsse", parse_payload(payload), payload, signatures)


def _signature(row: Any) -> Signature:
    reader = Reader(row, "a signature of the approval", MALFORMED)
    kid = reader.text("keyid", KID)
    value = decode_base64(reader.text("sig"), f"signature of {kid}", MALFORMED)
    reader.end()
    if len(value) != SIGNATURE_BYTES:
        reader.fail(f"has {len(value)} bytes; wanted {SIGNATURE_BYTES}")
    return Signature(kid, value)


def parse_payload(payload: bytes) -> Approval:
    """Return what the payload of a DSSE credential, or of a request for one, says."""
    reader = Reader(loads(payload, "approval", MALFORMED), "approval", MALFORMED)
    _check_version(reader, DSSE_VERSION)
    code = reader.take("code")
    if not isinstance(code, dict):
        reader.fail("code is no object of stages and digests")
    names = Reader(code, "code of the approval", MALFORMED)
    critical = reader.texts("crit", _NAME) if "crit" in reader else ()
    approval = Approval(
        version=DSSE_VERSION,
        approval_id=reader.text("approval_id", APPROVAL_ID),
        spec_hash=reader.text("spec_hash", HASH),
        environment=reader.text("environment", "dev|staging|prod"),
        capabilities=reader.texts("capabilities", CAPABILITY),
        not_before=reader.time("not_before"),
        expires_at=reader.time("expires_at"),
        deployment_hash=reader.text("deployment_hash", HASH),
        code={stage: names.text(stage, HASH) for stage in code},
        host=reader.text("host", _HOST) if "host" in reader else "",
        max_uses=reader.integer("max_uses", 1, USES_MAX) if "max_uses" in reader else 0,
        nonce=reader.text("nonce", _NONCE),
        requested_by=reader.text("requested_by", PRINCIPAL),
        reason=reader.text("reason"),
    )
    reader.end(critical=critical)
    if approval.expires_at <= approval.not_before:
        reader.fail("ends before it begins")
    if approval.max_uses and not approval.host:
        reader.fail("counts uses without naming the host that counts them")
    return approval


def _check_version(reader: Reader, wanted: int) -> None:
    version = reader.take("v")
    if version != wanted or isinstance(version, bool):
        raise TrustError(UNSUPPORTED, f"approval: v is {str(version)[:40]}; wanted {wanted}")


def _dotted(data: bytes) -> Credential:
    first, dot, second = data.partition(b".")
    if not dot or b"." in second:
        raise TrustError(MALFORMED, "approval: is neither a DSSE envelope nor payload.signature")
    payload = decode_base64(
        first.decode("ascii", "replace"), "approval payload", MALFORMED, url=True
    )
    value = decode_base64(
        second.decode("ascii", "replace"), "approval signature", MALFORMED, url=True
    )
    if len(value) != SIGNATURE_BYTES:
        raise TrustError(MALFORMED, f"approval signature: {len(value)} bytes; wanted 64")
    approval, kid = _v1_payload(payload)
    return Credential("v1", approval, payload, (Signature(kid, value),))


def _v1_payload(payload: bytes) -> tuple[Approval, str]:
    raw = loads(payload, "approval", MALFORMED)
    reader = Reader(raw, "approval", MALFORMED)
    _check_version(reader, DOTTED_VERSION)
    if dumps(raw) != payload:
        reader.fail("its payload is not in canonical JSON")
    kid = reader.text("kid", KID)
    scope = "/".join(reader.text(f"{part}_id", _NAME) for part in ("org", "project", "environment"))
    approval = Approval(
        version=DOTTED_VERSION,
        approval_id=reader.text("approval_id", APPROVAL_ID),
        spec_hash=reader.text("spec_hash", HASH),
        environment=reader.text("environment_posture", "dev|staging|prod"),
        capabilities=reader.texts("capabilities", CAPABILITY),
        not_before=reader.time("issued_at", numbers=True),
        expires_at=reader.time("expires_at", numbers=True),
        scope=scope,
        issued_by=reader.text("issued_by", _NAME),
    )
    reader.end()
    if approval.expires_at <= approval.not_before:
        reader.fail("ends before it begins")
    return approval, kid


def render_payload(approval: Approval) -> bytes:
    """Return the payload that the signers of a DSSE credential sign."""
    row: dict[str, Any] = {
        "v": DSSE_VERSION,
        "approval_id": approval.approval_id,
        "spec_hash": approval.spec_hash,
        "deployment_hash": approval.deployment_hash,
        "code": approval.code,
        "environment": approval.environment,
        "capabilities": list(approval.capabilities),
        "not_before": time_text(approval.not_before),
        "expires_at": time_text(approval.expires_at),
        "nonce": approval.nonce,
        "requested_by": approval.requested_by,
        "reason": approval.reason,
    }
    if approval.host:
        row["host"] = approval.host
    if approval.max_uses:
        row["max_uses"] = approval.max_uses
    return dumps(row)


def render_credential(payload: bytes, signatures: tuple[Signature, ...]) -> bytes:
    """Return the DSSE envelope of a payload; without signatures it is a request for them."""
    rows = [{"keyid": each.kid, "sig": encode_base64(each.value)} for each in signatures]
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": encode_base64(payload),
        "signatures": rows,
    }
    return dumps(envelope) + b"\n"
