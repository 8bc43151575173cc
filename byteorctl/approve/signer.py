"""Who signs: a key file, or a program of the signer's own that has the key (an agent, a token).

Such a program is run without a shell, gets the bytes to sign on its standard input, and prints the
64 bytes of the Ed25519 signature, raw or in base64. What it prints is checked against the public
key before it is used.
"""

from __future__ import annotations

import shlex
import subprocess

from byteor.trust import keys
from byteor.trust.approval import Signature
from byteor.trust.strict import TrustError, decode_base64
from byteorctl.approve.files import read_file, trusted
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit

SIGNER_TIMEOUT_S = 120.0


def sign(
    message: bytes, *, key: str | None, signer: str | None, public_key: str | None, kid: str | None
) -> Signature:
    """Return a signature that holds under the signer's public key."""
    with trusted(Exit.USAGE):
        if key is not None:
            private = read_file("private key", key)
            public, value = keys.public_of(private), keys.sign(private, message)
        else:
            public = keys.read_public(read_file("public key", str(public_key)))
            value = _external(str(signer), message)
    if not keys.verify(public, value, message):
        raise CliError(
            f"signer {signer}: its answer is no signature of {public_key} over these bytes; "
            "wanted the Ed25519 signature over what it gets on standard input",
            Exit.DENIED,
        )
    return Signature(kid or keys.key_id(public), value)


def _external(command: str, message: bytes) -> bytes:
    try:
        done = subprocess.run(
            shlex.split(command),
            input=message,
            capture_output=True,
            timeout=SIGNER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise CliError(f"signer {command}: {error}", Exit.UNAVAILABLE) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-400:]
        raise CliError(f"signer {command}: exit {done.returncode}: {said}", Exit.DENIED)
    if len(done.stdout) == keys.SIGNATURE_BYTES:
        return done.stdout
    try:
        text = done.stdout.decode("ascii", "replace").strip()
        return decode_base64(text, "its answer", "SIGNER_ANSWER")
    except TrustError as error:
        raise CliError(f"signer {command}: {error.message}", Exit.DATA) from error
