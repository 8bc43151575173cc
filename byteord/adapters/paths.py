"""Opening host paths beneath allowed directories, without following links.

Each component is looked up in its parent's descriptor, so that nothing can be exchanged between a
check and an open. The allowed directories themselves are the administrator's words, and may be
reached through links.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from byteord.errors import AdapterError, ByteorError, DeniedError, NotFoundError, ResourceError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def beneath(path: str, dirs: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the allowed directory that `path` lies in and its components below.

    Raise DeniedError if there is none.
    """
    parts = PurePosixPath(path).parts
    if ".." in parts:
        raise DeniedError(
            f"path {path}: it goes up by '..'; wanted a path that only goes down from an allowed "
            "directory",
            reason="PATH_NOT_ALLOWED",
            details={"path": path},
        )
    if not dirs:
        raise DeniedError(
            f"path {path}: the daemon's configuration allows no directory for this; add the "
            "directory to it",
            reason="PATH_NOT_ALLOWED",
            details={"path": path},
        )
    if not path.startswith("/"):
        return dirs[0], parts
    for allowed in dirs:
        base = PurePosixPath(os.path.normpath(allowed)).parts
        if parts[: len(base)] == base and len(parts) > len(base):
            return allowed, parts[len(base) :]
    raise DeniedError(
        f"path {path}: outside of the allowed directories {', '.join(dirs)}; move the file, or "
        "have the directory added to the daemon's configuration",
        reason="PATH_NOT_ALLOWED",
        details={"path": path, "allowed": ":".join(dirs)},
    )


@contextlib.contextmanager
def parent_of(path: str, dirs: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Give a descriptor of the directory that holds `path`, and the last component."""
    allowed, components = beneath(path, dirs)
    if not components:
        raise AdapterError(f"path {path!r}: it names no file; write one", reason="PATH_NOT_A_FILE")
    try:
        descriptor = os.open(allowed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise path_error(path, error, at=allowed) from error
    try:
        walked = allowed
        for component in components[:-1]:
            walked = f"{walked}/{component}"
            try:
                inner = os.open(component, _DIRECTORY, dir_fd=descriptor)
            except OSError as error:
                raise path_error(path, error, at=walked) from error
            os.close(descriptor)
            descriptor = inner
        yield descriptor, components[-1]
    finally:
        os.close(descriptor)


def open_regular(path: str, dirs: Sequence[str], flags: int, *, mode: int = 0o644) -> int:
    """Open a regular file beneath `dirs`: never a link, a directory, a device or a pipe."""
    with parent_of(path, dirs) as (directory, name):
        return open_regular_at(path, directory, name, flags, mode=mode)


def open_regular_at(path: str, directory: int, name: str, flags: int, *, mode: int = 0o644) -> int:
    """Open the regular file `name` of an open directory; `path` is for messages."""
    try:
        descriptor = os.open(name, flags | _SAFE, mode, dir_fd=directory)
    except OSError as error:
        raise path_error(path, error, at=path) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise AdapterError(
            f"path {path}: it is {_kind_of(found.st_mode)}; wanted a regular file",
            reason="PATH_NOT_A_FILE",
            details={"path": path},
        )
    os.set_blocking(descriptor, True)
    return descriptor


def path_error(path: str, error: OSError, *, at: str) -> ByteorError:
    """Return the error for people behind an OSError met at `at` on the way to `path`."""
    where = f"path {path}" if at == path else f"path {path}: at {at}"
    details = {"path": path, "errno": errno.errorcode.get(error.errno or 0, str(error.errno))}
    text = os.strerror(error.errno or 0)
    match error.errno:
        case errno.ENOENT:
            return NotFoundError(
                f"{where}: there is no such file or directory; create it, or correct the path",
                reason="PATH_NOT_FOUND",
                details=details,
            )
        case errno.ENOTDIR | errno.ELOOP:
            return DeniedError(
                f"{where}: a link, or no directory, stands in the way ({text}); links are not "
                "followed: write the real path",
                reason="PATH_IS_LINK",
                details=details,
            )
        case errno.EROFS:
            return DeniedError(
                f"{where}: its filesystem is read-only; mount it writable, or choose another path",
                reason="PATH_READ_ONLY",
                details=details,
            )
        case errno.EACCES | errno.EPERM:
            return DeniedError(
                f"{where}: this worker's user (uid {os.geteuid()}) may not open it ({text}); "
                "change its permissions, or choose another path",
                reason="PATH_DENIED",
                details=details,
            )
        case errno.EEXIST:
            return AdapterError(
                f"{where}: it exists already and mode is create; remove it, or write "
                'mode = "truncate" or "append"',
                reason="PATH_EXISTS",
                details=details,
            )
        case errno.EISDIR:
            return AdapterError(
                f"{where}: it is a directory; wanted a regular file",
                reason="PATH_NOT_A_FILE",
                details=details,
            )
        case errno.ENOSPC | errno.EDQUOT | errno.EMFILE | errno.ENFILE:
            return ResourceError(
                f"{where}: {text}; make room, then try again",
                reason="PATH_NO_ROOM",
                details=details,
            )
        case _:
            return AdapterError(
                f"{where}: cannot be opened: {text}", reason="PATH_FAILED", details=details
            )


def _kind_of(mode: int) -> str:
    for test, text in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return text
    return "a device"
