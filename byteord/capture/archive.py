"""A bundle as one file: a tar whose bytes depend on nothing but its content.

Owns order, modes and times inside the archive, and that it appears whole or not at all. Contents go
through in pieces, so that its size is no matter of memory; the manifest comes last, since it tells
the digests of what went before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

from byteord.capture.entries import BundleFile, Entry

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Row:
    """One file as the manifest lists it."""

    name: str
    size: int
    sha256: str
    sensitivity: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A finished archive with what is in it, the manifest last."""

    path: str
    size: int
    sha256: str
    rows: tuple[Row, ...]
    lost: dict[str, str]
    """What was to be in it and went away before it could be read, with the reason."""


Manifest = Callable[[list[Row], dict[str, str]], BundleFile]


def write_archive(path: str, entries: Iterable[Entry], manifest: Manifest) -> Archive:
    """Write `entries` in their order, then what `manifest` makes of their rows and what was lost.

    Raises OSError, and then nothing is left. The archive is synced before it gets its name.
    """
    directory = os.path.dirname(path)
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            tar = _Tar(file)
            for each in entries:
                tar.add(each)
            tar.add(manifest(list(tar.rows), dict(tar.lost)))
            tar.end()
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return Archive(path, tar.size, tar.digest.hexdigest(), tuple(tar.rows), tar.lost)


class _Tar:
    """A tar under way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()
        self.rows: list[Row] = []
        self.lost: dict[str, str] = {}

    def add(self, entry: Entry) -> None:
        """Add a file; one that cannot be had any more is noted as lost."""
        pieces = entry.pieces()
        try:
            header, piece = _header(entry), next(pieces, b"")
        except ValueError:
            self.lost[entry.name] = "its name is too long for an archive"
            return
        except OSError as error:
            self.lost[entry.name] = f"gone while the bundle was made: {error.strerror}"
            return
        self._put(header)
        digest, written = hashlib.sha256(), 0
        while piece:
            digest.update(piece)
            written += len(piece)
            self._put(piece)
            piece = next(pieces, b"")
        if written != entry.size:
            raise OSError(0, f"gave {written:,} bytes; wanted {entry.size:,}", entry.name)
        self._put(bytes(-written % _BLOCK))
        self.rows.append(Row(entry.name, entry.size, digest.hexdigest(), entry.sensitivity))

    def end(self) -> None:
        """Write the end mark."""
        self._put(bytes(2 * _BLOCK))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)


def _header(entry: Entry) -> bytes:
    member = tarfile.TarInfo(entry.name)
    member.size, member.mode, member.mtime = entry.size, 0o600, 0
    return member.tobuf(tarfile.USTAR_FORMAT)
