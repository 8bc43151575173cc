"""The daemon's key set: read from the file that its own configuration names, never back a version.

The highest version seen, with its digest, is kept on the host: an older set, or another one of the
same version, is refused even after a restart. Every use looks whether the file has changed.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress

from byteor.trust.key_set import KEY_SET_BYTES_MAX, KeySet, parse_key_set
from byteor.trust.strict import TrustError
from byteord.policy.files import replace_synced


class KeyRing:
    """The key set in force."""

    def __init__(self, path: str, memory: str) -> None:
        """`path`: the key set, empty for none; `memory`: file of the highest version seen."""
        self._path, self._memory = path, memory
        self._seen: tuple[int, ...] = ()
        self._set: KeySet | None = None

    def current(self) -> KeySet:
        """Return the key set as it is now.

        Raises TrustError: KEY_SET_MISSING, KEY_SET_UNSAFE, KEY_SET_MALFORMED, KEY_SET_ROLLED_BACK.
        """
        if not self._path:
            raise TrustError(
                "KEY_SET_MISSING",
                "this daemon trusts no keys: set approvals.key_set in its configuration",
            )
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TrustError(
                "KEY_SET_MISSING", f"key set {self._path}: {error.strerror}"
            ) from error
        with open(descriptor, "rb") as file:
            info = os.fstat(file.fileno())
            seen = (info.st_ino, info.st_mtime_ns, info.st_size, info.st_ctime_ns)
            if self._set is not None and seen == self._seen:
                return self._set
            self._check_safe(info)
            key_set = parse_key_set(file.read(KEY_SET_BYTES_MAX + 1))
        self._check_version(key_set)
        self._set, self._seen = key_set, seen
        return key_set

    def _check_safe(self, info: os.stat_result) -> None:
        if info.st_uid not in (0, os.geteuid()) or info.st_mode & 0o022:
            raise TrustError(
                "KEY_SET_UNSAFE",
                f"key set {self._path}: others may write it (mode "
                f"{stat.S_IMODE(info.st_mode):04o}, uid {info.st_uid}); wanted root or the "
                "daemon's user alone",
            )

    def _check_version(self, key_set: KeySet) -> None:
        version, sha256 = 0, ""
        with suppress(FileNotFoundError):
            with open(self._memory, encoding="utf-8") as file:
                raw = json.load(file)
            version, sha256 = int(raw["version"]), str(raw["sha256"])
        if key_set.version < version or (key_set.version == version and key_set.sha256 != sha256):
            raise TrustError(
                "KEY_SET_ROLLED_BACK",
                f"key set {self._path}: version {key_set.version}; version {version} with other "
                "contents was in force here before: raise its version with each change",
            )
        if key_set.version > version:
            text = json.dumps({"version": key_set.version, "sha256": key_set.sha256})
            replace_synced(self._memory, text.encode())
