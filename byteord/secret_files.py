"""Secrets: files of the daemon's secrets directory, read where they are needed and nowhere else.

Owns the step from `secret:NAME` to bytes. Only a worker calls it. No message, log or plan may hold
what it returns.
"""

from __future__ import annotations

import os
import stat

from byteord.errors import DeniedError, NotFoundError
from byteord.spec.secrets import REFERENCE

SECRET_BYTES_MAX = 64 << 10
_PREFIX = "secret:"


def read_secret(reference: str, directory: str) -> bytes:
    """Return the content of a secret, without one newline at its end.

    Raises NotFoundError (SECRET_NOT_FOUND) or DeniedError (SECRET_EXPOSED: others may read it;
    SECRET_INVALID: empty, too long, not a regular file, not a reference).
    """
    if not REFERENCE.match(reference):
        raise _denied("SECRET_INVALID", "a secret reference", "secret:NAME", "correct the document")
    name = reference.removeprefix(_PREFIX)
    path = os.path.join(directory, name) if directory else ""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags)
    except OSError as error:
        where = path or "no directory: the daemon's configuration has no paths.secrets"
        raise NotFoundError(
            f"secret {name}: {error.strerror} ({where}); put it there as a file that the worker's "
            "user alone can read",
            reason="SECRET_NOT_FOUND",
            details={"secret": name},
        ) from None
    with open(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _denied("SECRET_INVALID", f"secret {name}", "a regular file", "replace it")
        if found.st_mode & 0o007:
            mode = f"secret {name}: mode {stat.S_IMODE(found.st_mode):04o}"
            raise _denied("SECRET_EXPOSED", mode, "no access for others", f"chmod o= {path}")
        content = file.read(SECRET_BYTES_MAX + 1) or b""
    content = content.removesuffix(b"\n")
    if not 0 < len(content) <= SECRET_BYTES_MAX:
        size = f"secret {name}: {len(content)} bytes"
        raise _denied("SECRET_INVALID", size, f"1 to {SECRET_BYTES_MAX}", "write the secret")
    return content


def _denied(reason: str, seen: str, wanted: str, fix: str) -> DeniedError:
    return DeniedError(f"{seen}; wanted {wanted}; {fix}", reason=reason)
