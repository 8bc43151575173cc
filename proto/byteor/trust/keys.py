"""Ed25519 keys and signatures, by `cryptography`: PEM files, key ids, and what is signed (DSSE).

A signature never covers bare bytes: it covers their type too (the pre-authentication encoding of
DSSE, https://github.com/secure-systems-lab/dsse/blob/master/protocol.md), so that what was signed
as one kind of document cannot be shown as another. The dotted form of approvals is the exception:
its signature is over the payload bytes alone, as that format has it.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from byteor.trust.strict import TrustError

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
KID = r"[A-Za-z0-9._:-]{1,64}"


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what a signature over a payload of that type covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def key_id(public: bytes) -> str:
    """Return the id that a public key has unless somebody names it."""
    return f"ed25519:{hashlib.sha256(public).hexdigest()[:16]}"


def new_private_key() -> bytes:
    """Return a fresh private key as PEM (PKCS 8, not encrypted)."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def sign(private_pem: bytes, message: bytes) -> bytes:
    """Return the signature over a message; raise TrustError when the key is none."""
    return _private(private_pem).sign(message)


def public_of(private_pem: bytes) -> bytes:
    """Return the public key that belongs to a private one."""
    return _raw(_private(private_pem).public_key())


def public_pem(public: bytes) -> bytes:
    """Return a public key as PEM."""
    return Ed25519PublicKey.from_public_bytes(public).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_public(pem: bytes) -> bytes:
    """Return the public key in a PEM file."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise TrustError("KEY_MALFORMED", "the public key is no PEM of a public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise TrustError("KEY_MALFORMED", "the public key is not one of Ed25519")
    return _raw(key)


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature over a message is that key's."""
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _private(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise TrustError(
            "KEY_MALFORMED", "the private key is no PEM of an unencrypted private key"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError("KEY_MALFORMED", "the private key is not one of Ed25519")
    return key


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
