"""Key sets: the document, and the ring that never goes back."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from byteor.trust.key_set import KeySet, parse_key_set, render_key_set
from byteor.trust.strict import TrustError
from byteord.policy.key_ring import KeyRing
from tests.support.trust import DAY, NOW, key_set, signer

ALICE, BOB = signer("alice"), signer("bob")


def reason(make: Any) -> str:
    """Return why something is refused."""
    with pytest.raises(TrustError) as caught:
        make()
    return caught.value.reason


def test_a_key_set_is_read_as_it_was_written() -> None:
    """Keys, their validity, revocations and the version survive."""
    made = key_set(ALICE.key(), BOB.key(revoked_at=NOW), version=7, revoked=("chg-1",))
    again = parse_key_set(render_key_set(made))
    assert again == made
    assert again.keys[BOB.kid].revoked_at == NOW
    assert parse_key_set(render_key_set(KeySet(1, {}, frozenset()))).keys == {}


ROW = json.loads(render_key_set(key_set(ALICE.key())))["keys"][0]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"v":1}',
        b'{"v":1,"v":1,"version":1,"keys":[],"revoked_approvals":[]}',
        b'{"v":2,"version":1,"keys":[],"revoked_approvals":[]}',
        b'{"v":1,"version":0,"keys":[],"revoked_approvals":[]}',
        b'{"v":1,"version":1,"keys":[],"revoked_approvals":[],"more":1}',
        b" " * (300 << 10),
        *(
            json.dumps({"v": 1, "version": 1, "keys": rows, "revoked_approvals": []}).encode()
            for rows in (
                [ROW, ROW],
                [ROW, {**ROW, "kid": "other"}],
                [{**ROW, "public_key": "AAAA"}],
                [{**ROW, "public_key": "A===="}],
                [{**ROW, "not_after": ROW["not_before"]}],
                [{**ROW, "owner": ""}],
                [{**ROW, "surprise": 1}],
                [{name: ROW[name] for name in ROW if name != "owner"}],
            )
        ),
    ],
)
def test_anything_else_is_refused(document: bytes) -> None:
    """Strict: twice, missing, unknown, malformed, empty validity, too large."""
    assert reason(lambda: parse_key_set(document)) == "KEY_SET_MALFORMED"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Provide the path of a key set and of the ring's memory."""
    return tmp_path / "keys.json", tmp_path / "memory.json"


def put(path: Path, made: KeySet) -> None:
    """Write a key set where only its owner may write."""
    path.write_bytes(render_key_set(made))
    path.chmod(0o640)


def test_the_ring_follows_the_file_forward_only(files: tuple[Path, Path]) -> None:
    """A higher version is taken at once; a lower one, or another of the same, also after a restart.

    The set that was in force does not stay so when its file is replaced by an older one.
    """
    path, memory = files
    ring = KeyRing(str(path), str(memory))
    assert reason(ring.current) == "KEY_SET_MISSING"
    put(path, key_set(ALICE.key(), version=3))
    assert set(ring.current().keys) == {ALICE.kid}
    put(path, key_set(ALICE.key(), BOB.key(), version=4))
    assert set(ring.current().keys) == {ALICE.kid, BOB.kid}
    put(path, key_set(ALICE.key(), version=3))
    assert reason(ring.current) == "KEY_SET_ROLLED_BACK"
    again = KeyRing(str(path), str(memory))
    assert reason(again.current) == "KEY_SET_ROLLED_BACK"
    put(path, key_set(BOB.key(), version=4))
    assert reason(again.current) == "KEY_SET_ROLLED_BACK"
    put(path, key_set(BOB.key(), version=5))
    assert again.current().version == 5


def test_the_ring_takes_no_file_that_others_can_write(files: tuple[Path, Path]) -> None:
    """Group or world writable, malformed, or none configured: each by its own reason."""
    path, memory = files
    put(path, key_set(ALICE.key()))
    ring = KeyRing(str(path), str(memory))
    path.chmod(0o660)
    assert reason(ring.current) == "KEY_SET_UNSAFE"
    path.write_bytes(b"{}")
    path.chmod(0o600)
    assert reason(ring.current) == "KEY_SET_MALFORMED"
    assert reason(KeyRing("", str(memory)).current) == "KEY_SET_MISSING"
    os.unlink(path)
    assert reason(ring.current) == "KEY_SET_MISSING"


def test_rotation_overlaps() -> None:
    """Two keys of one person may be active at once, each within its own validity."""
    fresh = replace(signer("alice"), owner="alice")
    made = key_set(ALICE.key(), fresh.key(not_before=NOW, not_after=NOW + 2 * DAY), version=2)
    assert {key.owner for key in made.keys.values()} == {"alice"}
