"""The readers of credentials, envelopes, key sets and audit records under damaged input.

`atheris` can drive the same target: `atheris.Setup(sys.argv, target)`.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteor.trust.approval import parse_credential
from byteor.trust.audit_log import parse_record, read_checkpoint, render_record
from byteor.trust.key_set import parse_key_set, render_key_set
from byteor.trust.strict import TrustError
from byteor.trust.verdict import Rules, check
from tests.fuzz.mutation import mutations
from tests.support.trust import APPROVAL, NOW, WANTED, dotted, key_set, signed, signer

ALICE, BOB, MALLORY = signer("alice"), signer("bob"), signer("mallory")
KEYS = key_set(ALICE.key(), BOB.key())
RULES = Rules(signers_min=1, v1_scope="org/pipes/eu-1")
STAGING = replace(WANTED, environment="staging", code={})
RECORD = render_record(3, "2026-01-31T12:00:00.000000Z", "x", "0" * 64, {"a": "b"})
GOOD = (signed(APPROVAL, ALICE, BOB), signed(APPROVAL, ALICE), dotted(ALICE))
SIGNED = {parse_credential(each).payload for each in GOOD}
SEEDS = (
    *GOOD,
    signed(APPROVAL, MALLORY),
    dotted(MALLORY),
    render_key_set(KEYS),
    RECORD,
    b"{}",
    b".",
)
TOKENS = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b".", b"=", b"\\u0000", b"\xff", b"\0", b"null",
    b"true", b"-1", b"1e9", b"9" * 40, b'"v":1,', b'"keyid"', b'"signatures":[]', b"A" * 86,
    b"sha256:", b"prod", b"dev", b"NaN",
)  # fmt: skip
SECONDS = 3.0


def target(data: bytes) -> None:
    """Read arbitrary bytes as everything: TrustError or a value; what holds was really signed."""
    for read in (parse_key_set, parse_record, read_checkpoint):
        with contextlib.suppress(TrustError):
            read(data)
    try:
        credential = parse_credential(data)
    except TrustError:
        return
    for wanted in (WANTED, STAGING):
        try:
            check(credential, KEYS, wanted=wanted, rules=RULES, now=NOW, uses=0)
        except TrustError:
            continue
        assert credential.payload in SIGNED, "accepted what nobody signed"


@pytest.mark.timeout(60)
def test_damaged_documents_never_crash_and_never_hold() -> None:
    """Damaged credentials are refused by reason; none holds whose payload was not signed."""
    seed = Random().randrange(1 << 32)
    for data in mutations(SEEDS, TOKENS, Random(seed), seconds=SECONDS):
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data!r}") from error


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    """Whatever they are."""
    target(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("payloadType", "payload", "signatures", "v", "keys"), JSON)
    )
)
def test_any_json_is_refused(value: object) -> None:
    """Also when its fields have the right names."""
    target(json.dumps(value).encode())
