"""Data protection against a model in plain Python, and against bytes that are no messages."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.guard import RULES, config_of, redact_plainly, through

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
LOGINS = st.fixed_dictionaries(
    {"type": st.just("login"), "version": st.sampled_from([2, 3]), "user": TEXT},
    optional={
        "ip": TEXT | st.none(),
        "port": st.integers(-(2**53), 2**53),
        "score": st.integers(-(2**40), 2**40),
        "ok": st.booleans(),
        "note": TEXT,
        "tags": st.lists(JSON, max_size=3),
    },
)


@settings(max_examples=200, deadline=None)
@given(LOGINS, st.booleans())
def test_redaction_is_what_plain_python_makes_of_it(message: dict[str, Any], ascii_: bool) -> None:
    """For any message: the same fields, the same values, in JSON and in MessagePack."""
    text = json.dumps(message, ensure_ascii=ascii_).encode()
    wanted = json.loads(redact_plainly(dict(message), RULES))
    (left,), report = through("dataguard_fused", config_of(RULES), [text])
    assert json.loads(left or b"") == wanted
    assert report["accepted"] == 1
    packed = msgspec.msgpack.encode(message)
    (left,), _ = through("dataguard_fused", config_of(RULES, format="msgpack"), [packed])
    assert msgspec.msgpack.decode(left or b"") == wanted


@settings(max_examples=200, deadline=None)
@given(LOGINS, st.binary(max_size=12), st.data())
def test_damaged_messages_are_refused_or_still_whole(
    message: dict[str, Any], junk: bytes, data: st.DataObject
) -> None:
    """A damaged message is dropped, or is one that an independent reader takes as well."""
    whole = json.dumps(message).encode()
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(at, min(len(whole), at + 8)))
    damaged = whole[:at] + junk + whole[cut:]
    config = config_of(RULES, on_reject="drop", message_type="login", version=3, schemas=[])
    config.pop("schemas")
    (left,), _ = through("dataguard_redact", config, [damaged])
    if left is not None:
        assert isinstance(json.loads(damaged), dict)
        assert isinstance(json.loads(left), dict)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_no_bytes_trouble_the_messagepack_reader(payload: bytes) -> None:
    """Whatever arrives is dropped, or is a map for an independent reader too."""
    config = config_of(
        ["user:truncate=1"], format="msgpack", on_reject="drop", message_type="open", version=1
    )
    (left,), _ = through("dataguard_redact", config, [payload])
    if left is not None:
        assert isinstance(msgspec.msgpack.decode(left), dict)
