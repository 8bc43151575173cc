"""The bundles that this daemon made: archives and, for the host alone, what their tokens stand for.

Owns the directory, how many are kept and how large they may be in all. Blocks; not for the event
loop. It must not know what is in a bundle.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from byteord.capture.archive import Archive, write_archive
from byteord.capture.files import BundleFile
from byteord.capture.redact import KEY_BYTES
from byteord.errors import InvalidArgumentError, NotFoundError, ResourceError

BUNDLES_MAX = 16
BUNDLE_BYTES_MAX = 1 << 30
_ID = re.compile(r"[0-9a-f-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that can be fetched."""

    id: str
    archive: Archive
    files: Sequence[BundleFile]


class BundleStore:
    """Bundles in one directory (0700), the oldest given up when there are too many."""

    def __init__(self, directory: str, *, bundles_max: int = BUNDLES_MAX) -> None:
        """Nothing is made before the first bundle."""
        self._directory = directory
        self._bundles_max = bundles_max

    @staticmethod
    def new_key() -> bytes:
        """Return the key of one bundle's tokens."""
        return secrets.token_bytes(KEY_BYTES)

    def add(
        self, bundle_id: str, files: Sequence[BundleFile], tokens: Callable[[], dict[str, str]]
    ) -> Bundle:
        """Write a bundle and its map; raises ResourceError when it is too large or does not fit."""
        wanted = sum(len(file.content) for file in files)
        if wanted > BUNDLE_BYTES_MAX:
            raise ResourceError(
                f"the bundle would have {wanted:,} bytes; wanted {BUNDLE_BYTES_MAX:,} at most",
                reason="BUNDLE_TOO_LARGE",
            )
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        self._make_room()
        try:
            archive = write_archive(self._path(bundle_id), files)
            self._keep_map(bundle_id, tokens())
        except OSError as error:
            raise ResourceError(
                f"{self._directory}: {error.strerror}; {wanted:,} bytes are wanted for the bundle",
                reason="BUNDLE_NOT_WRITTEN",
            ) from error
        return Bundle(bundle_id, archive, files)

    def path(self, bundle_id: str) -> str:
        """Return where a bundle's archive is; raises NotFoundError."""
        if not _ID.match(bundle_id):
            raise InvalidArgumentError(f"bundle: {bundle_id[:64]!r} is not the id of a bundle")
        path = self._path(bundle_id)
        if not os.path.exists(path):
            raise NotFoundError(
                f"the bundle {bundle_id} is not here; the last {self._bundles_max} are kept"
            )
        return path

    def _path(self, bundle_id: str) -> str:
        return os.path.join(self._directory, f"{bundle_id}.tar")

    def _keep_map(self, bundle_id: str, tokens: dict[str, str]) -> None:
        path = os.path.join(self._directory, f"{bundle_id}.map.json")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(tokens, file, indent=1, sort_keys=True)

    def _make_room(self) -> None:
        entries = [name for name in os.listdir(self._directory) if name.endswith(".tar")]
        entries.sort(key=lambda name: os.path.getmtime(os.path.join(self._directory, name)))
        for name in entries[: max(0, len(entries) - self._bundles_max + 1)]:
            for gone in (name, name.removesuffix(".tar") + ".map.json"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._directory, gone))
