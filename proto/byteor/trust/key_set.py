"""Key sets: whose signatures count, since when, until when.

A JSON document with a version that only grows. Several keys may be active at once (rotation); each
belongs to a person (`owner`), so that two keys of one person are one signer, and lists the
principals as which that person calls, so that nobody approves what they asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from byteor.trust.keys import KID, PUBLIC_BYTES
from byteor.trust.strict import (
    Reader,
    decode_base64,
    dumps,
    encode_base64,
    loads,
    time_text,
)

REASON = "KEY_SET_MALFORMED"
KEYS_MAX = 256
KEY_SET_BYTES_MAX = 256 << 10
OWNER = r"[^\s].{0,126}[^\s]|[^\s]"
PRINCIPAL = r"[\x21-\x7e]{1,256}"
APPROVAL_ID = r"[A-Za-z0-9._:-]{1,128}"
VERSION_MAX = 1 << 53


@dataclass(frozen=True, slots=True)
class Key:
    """One key. Times are seconds since the epoch; `revoked_at` 0: it is not."""

    kid: str
    public: bytes
    owner: str
    principals: tuple[str, ...]
    not_before: int
    not_after: int
    revoked_at: int = 0

    def names(self, principal: str) -> bool:
        """Tell whether a principal is the person whose key this is."""
        return principal == self.owner or principal in self.principals


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by id, and approvals that were revoked; `sha256` is of the bytes that were read."""

    version: int
    keys: dict[str, Key]
    revoked_approvals: frozenset[str]
    sha256: str = ""


def parse_key_set(data: bytes) -> KeySet:
    """Return the key set in a document; raise TrustError(KEY_SET_MALFORMED) for anything else."""
    reader = Reader(loads(data, "key set", REASON, KEY_SET_BYTES_MAX), "key set", REASON)
    reader.integer("v", 1, 1)
    version = reader.integer("version", 1, VERSION_MAX)
    rows = reader.take("keys")
    if not isinstance(rows, list) or len(rows) > KEYS_MAX:
        reader.fail(f"keys is no list of at most {KEYS_MAX} keys")
    keys = [_key(row) for row in rows]
    by_id = {key.kid: key for key in keys}
    if len(by_id) != len(keys) or len({key.public for key in keys}) != len(keys):
        reader.fail("a key id or a public key stands twice")
    revoked = reader.texts("revoked_approvals", APPROVAL_ID, 1024)
    reader.end()
    return KeySet(version, by_id, frozenset(revoked), hashlib.sha256(data).hexdigest())


def _key(row: Any) -> Key:
    reader = Reader(row, "a key of the key set", REASON)
    kid = reader.text("kid", KID)
    public = decode_base64(reader.text("public_key"), f"public key {kid}", REASON)
    if len(public) != PUBLIC_BYTES:
        reader.fail(f"the public key {kid} has {len(public)} bytes; wanted {PUBLIC_BYTES}")
    key = Key(
        kid=kid,
        public=public,
        owner=reader.text("owner", OWNER),
        principals=reader.texts("principals", PRINCIPAL),
        not_before=reader.time("not_before"),
        not_after=reader.time("not_after"),
        revoked_at=reader.time("revoked_at", required=False),
    )
    reader.end()
    if key.not_after <= key.not_before:
        reader.fail(f"the key {kid} ends before it begins")
    return key


def render_key_set(key_set: KeySet) -> bytes:
    """Return the document of a key set, one line a key, for people and for `parse_key_set`."""
    rows = [dumps(_row(key)).decode() for key in key_set.keys.values()]
    keys = ",\n  ".join(rows)
    revoked = dumps(sorted(key_set.revoked_approvals)).decode()
    inner = f"\n  {keys}\n " if keys else ""
    return (
        f'{{"v":1,"version":{key_set.version},\n "keys":[{inner}],\n'
        f' "revoked_approvals":{revoked}}}\n'
    ).encode()


def _row(key: Key) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kid": key.kid,
        "public_key": encode_base64(key.public),
        "owner": key.owner,
        "principals": list(key.principals),
        "not_before": time_text(key.not_before),
        "not_after": time_text(key.not_after),
    }
    return {**row, "revoked_at": time_text(key.revoked_at)} if key.revoked_at else row
