"""The bundles that this daemon made: archives and, for the host alone, what their tokens stand for.

Owns the directory, how many are kept and how large they may be in all: the oldest go first. Blocks;
not for the event loop. It must not know what is in a bundle.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from byteord.capture.archive import Archive, Manifest, write_archive
from byteord.capture.entries import Entry
from byteord.capture.redact import KEY_BYTES
from byteord.deployment.bundling import BundleLimits
from byteord.errors import InvalidArgumentError, NotFoundError, ResourceError

_ID = re.compile(r"[0-9a-f-]{1,64}\Z")
_ROOM_BYTES = 64 << 20
"""Left on the file system for everything else that the daemon must write."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One bundle of the store."""

    id: str
    run: str
    pipeline: str
    why: str
    created_unix_ns: int
    payload: bool
    """Whether it holds messages."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Label:
    """What is written beside a bundle."""

    id: str
    run: str
    pipeline: str
    why: str
    created_unix_ns: int
    payload: bool = False


class BundleStore:
    """Bundles in one directory (0700), the oldest given up when there are too many."""

    def __init__(self, directory: str, limits: BundleLimits | None = None) -> None:
        """Nothing is made before the first bundle."""
        self.directory = directory
        self.limits = limits or BundleLimits()
        self._lock = threading.Lock()

    @staticmethod
    def new_key() -> bytes:
        """Return the key of one bundle's tokens."""
        return secrets.token_bytes(KEY_BYTES)

    def add(
        self,
        label: Label,
        entries: Sequence[Entry],
        manifest: Manifest,
        tokens: Callable[[], dict[str, str]],
    ) -> Archive:
        """Write a bundle and its map; raises ResourceError when it is too large or does not fit."""
        wanted = sum(entry.size for entry in entries)
        self._check_size(wanted)
        with self._lock:
            try:
                os.makedirs(self.directory, mode=0o700, exist_ok=True)
                self._make_room(wanted)
                archive = write_archive(self._path(label.id, "tar"), entries, manifest)
                self._keep(label.id, "map.json", tokens())
                kept = Stored(**asdict(label), size=archive.size, sha256=archive.sha256)
                self._keep(label.id, "json", asdict(kept))
            except OSError as error:
                self._remove(label.id)
                raise ResourceError(
                    f"{self.directory}: {error.strerror or error}; {wanted:,} bytes are wanted for "
                    "the bundle",
                    reason="BUNDLE_NOT_WRITTEN",
                ) from error
        return archive

    def kept(self) -> list[Stored]:
        """Return what is here, newest first; what cannot be understood is not listed."""
        found = []
        for name in self._names(".json"):
            if not name.endswith(".map.json"):
                with contextlib.suppress(OSError, ValueError, TypeError):
                    found.append(self._stored(name.removesuffix(".json")))
        return sorted(found, key=lambda each: (each.created_unix_ns, each.id), reverse=True)

    def stored(self, bundle_id: str) -> Stored:
        """Return what is known of a bundle; raises NotFoundError."""
        self.path(bundle_id)
        try:
            return self._stored(bundle_id)
        except (OSError, ValueError, TypeError) as error:
            raise NotFoundError(
                f"the bundle {bundle_id} is not whole: what was written beside it is gone"
            ) from error

    def path(self, bundle_id: str) -> str:
        """Return where a bundle's archive is; raises NotFoundError."""
        if not _ID.match(bundle_id):
            raise InvalidArgumentError(f"bundle: {bundle_id[:64]!r} is not the id of a bundle")
        path = self._path(bundle_id, "tar")
        if not os.path.exists(path):
            raise NotFoundError(
                f"the bundle {bundle_id} is not here; the last {self.limits.count} are kept, "
                "and `byteorctl bundle list` names them"
            )
        return path

    def _check_size(self, wanted: int) -> None:
        most = min(self.limits.bundle_bytes, self.limits.total_bytes)
        if wanted > most:
            raise ResourceError(
                f"the bundle would have {wanted:,} bytes; wanted {most:,} at most: take less of "
                "the capture, for example --last 100000",
                reason="BUNDLE_TOO_LARGE",
            )

    def _stored(self, bundle_id: str) -> Stored:
        with open(self._path(bundle_id, "json"), encoding="utf-8") as file:
            said: dict[str, Any] = json.load(file)
        kept = Stored(**said)
        if kept.id != bundle_id or not os.path.exists(self._path(bundle_id, "tar")):
            raise ValueError(bundle_id)
        return kept

    def _path(self, bundle_id: str, suffix: str) -> str:
        return os.path.join(self.directory, f"{bundle_id}.{suffix}")

    def _names(self, suffix: str) -> list[str]:
        try:
            return [name for name in os.listdir(self.directory) if name.endswith(suffix)]
        except FileNotFoundError:
            return []

    def _keep(self, bundle_id: str, suffix: str, data: dict[str, Any]) -> None:
        """Write a file beside the archive, whole or not at all."""
        temporary = self._path(f".{bundle_id}", suffix)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, self._path(bundle_id, suffix))

    def _make_room(self, wanted: int) -> None:
        """Give up the oldest until a bundle of that size may be here, and fits on the disk."""
        for name in self._names(""):
            if name.startswith("."):  # of a daemon that died while it wrote
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.directory, name))
        ages = []
        for name in self._names(".tar"):
            status = os.stat(os.path.join(self.directory, name))
            ages.append((status.st_mtime_ns, name.removesuffix(".tar"), status.st_size))
        total, count = sum(size for _, _, size in ages), len(ages)
        for _, bundle_id, size in sorted(ages):
            if count < self.limits.count and total + wanted <= self.limits.total_bytes:
                break
            self._remove(bundle_id)
            total, count = total - size, count - 1
        info = os.statvfs(self.directory)
        free = info.f_bavail * info.f_frsize
        if free < wanted + _ROOM_BYTES:
            raise OSError(0, f"{free:,} bytes are free and {_ROOM_BYTES:,} must remain")

    def _remove(self, bundle_id: str) -> None:
        for suffix in ("json", "tar", "map.json"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(bundle_id, suffix))
