"""Sources of replays: what a client uploads, and where the captures of this daemon's own runs lie.

Owns the directory of uploads, its bounds, and which names files in it may have. It must not know
what a capture is made of.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from byteord._cext.stages import crc32c
from byteord.errors import DataError, InvalidArgumentError, NotFoundError, ResourceError

FILES_MAX = 100_000
UPLOAD_BYTES_MAX = 8 << 30
KEPT_S = 3600.0
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.#+-]{0,127}\Z")
_PARTS_MAX = 12


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file; `name` in the first of each."""

    name: str
    data: bytes
    crc32c: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A source that arrived."""

    id: str
    directory: str
    principal: str
    files: int
    bytes: int
    at: float


class ReplaySources:
    """The uploads of one daemon, each its sender's alone."""

    def __init__(self, directory: str, *, uploads_max: int) -> None:
        """Forget what an earlier daemon left there."""
        self._directory = directory
        self._uploads_max = uploads_max
        self._known: dict[str, Uploaded] = {}
        self._under_way = 0
        shutil.rmtree(directory, ignore_errors=True)

    async def take(self, principal: str, pieces: AsyncIterator[Piece]) -> Uploaded:
        """Keep what comes as files of a source.

        Raises InvalidArgumentError and DataError for names and bytes that cannot be, ResourceError
        when there is too much.
        """
        self._forget_old()
        if len(self._known) + self._under_way >= self._uploads_max:
            raise ResourceError(
                f"{self._uploads_max} sources are uploaded already; wanted fewer: replay them, or "
                "raise ceilings.uploads_max",
                reason="UPLOADS_MAX",
            )
        source_id = secrets.token_hex(16)
        place = os.path.join(self._directory, source_id)
        self._under_way += 1
        try:
            await asyncio.to_thread(os.makedirs, place, 0o700)
            files, size = await _Writer(place).take(pieces)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, place, True)
            raise
        finally:
            self._under_way -= 1
        made = Uploaded(source_id, place, principal, files, size, time.monotonic())
        self._known[source_id] = made
        return made

    def directory(self, source_id: str, principal: str) -> str:
        """Return where an upload lies; NotFoundError for one that is not there, or another's."""
        known = self._known.get(source_id)
        if known is None or known.principal != principal:
            raise NotFoundError(
                f"no uploaded source {source_id[:64]!r}; upload it again: it is kept for an hour",
                reason="NO_SOURCE",
            )
        return known.directory

    async def forget(self, source_id: str) -> None:
        """Remove an upload."""
        known = self._known.pop(source_id, None)
        if known is not None:
            await asyncio.to_thread(shutil.rmtree, known.directory, True)

    def _forget_old(self) -> None:
        horizon = time.monotonic() - KEPT_S
        for known in [each for each in self._known.values() if each.at < horizon]:
            del self._known[known.id]
            shutil.rmtree(known.directory, ignore_errors=True)


class _Writer:
    """Writes the files of one upload."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._seen: set[str] = set()
        self._file: int = -1
        self._size = 0

    async def take(self, pieces: AsyncIterator[Piece]) -> tuple[int, int]:
        try:
            async for piece in pieces:
                if crc32c(piece.data, 0) != piece.crc32c:
                    raise DataError("a piece of the source arrived damaged: send it again")
                self._size += len(piece.data)
                if self._size > UPLOAD_BYTES_MAX:
                    raise ResourceError(
                        f"the source has more than {UPLOAD_BYTES_MAX:,} bytes; replay it where it "
                        "lies, by the id of its run",
                        reason="SOURCE_TOO_LARGE",
                    )
                await asyncio.to_thread(self._write, piece)
        except OSError as error:
            raise ResourceError(
                f"uploads: {error.strerror}; make room in the daemon's state directory",
                reason="UPLOAD_NOT_WRITTEN",
            ) from error
        finally:
            self._close()
        return len(self._seen), self._size

    def _write(self, piece: Piece) -> None:
        if piece.name:
            self._close()
            self._file = self._open(piece.name)
        if self._file < 0:
            raise InvalidArgumentError("name: seen none in the first piece; wanted a file's name")
        view = memoryview(piece.data)
        while view:
            view = view[os.write(self._file, view) :]

    def _open(self, name: str) -> int:
        parts = name.split("/")
        if len(parts) > _PARTS_MAX or not all(_PART.match(part) for part in parts):
            raise InvalidArgumentError(
                f"name: seen {name[:120]!r}; wanted a path of plain names below the source",
                reason="SOURCE_NAME",
            )
        if name in self._seen or len(self._seen) >= FILES_MAX:
            raise InvalidArgumentError(
                f"name: seen {name[:120]!r} twice, or more than {FILES_MAX:,} files",
                reason="SOURCE_NAME",
            )
        self._seen.add(name)
        path = os.path.join(self._place, *parts)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
