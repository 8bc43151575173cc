"""Data protection: what passes, what is refused, what is taken out, and what is counted."""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from typing import Any

import msgspec
import pytest

from byteord._cext.stages import Bench, drive
from byteord.errors import InvalidDocumentError, StageError
from byteord.stages.catalogue import CATALOGUE
from byteord.stages.guard.bind import STAGES, bind
from byteord.stages.guard.config import STATE_BYTES
from byteord.stages.guard.registry import parse_registry
from byteord.stages.guard.rules import parse_rule
from tests.support.guard import (
    KEY,
    RULES,
    SLOT_BYTES,
    config_of,
    open_stage,
    redact_plainly,
    registry,
    through,
)

LOGIN: dict[str, Any] = {"type": "login", "version": 3, "user": "bob", "ip": "10.0.0.123"}


def _json(**changes: Any) -> bytes:
    return json.dumps({**LOGIN, **changes}).encode()


def test_rules_take_out_what_they_say() -> None:
    """Each rule does to its field what it says, and nothing else of the message changes."""
    message = {**LOGIN, "note": "grüße an alle", "port": 22, "score": 1.5, "ok": True}
    left, report = through("dataguard_fused", config_of(RULES), [json.dumps(message).encode()])
    assert left == [redact_plainly(message, RULES)]
    shown = json.loads(left[0] or b"")
    assert shown["user"] == hmac.new(KEY, b"bob", hashlib.sha256).hexdigest()
    assert (shown["ip"], shown["note"], shown["score"]) == ("10*****123", "grüße", 0)
    assert "port" not in shown
    assert report["redacted.user.hash"] == report["redacted.port.drop"] == report["forwarded"] == 1


def test_a_short_value_is_masked_whole() -> None:
    """A mask never shows a value that has no more characters than it would leave."""
    left, _ = through("dataguard_redact", config_of(RULES), [_json(ip="12345")])
    assert json.loads(left[0] or b"")["ip"] == "*****"


@pytest.mark.parametrize(
    ("payload", "counter"),
    [
        (b"not json", "decode_errors"),
        (_json()[:-1], "decode_errors"),
        (_json() + b"{}", "decode_errors"),
        (b'{"type":"login","version":3,"user":"a","us\\u0065r":"b"}', "decode_errors"),
        (b'{"type":"login","version":3,"user":"\xff"}', "decode_errors"),
        (b'{"type":"login","version":3,"user":"\\ud800"}', "decode_errors"),
        (b'{"type":"login","version":03,"user":"a"}', "decode_errors"),
        (b"[" * 200, "decode_errors"),
        (_json(user=1), "rejected"),
        (_json(user=None), "rejected"),
        (_json(surprise=1), "rejected"),
        (b'{"type":"login","version":3}', "rejected"),
        (_json(type="logout"), "schema_missing"),
        (_json(type=7), "schema_missing"),
        (b'{"version":3}', "schema_missing"),
        (_json(version=1), "schema_incompatible"),
        (_json(version=4), "schema_incompatible"),
        (_json(version="3"), "schema_incompatible"),
    ],
)
def test_a_bad_message_fails_the_stage_and_is_counted(payload: bytes, counter: str) -> None:
    """By default whatever does not fit stops the stage at that message, counted by its cause."""
    handle = open_stage("dataguard_check", {})
    state = bytearray(STATE_BYTES)
    with pytest.raises(StageError) as raised:
        Bench([_json(), payload], SLOT_BYTES, state).process(handle.address)
    assert raised.value.details["index"] == "1"
    report = _report(state)
    assert (report["rejected"], report[counter], report["dropped"]) == (1, 1, 0)
    handle.close()


def _report(state: bytearray) -> dict[str, int]:
    from byteord.regions.report import read_report
    from byteord.stages.guard.report import COUNTERS

    return read_report(bytes(state), COUNTERS)


def test_drop_passes_on_the_good_ones_but_never_an_unknown_schema() -> None:
    """`on_reject = drop` drops what does not decode or fit; a missing schema stays a failure."""
    config = {"on_reject": "drop"}
    left, report = through("dataguard_check", config, [_json(), b"{", _json(user=1), _json()])
    assert [each is None for each in left] == [False, True, True, False]
    assert report["seen"] == 4
    assert (report["accepted"], report["rejected"], report["decode_errors"]) == (2, 2, 1)
    assert (report["forwarded"], report["dropped"]) == (2, 2)
    with pytest.raises(StageError, match="no schema"):
        through("dataguard_check", config, [_json(type="other")])


def test_fields_that_a_schema_lets_through_are_redacted_by_name() -> None:
    """A rule reaches a field of its name also where the schema does not declare that field."""
    payload = b'{"type":"open","version":1,"note":"abcdefgh","extra":{"a":[1,"x"]}}'
    left, _ = through("dataguard_redact", config_of(["note:truncate=2"]), [payload])
    assert json.loads(left[0] or b"") == {**json.loads(payload), "note": "ab"}


def test_nested_values_are_hashed_whole_and_never_masked() -> None:
    """A hash covers a nested value; a mask that would show part of one fails the message."""
    payload = b'{"type":"open","version":1,"user":{"a": 1}}'
    left, _ = through("dataguard_redact", config_of(["user:hash"]), [payload])
    digest = hmac.new(KEY, b'{"a": 1}', hashlib.sha256).hexdigest()
    assert json.loads(left[0] or b"")["user"] == digest
    with pytest.raises(StageError, match="cannot be applied"):
        through("dataguard_redact", config_of(["user:mask=1:1:*"]), [payload])


def test_messagepack_gives_the_same_as_json() -> None:
    """Both formats have the same rules, the same hashes and the same report."""
    message = {**LOGIN, "note": "x" * 300, "port": -7, "score": 2.5, "tags": [1, {"a": None}]}
    packed, first = through(
        "dataguard_fused", config_of(RULES, format="msgpack"), [msgspec.msgpack.encode(message)]
    )
    texts, second = through("dataguard_fused", config_of(RULES), [json.dumps(message).encode()])
    assert msgspec.msgpack.decode(packed[0] or b"") == json.loads(texts[0] or b"")
    assert first == second


def test_fixed_rows_keep_their_length() -> None:
    """Rows in schema order are redacted in place: texts padded, dropped fields blank."""
    row = struct.pack("<64s16sid?32s3s", b"bob", b"10.0.0.123", 22, 1.5, True, b"hello world", b"")
    config = config_of(RULES, format="fixed", message_type="login", version=3)
    left, report = through("dataguard_fused", config, [row])
    user, ip, port, score, ok, note, _ = struct.unpack("<64s16sid?32s3s", left[0] or b"")
    assert user.decode() == hmac.new(KEY, b"bob", hashlib.sha256).hexdigest()
    assert (ip.rstrip(b"\0"), note.rstrip(b"\0")) == (b"10*****123", b"hello")
    assert (port, score, ok, report["accepted"]) == (0, 0.0, True, 1)
    with pytest.raises(StageError, match="not one well-formed"):
        through("dataguard_fused", config, [row[:-1]])


def test_fused_does_what_check_then_redact_does() -> None:
    """One stage for both gives the same bytes and drops the same messages."""
    payloads = [_json(port=n, note="n" * n) for n in range(40)] + [b"x", _json(surprise=7)]
    checked, _ = through("dataguard_check", {"on_reject": "drop"}, payloads)
    config = config_of(RULES, on_reject="drop")
    redacted, _ = through("dataguard_redact", config, checked)
    fused, _ = through("dataguard_fused", config, payloads)
    assert fused == redacted


def test_fused_is_faster_than_the_two_in_a_row() -> None:
    """Reading each message once takes clearly less time than reading it twice."""
    payloads = [_json(note="some words of a log line", port=n) for n in range(256)]
    rules = config_of(["ip:mask=2:3:*", "note:truncate=8", "port:drop"])
    handles = [open_stage(name, rules if "check" not in name else {}) for name in STAGES]
    benches = [Bench(list(payloads), SLOT_BYTES, bytearray(STATE_BYTES)) for _ in handles]
    ratios = []
    for _ in range(15):
        check, redact, fused = (
            bench.measure(handle.address, 4) for bench, handle in zip(benches, handles, strict=True)
        )
        ratios.append(fused / (check + redact))
    assert sorted(ratios)[7] < 0.85, ratios
    for handle in handles:
        handle.close()


@pytest.mark.parametrize(
    "text",
    ["user", "user:", ":drop", "user:drop=1", "user:hash=1", "user:mask=1:2", "user:mask=1:2:xy",
     "user:mask=-1:2:x", "user:truncate=", "user:truncate=99999", "user:erase", "u" * 65 + ":drop"],
)  # fmt: skip
def test_a_text_that_is_no_rule_is_refused(text: str) -> None:
    """Only the five forms are rules."""
    assert parse_rule(text) is None
    found = CATALOGUE.check("dataguard_redact", {"rules.0": text}, 240)
    assert [(each.key, each.code) for each in found] == [("rules.0", "STAGE_CONFIG_TYPE")]


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"schemas.0": "nothing"}, "SCHEMA_MISSING"),
        ({"schemas.0": "login>=4"}, "SCHEMA_OLD"),
        ({"rules.0": "usr:hash"}, "SCHEMA_INCOMPATIBLE"),
        ({"rules.0": "port:replace_with=none"}, "SCHEMA_INCOMPATIBLE"),
        ({"rules.0": "tags:mask=1:1:*"}, "SCHEMA_INCOMPATIBLE"),
        ({"format": "fixed", "message_type": "login", "version": 9}, "SCHEMA_MISSING"),
        ({"format": "fixed", "message_type": "open", "version": 1}, "SCHEMA_INCOMPATIBLE"),
        (
            {"format": "fixed", "message_type": "login", "version": 3, "rules.0": "ip:hash",
             "schemas.0": "login"}, ""
        ),
        (
            {"format": "fixed", "message_type": "login", "version": 3, "rules.0": "port:hash"},
            "SCHEMA_INCOMPATIBLE",
        ),
    ],
)  # fmt: skip
def test_a_schema_that_does_not_serve_is_refused_before_anything_runs(
    config: dict[str, Any], code: str
) -> None:
    """Missing, old and incompatible schemas are findings with a code of their own."""
    _, problems = bind(config, registry(), has_key=True, payload_max=1008)
    assert [each.code for each in problems] == ([f"STAGE_CONFIG_{code}"] if code else [])


def test_hash_needs_a_key() -> None:
    """Without a key of the deployment there is no hash."""
    _, problems = bind(config_of(["user:hash"]), registry(), has_key=False, payload_max=240)
    assert [each.code for each in problems] == ["STAGE_CONFIG_KEY"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schemas = []", "length >= 1"),
        ("[[schemas]]\nid='a'\nversion=1\nfields=[{name='x',typ='any'}]", "unknown field"),
        ("[[schemas]]\nid='a'\nversion=1\nminimum=2\nfields=[{name='x'}]", "above version"),
        ("[[schemas]]\nid='a'\nversion=1\nfields=[{name='x'},{name='x'}]", "stands twice"),
        ("[[schemas]]\nid='a'\nversion=1\nfields=[{name='x',type='integer',bytes=3}]", "wanted 1"),
        (
            "schemas = [{id='a', version=2, message_type='t', fields=[{name='x'}]}, "  # noqa: ISC004
            "{id='b', version=3, minimum=1, message_type='t', fields=[{name='x'}]}]",
            "overlap",
        ),
    ],
)
def test_a_wrong_schema_file_says_what_is_wrong(text: str, words: str) -> None:
    """A registry is read strictly: no typing error makes a schema looser."""
    with pytest.raises(InvalidDocumentError, match=words):
        parse_registry([("s.toml", text.encode())])


def test_a_redacted_message_that_outgrows_its_slot_is_rejected() -> None:
    """What does not fit any more is not cut: it is refused like any other bad message."""
    config = config_of(["user:hash"], on_reject="drop")
    schemas, _ = bind(config, registry(), has_key=True, payload_max=64)
    from byteord._cext.stages import open_builtin
    from byteord.stages.guard.bind import native_config

    handle = open_builtin("dataguard_redact", native_config(config, schemas, KEY), 64)
    payload = b'{"type":"login","version":3,"user":"a"}'
    assert drive(handle.address, [payload], 80, bytearray(STATE_BYTES)) == [None]
    handle.close()
