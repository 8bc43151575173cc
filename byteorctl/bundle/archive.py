"""Reading a bundle that somebody sent: a directory, a tar or a compressed tar, trusted in nothing.

Owns the bounds: names, links, number and size of files, and how far compressed bytes may grow. A
bundle goes through in pieces: captures and code are digested and given to whoever asked for them,
only the small files for people are held.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import unreadable

FILES_MAX = 20_000
FILE_BYTES_MAX = 16 << 20
"""Of a file for people."""
HELD_BYTES_MAX = 64 << 20
"""Of all of them together."""
BULK_BYTES_MAX = 4 << 30
"""Of a file of the capture or of code."""
BUNDLE_BYTES_MAX = 8 << 30
BULK = ("capture", "code")
"""Directories of a bundle; everything else lies at its top."""
HELD = ("capture/capture.json", "capture/slice.json")
"""Files for people that lie among the others."""
DEPTH_MAX = 32
PLAIN_BYTES_FREE = 128 << 20
"""Of decompressed bytes that are not asked how many they were before."""
RATIO_MAX = 500
"""How far compressed bytes may grow beyond that."""
_GZIP_MAGIC = b"\x1f\x8b"
_READ_BYTES = 1 << 20
_BLOCK = 512
_NAME_BYTES_MAX = 255


@dataclass(frozen=True, slots=True)
class Digest:
    """Size and SHA-256, hex, of a file as it was read."""

    size: int
    sha256: str


@dataclass(slots=True)
class Opened:
    """A bundle that was read through."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Contents of the files for people, by name."""
    digests: dict[str, Digest] = field(default_factory=dict)
    """Of every file."""
    directories: set[str] = field(default_factory=set)
    total: int = 0


Sink = Callable[[str, Iterator[bytes]], None]
"""Takes every file as it is read; must take all its pieces."""


def read_bundle(path: str, sink: Sink | None = None) -> Opened:
    """Read a bundle through; give every file to `sink`.

    Raises CliError: 66 when it cannot be read, 65 when it is not what a bundle must be.
    """
    opened = Opened()
    try:
        if os.path.isdir(path):
            _directory(path, opened, sink)
            return opened
        with open(path, "rb") as file:
            head = file.read(len(_GZIP_MAGIC))
            file.seek(0)
            if head == _GZIP_MAGIC:
                with gzip.GzipFile(fileobj=file) as plain:
                    _tar(path, _Bounded(plain, file), opened, sink)
            else:
                _tar(path, _Bounded(file), opened, sink)
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError) as error:
        raise _bad(path, f"{type(error).__name__}: {error}", "a whole tar or tar.gz") from error
    except OSError as error:
        raise unreadable("bundle", path, error) from error
    return opened


class _Bounded:
    """Bytes of an archive, decompressed where need be, up to the bound."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, packed: IO[bytes] | None = None) -> None:
        self._file = file
        self._packed = packed
        self._taken = 0

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes."""
        data = self._file.read(size)
        self._taken += len(data)
        if self._taken > BUNDLE_BYTES_MAX:
            raise tarfile.ReadError(f"it grows beyond {BUNDLE_BYTES_MAX:,} bytes")
        if self._taken > PLAIN_BYTES_FREE and self._taken > RATIO_MAX * self._packed_bytes():
            raise tarfile.ReadError(f"it grows to more than {RATIO_MAX} times its size")
        return data

    def _packed_bytes(self) -> int:
        return self._taken if self._packed is None else self._packed.tell()

    def exactly(self, size: int) -> bytes:
        """Return that many bytes, fewer only at the end."""
        data = self.read(size)
        while len(data) < size:
            more = self.read(size - len(data))
            if not more:
                break
            data += more
        return data


def _tar(path: str, source: _Bounded, opened: Opened, sink: Sink | None) -> None:
    """Read header by header: what is no plain file of a plain name ends the reading."""
    while True:
        block = source.exactly(_BLOCK)
        if len(block) < _BLOCK:
            raise _bad(path, "an archive without an end: it was cut short", "a whole archive")
        if not any(block):
            break
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise _bad(path, f"{member.name!r}, which is no regular file", "files alone")
        _check(path, member.name, member.size, opened)
        _take(path, member.name, _member_pieces(path, source, member), opened, sink)
        if any(source.exactly(-member.size % _BLOCK)):
            raise _bad(path, f"bytes behind {member.name}", "zeros")
    while trailing := source.read(_READ_BYTES):  # to the end: a checksum may stand behind it
        if any(trailing):
            raise _bad(path, "bytes behind the end of the archive", "none")
    if not opened.digests:
        raise _bad(path, "an archive without files", "a bundle")


def _member_pieces(path: str, source: _Bounded, member: tarfile.TarInfo) -> Iterator[bytes]:
    left = member.size
    while left:
        piece = source.read(min(left, _READ_BYTES))
        if not piece:
            raise _bad(
                path, f"{member.name} cut short: {left:,} bytes are missing", "a whole archive"
            )
        left -= len(piece)
        yield piece


def _take(path: str, name: str, pieces: Iterator[bytes], opened: Opened, sink: Sink | None) -> None:
    digest, held, size = hashlib.sha256(), io.BytesIO(), 0
    keeps = "/" not in name or name in HELD

    def counted() -> Iterator[bytes]:
        nonlocal size
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            if keeps:
                held.write(piece)
            yield piece

    flow = counted()
    if sink is not None:
        sink(name, flow)
    for _ in flow:
        pass
    opened.digests[name] = Digest(size, digest.hexdigest())
    if keeps:
        opened.files[name] = held.getvalue()
        if sum(map(len, opened.files.values())) > HELD_BYTES_MAX:
            raise _bad(path, f"more than {HELD_BYTES_MAX:,} bytes beside captures", "a bundle")


def _directory(path: str, opened: Opened, sink: Sink | None) -> None:
    for name in sorted(_walk(path, "", 0)):
        where = os.path.join(path, name)
        descriptor = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _bad(path, f"{name!r}, which is no regular file", "files alone")
            _check(path, name, status.st_size, opened)
            pieces = iter(lambda: file.read(_READ_BYTES), b"")
            _take(path, name, pieces, opened, sink)


def _walk(top: str, beneath: str, depth: int) -> Iterator[str]:
    with os.scandir(os.path.join(top, beneath)) as entries:
        for entry in entries:
            name = f"{beneath}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if depth >= DEPTH_MAX:
                    raise _bad(top, f"{name!r}, too deep", f"at most {DEPTH_MAX} directories")
                yield from _walk(top, f"{name}/", depth + 1)
            elif entry.is_file(follow_symlinks=False):
                yield name
            else:
                raise _bad(top, f"{name!r}, which is no regular file", "files alone")


def _check(path: str, name: str, size: int, opened: Opened) -> None:
    parts = name.split("/")
    plain = all(map(_is_plain, parts)) and len(parts) <= DEPTH_MAX and not name.startswith(".")
    if not plain or (len(parts) > 1 and parts[0] not in BULK):
        raise _bad(path, f"a file named {name!r}", "a plain name, or one beneath capture/ or code/")
    around = {"/".join(parts[:end]) for end in range(1, len(parts))}
    if name in opened.digests or name in opened.directories or around & opened.digests.keys():
        raise _bad(path, f"{name} twice, or as a file and a directory", "each name once")
    opened.directories |= around
    most = FILE_BYTES_MAX if len(parts) == 1 or name in HELD else BULK_BYTES_MAX
    if not 0 <= size <= most:
        raise _bad(path, f"{name} of {size:,} bytes", f"at most {most:,}")
    opened.total += size
    if opened.total > BUNDLE_BYTES_MAX:
        raise _bad(path, f"more than {BUNDLE_BYTES_MAX:,} bytes", "a bundle's size")
    if len(opened.digests) >= FILES_MAX:
        raise _bad(path, f"more than {FILES_MAX:,} files", "a bundle")


def _is_plain(part: str) -> bool:
    """Tell whether a part of a name leads nowhere else, on a terminal neither."""
    fits = 0 < len(os.fsencode(part)) <= _NAME_BYTES_MAX
    return fits and part.isprintable() and "\\" not in part and part not in (".", "..")


def unpack(path: str, directory: str) -> Opened:
    """Write a bundle's files beneath a directory, which must be empty; nothing else is touched."""

    def write(name: str, pieces: Iterator[bytes]) -> None:
        where = os.path.join(directory, name)
        os.makedirs(os.path.dirname(where), mode=0o700, exist_ok=True)
        with open(where, "xb") as file:
            file.writelines(pieces)

    return read_bundle(path, write)


def _bad(path: str, seen: str, wanted: str) -> CliError:
    return CliError(f"bundle {path}: seen {seen}; wanted {wanted}: get it again", Exit.DATA)
