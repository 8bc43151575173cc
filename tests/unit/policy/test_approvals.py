"""Approvals: what holds, and every reason for which one is refused."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from byteor.trust.approval import (
    Approval,
    parse_credential,
    render_credential,
    render_payload,
)
from byteor.trust.key_set import KeySet
from byteor.trust.strict import TrustError, encode_base64
from byteor.trust.verdict import REASONS, Held, Rules, Wanted, check
from tests.support.trust import (
    APPROVAL,
    DAY,
    NOW,
    SPEC,
    WANTED,
    Signer,
    dotted,
    key_set,
    signed,
    signer,
)

ALICE, BOB, MALLORY = signer("alice"), signer("bob"), signer("mallory")
ALICE_AGAIN = replace(signer("alice"), owner="alice")
KEYS = key_set(ALICE.key(), BOB.key(), ALICE_AGAIN.key())
TWO = Rules(signers_min=2)
SCOPE = Rules(v1_scope="org/pipes/eu-1")
STAGING = replace(WANTED, environment="staging", code={}, host="anything")


def held(
    credential: bytes,
    *,
    keys: KeySet = KEYS,
    wanted: Wanted = WANTED,
    rules: Rules = TWO,
    now: float = NOW,
    uses: int = 0,
) -> Held:
    """Return the verdict on a credential's bytes."""
    return check(parse_credential(credential), keys, wanted=wanted, rules=rules, now=now, uses=uses)


def reason(credential: bytes, **more: Any) -> str:
    """Return why a credential is refused."""
    with pytest.raises(TrustError) as caught:
        held(credential, **more)
    assert caught.value.message
    return caught.value.reason


GOOD = signed(APPROVAL, ALICE, BOB)


def test_an_approval_of_two_people_holds() -> None:
    """Everything matches: it holds, and says who signed."""
    found = held(GOOD)
    assert found.signers == ("alice", "bob")
    assert found.assurance == "full"
    assert found.approval.capabilities == APPROVAL.capabilities


def but(**changes: Any) -> bytes:
    """Return the good approval with changes, properly signed."""
    return signed(replace(APPROVAL, **changes), ALICE, BOB)


def payload_but(**changes: Any) -> bytes:
    """Return a properly signed envelope around a payload with other JSON fields."""
    row = {**json.loads(render_payload(APPROVAL)), **changes}
    row = {name: value for name, value in row.items() if value is not None}
    payload = json.dumps(row).encode()
    return sealed(payload, ALICE, BOB)


def sealed(payload: bytes, *signers: Signer, kind: str = "") -> bytes:
    """Return an envelope around any bytes, signed as such."""
    from byteor.trust.approval import PAYLOAD_TYPE
    from byteor.trust.keys import pae

    named = kind or PAYLOAD_TYPE
    rows = [
        {"keyid": each.kid, "sig": encode_base64(each.sign(pae(named, payload)).value)}
        for each in signers
    ]
    envelope = {"payloadType": named, "payload": encode_base64(payload), "signatures": rows}
    return json.dumps(envelope).encode()


OTHER = f"sha256:{'f' * 64}"
EXPIRED_KEYS = key_set(ALICE.key(not_after=NOW - 1), BOB.key())
EARLY_KEYS = key_set(ALICE.key(not_before=NOW + 5), BOB.key())
REVOKED_KEYS = key_set(ALICE.key(revoked_at=NOW - 5), BOB.key())
SELF = signed(replace(APPROVAL, requested_by="cert:alice"), ALICE, BOB)
FLIPPED = render_credential(
    render_payload(replace(APPROVAL, max_uses=3)), parse_credential(GOOD).signatures
)

REFUSED: tuple[tuple[str, bytes, dict[str, Any]], ...] = (
    ("APPROVAL_TOO_LARGE", b"{" + b" " * (64 << 10) + b"}", {}),
    ("APPROVAL_MALFORMED", b"", {}),
    ("APPROVAL_MALFORMED", b"hello", {}),
    ("APPROVAL_MALFORMED", b"{}", {}),
    ("APPROVAL_MALFORMED", GOOD.replace(b'"signatures"', b'"signatures":[],"signatures"'), {}),
    ("APPROVAL_MALFORMED", GOOD.replace(b'"payloadType"', b'"more":1,"payloadType"'), {}),
    ("APPROVAL_MALFORMED", GOOD[:-20], {}),
    ("APPROVAL_MALFORMED", payload_but(expires_at=None), {}),
    ("APPROVAL_MALFORMED", payload_but(expires_at="2026-02-31T00:00:00Z"), {}),
    ("APPROVAL_MALFORMED", payload_but(max_uses=1.5), {}),
    ("APPROVAL_MALFORMED", payload_but(max_uses=True), {}),
    ("APPROVAL_MALFORMED", payload_but(max_uses=0), {}),
    ("APPROVAL_MALFORMED", payload_but(host=""), {}),
    ("APPROVAL_MALFORMED", payload_but(host=None), {}),
    ("APPROVAL_MALFORMED", payload_but(surprise=1), {}),
    ("APPROVAL_MALFORMED", payload_but(x_note="seen", crit=["x_note"]), {}),
    ("APPROVAL_MALFORMED", sealed(b'{"v":2,"v":2}', ALICE, BOB), {}),
    ("APPROVAL_MALFORMED", sealed(b"\xff", ALICE, BOB), {}),
    ("APPROVAL_MALFORMED", sealed(b"[" * 20_000, ALICE, BOB), {}),
    ("APPROVAL_MALFORMED", sealed(render_payload(APPROVAL), ALICE, ALICE), {}),
    ("APPROVAL_UNSUPPORTED", payload_but(v=3), {}),
    ("APPROVAL_UNSUPPORTED", sealed(render_payload(APPROVAL), ALICE, BOB, kind="text/plain"), {}),
    ("APPROVAL_KEY_UNKNOWN", signed(APPROVAL, ALICE, MALLORY), {}),
    ("APPROVAL_KEY_REVOKED", GOOD, {"keys": REVOKED_KEYS}),
    ("APPROVAL_KEY_NOT_VALID", GOOD, {"keys": EXPIRED_KEYS}),
    ("APPROVAL_KEY_NOT_VALID", GOOD, {"keys": EARLY_KEYS}),
    ("APPROVAL_BAD_SIGNATURE", FLIPPED, {}),
    (
        "APPROVAL_BAD_SIGNATURE",
        signed(APPROVAL, ALICE, replace(MALLORY, kid=BOB.kid)),
        {},
    ),
    ("APPROVAL_REVOKED", GOOD, {"keys": key_set(ALICE.key(), BOB.key(), revoked=("chg-1",))}),
    ("APPROVAL_TOO_FEW_SIGNERS", signed(APPROVAL, ALICE), {}),
    ("APPROVAL_TOO_FEW_SIGNERS", signed(APPROVAL, ALICE, ALICE_AGAIN), {}),
    ("APPROVAL_TOO_FEW_SIGNERS", signed(APPROVAL), {"rules": Rules(signers_min=0)}),
    ("APPROVAL_SPEC_DIFFERS", but(spec_hash=OTHER), {}),
    ("APPROVAL_DEPLOYMENT_DIFFERS", but(deployment_hash=OTHER), {}),
    ("APPROVAL_CODE_DIFFERS", but(code={"mine": OTHER}), {}),
    ("APPROVAL_CODE_DIFFERS", but(code={}), {}),
    ("APPROVAL_WRONG_ENVIRONMENT", but(environment="staging"), {}),
    ("APPROVAL_WRONG_HOST", but(host="host-2"), {}),
    ("APPROVAL_NOT_YET_VALID", but(not_before=NOW + 61), {}),
    ("APPROVAL_EXPIRED", but(expires_at=NOW), {}),
    ("APPROVAL_VALIDITY_TOO_LONG", but(expires_at=NOW + 60 * DAY), {}),
    ("APPROVAL_CAPABILITY_MISSING", but(capabilities=("adapter:udp",)), {}),
    ("APPROVAL_NOT_CALLER", but(requested_by="uid:1001"), {}),
    ("APPROVAL_SELF_APPROVED", SELF, {"wanted": replace(WANTED, principal="cert:alice")}),
    ("APPROVAL_USED_UP", GOOD, {"uses": 2}),
    ("APPROVAL_V1_REFUSED", dotted(ALICE), {"wanted": STAGING, "rules": Rules()}),
    ("APPROVAL_V1_REFUSED", dotted(ALICE), {"rules": SCOPE}),
)


@pytest.mark.parametrize(("code", "credential", "more"), REFUSED)
def test_each_refusal_has_its_reason(code: str, credential: bytes, more: dict[str, Any]) -> None:
    """One thing is wrong with each of these, and the reason code says which."""
    assert reason(credential, **more) == code


def test_every_reason_is_tested() -> None:
    """The table above provokes each documented reason."""
    assert {code for code, _, _ in REFUSED} == set(REASONS)


def test_what_may_be_passed_over_is() -> None:
    """A field x_... that no `crit` names is for people."""
    assert held(payload_but(x_note="see the change request", crit=[])).signers


def test_a_clock_a_little_ahead_is_no_reason() -> None:
    """The maker's clock may be ahead by the bound; expiry has no such grace."""
    assert held(but(not_before=NOW + 60)).signers
    assert reason(but(expires_at=NOW), now=NOW + 0.0) == "APPROVAL_EXPIRED"


def test_a_run_that_goes_on_is_not_counted_again() -> None:
    """Renewing a lease or adopting a run needs no use."""
    assert held(GOOD, uses=2, wanted=replace(WANTED, counted=False)).signers


def test_the_dotted_form_holds_in_staging_with_low_assurance() -> None:
    """Where the configuration names its scope; it covers neither deployment nor code."""
    rules = replace(SCOPE, signers_min=1)
    found = held(dotted(ALICE), wanted=STAGING, rules=rules)
    assert (found.assurance, found.approval.max_uses) == ("low", 0)
    seconds = dotted(ALICE, issued_at=NOW - 60, expires_at=NOW + 60)
    assert held(seconds, wanted=STAGING, rules=rules).signers == ("alice",)


DOTTED: tuple[tuple[str, bytes], ...] = (
    ("APPROVAL_MALFORMED", dotted(ALICE) + b".x"),
    ("APPROVAL_MALFORMED", dotted(ALICE)[:-4]),
    ("APPROVAL_MALFORMED", dotted(ALICE, issued_by=None)),
    ("APPROVAL_MALFORMED", dotted(ALICE, surprise=1)),
    ("APPROVAL_UNSUPPORTED", dotted(ALICE, v=9)),
    ("APPROVAL_BAD_SIGNATURE", dotted(ALICE)[:-86] + dotted(ALICE, approval_id="x")[-86:]),
    ("APPROVAL_WRONG_ENVIRONMENT", dotted(ALICE, environment_posture="prod")),
    ("APPROVAL_WRONG_ENVIRONMENT", dotted(ALICE, project_id="other")),
    ("APPROVAL_SPEC_DIFFERS", dotted(ALICE, spec_hash=OTHER)),
    ("APPROVAL_EXPIRED", dotted(ALICE, expires_at=NOW - 1)),
    ("APPROVAL_CAPABILITY_MISSING", dotted(ALICE, capabilities=["exec"])),
    ("APPROVAL_KEY_UNKNOWN", dotted(MALLORY)),
)


@pytest.mark.parametrize(("code", "credential"), DOTTED)
def test_the_dotted_form_is_refused_alike(code: str, credential: bytes) -> None:
    """The same reasons hold for the other form."""
    rules = replace(SCOPE, signers_min=1)
    assert reason(credential, wanted=STAGING, rules=rules) == code


def test_the_dotted_payload_must_be_canonical() -> None:
    """The same fields written otherwise are another payload, however well signed."""
    first, _, _ = dotted(ALICE).partition(b".")
    raw = base64.urlsafe_b64decode(first + b"=" * (-len(first) % 4))
    loose = json.dumps(json.loads(raw)).encode()
    made = f"{encode_base64(loose, url=True)}.{encode_base64(ALICE.sign(loose).value, url=True)}"
    assert reason(made.encode(), wanted=STAGING, rules=SCOPE) == "APPROVAL_MALFORMED"


def test_the_signer_of_a_dotted_approval_is_not_the_caller() -> None:
    """It names no requester, so the caller must be somebody else than the signer."""
    caller = replace(STAGING, principal="cert:alice")
    assert reason(dotted(ALICE), wanted=caller, rules=SCOPE) == "APPROVAL_SELF_APPROVED"


def test_what_is_rendered_is_what_is_read() -> None:
    """Payload and value are the same thing both ways."""
    small = Approval(
        2, "a", SPEC, "staging", ("exec",), NOW, NOW + 1, deployment_hash=SPEC,
        nonce="0123456789abcdef", requested_by="uid:1", reason="",
    )  # fmt: skip
    for approval in (APPROVAL, small):
        assert parse_credential(signed(approval, ALICE)).approval == approval


def test_verification_takes_less_than_a_millisecond() -> None:
    """Parsing and checking two signatures; the best of many, since others share the CPUs."""
    times = []
    for _ in range(50):
        begin = time.perf_counter_ns()
        held(GOOD)
        times.append(time.perf_counter_ns() - begin)
    assert min(times) < 1_000_000, f"{min(times)} ns"
