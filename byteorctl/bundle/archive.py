"""Reading a bundle that somebody sent: a directory, a tar or a compressed tar, trusted in nothing.

Owns the bounds: names, links, number and size of files, and how far compressed bytes may grow. It
writes nothing.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator

from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import unreadable

FILES_MAX = 10_000
FILE_BYTES_MAX = 64 << 20
BUNDLE_BYTES_MAX = 2 << 30
_GZIP_MAGIC = b"\x1f\x8b"
_READ_BYTES = 1 << 20


def read_bundle(path: str) -> dict[str, bytes]:
    """Return the files of a bundle by name.

    Raises CliError: 66 when it cannot be read, 65 when it is not what a bundle must be.
    """
    try:
        if os.path.isdir(path):
            return dict(_directory(path))
        with open(path, "rb") as file:
            head = file.read(len(_GZIP_MAGIC))
            file.seek(0)
            if head != _GZIP_MAGIC:
                return dict(_tar(path, file))
            with gzip.GzipFile(fileobj=file) as plain:
                bounded = _Bounded(plain)
                files = dict(_tar(path, bounded))
                while bounded.read():  # to the end: the checksum stands behind everything
                    pass
                return files
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise _bad(path, f"{type(error).__name__}: {error}", "a whole tar or tar.gz") from error
    except OSError as error:
        raise unreadable("bundle", path, error) from error


class _Bounded(io.RawIOBase):
    """Decompressed bytes, up to the bound."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self._taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(_READ_BYTES if size < 0 else size)
        self._taken += len(data)
        if self._taken > BUNDLE_BYTES_MAX:
            raise tarfile.ReadError(f"it grows beyond {BUNDLE_BYTES_MAX:,} bytes")
        return data


def _tar(path: str, file: object) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    total = 0
    with tarfile.open(fileobj=file, mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            if not member.isreg():
                raise _bad(path, f"{member.name!r}, which is no regular file", "files alone")
            _check(path, member.name, member.size, seen)
            total += member.size
            if total > BUNDLE_BYTES_MAX:
                raise _bad(path, f"more than {BUNDLE_BYTES_MAX:,} bytes", "a bundle's size")
            content = tar.extractfile(member)
            data = content.read() if content is not None else b""
            if len(data) != member.size:
                raise _bad(path, f"{member.name} cut short", "a whole archive")
            yield member.name, data
    if not seen:
        raise _bad(path, "an archive without files", "a bundle")


def _directory(path: str) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for name in sorted(os.listdir(path)):
        where = os.path.join(path, name)
        status = os.lstat(where)
        if not stat.S_ISREG(status.st_mode):
            raise _bad(path, f"{name!r}, which is no regular file", "files alone")
        _check(path, name, status.st_size, seen)
        descriptor = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            yield name, file.read(FILE_BYTES_MAX)


def _check(path: str, name: str, size: int, seen: set[str]) -> None:
    plain = name and "/" not in name and name not in (".", "..") and name.isprintable()
    if not plain or name.startswith("."):
        raise _bad(path, f"a file named {name!r}", "names without directories")
    if name in seen:
        raise _bad(path, f"{name} twice", "each file once")
    if size > FILE_BYTES_MAX:
        raise _bad(path, f"{name} of {size:,} bytes", f"at most {FILE_BYTES_MAX:,}")
    seen.add(name)
    if len(seen) > FILES_MAX:
        raise _bad(path, f"more than {FILES_MAX:,} files", "a bundle")


def _bad(path: str, seen: str, wanted: str) -> CliError:
    return CliError(f"bundle {path}: seen {seen}; wanted {wanted}: get it again", Exit.DATA)
