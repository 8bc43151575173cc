"""A bundle as one file: a tar whose bytes depend on nothing but its content.

Owns order, modes and times inside the archive, and that it appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

from byteord.capture.files import BundleFile


@dataclass(frozen=True, slots=True)
class Archive:
    """A finished archive."""

    path: str
    size: int
    sha256: str


def write_archive(path: str, files: Iterable[BundleFile]) -> Archive:
    """Write `files` in their order; raises OSError, and then nothing is left.

    The archive is synced before it gets its name.
    """
    directory = os.path.dirname(path)
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for each in files:
                    tar.addfile(_member(each), io.BytesIO(each.content))
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Archive(path, os.path.getsize(path), digest)


def _member(file: BundleFile) -> tarfile.TarInfo:
    member = tarfile.TarInfo(file.name)
    member.size, member.mode, member.mtime = len(file.content), 0o600, 0
    return member
