"""The key with which this host signs its audit log: made once, read ever after."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from byteor.trust import keys
from byteor.trust.audit_log import PUBLIC_KEY
from byteord.errors import DeniedError
from byteord.policy.files import replace_synced, sync_directory, write_all

PRIVATE_KEY = "host.key"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A private key in memory, its public part, and its id."""

    private_pem: bytes
    public: bytes
    kid: str


def load_host_key(directory: str) -> HostKey:
    """Return the key in a directory; make it, with its public part beside it, if there is none.

    Raises DeniedError(HOST_KEY_UNSAFE) when others may read or replace it, OSError, TrustError.
    """
    path = os.path.join(directory, PRIVATE_KEY)
    with contextlib.suppress(FileExistsError):
        _make(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        info = os.fstat(file.fileno())
        if info.st_mode & 0o077 or info.st_uid not in (0, os.geteuid()):
            raise DeniedError(
                f"{path}: others may use it (mode {info.st_mode & 0o777:04o}, uid {info.st_uid}); "
                f"wanted mode 0600 and uid {os.geteuid()}",
                reason="HOST_KEY_UNSAFE",
            )
        private_pem = file.read(4096)
    public = keys.public_of(private_pem)
    shown = os.path.join(directory, PUBLIC_KEY)
    if not os.path.exists(shown):
        replace_synced(shown, keys.public_pem(public), mode=0o644)
    return HostKey(private_pem, public, keys.key_id(public))


def _make(path: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        write_all(descriptor, keys.new_private_key())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(os.path.dirname(path))
