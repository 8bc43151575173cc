"""Opening files, at the start and again after a worker's death: input, gzip, followed, output."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Mapping
from typing import Any

from byteord._cext import adapter_gzip
from byteord._cext import adapters as native
from byteord.adapters.context import OpenContext, Resume
from byteord.adapters.framing import Framing
from byteord.adapters.paths import open_regular, open_regular_at, parent_of, path_error
from byteord.errors import AdapterError, DataError

_SYNC = {"none": 0, "end": 1, "every_batch": 2}
_GZIP_MAGIC = b"\x1f\x8b"


def open_input(values: Mapping[str, Any], context: OpenContext) -> native.SourceHandle:
    """Open a file for reading, at its beginning or where the committed position is."""
    path = str(values["path"])
    framing = Framing.of({"framing": "pcap", **values})
    if values.get("follow"):
        return _open_followed(path, framing, values, context)
    descriptor = open_regular(path, context.read_dirs, os.O_RDONLY)
    try:
        handle = _open_at(path, descriptor, framing, values["gzip"], context.resume)
    except BaseException:
        os.close(descriptor)
        raise
    if context.resume is not None and any(context.resume.position):
        handle.restore(context.resume)
    return handle


def _open_at(
    path: str, descriptor: int, framing: Framing, gzip: str, resume: Resume | None
) -> native.SourceHandle:
    """Return a source that begins where the committed position is."""
    compressed = _is_gzip(descriptor, gzip)
    offset = _resume_offset(path, descriptor, resume, inflate=compressed)
    if not compressed:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        os.lseek(descriptor, offset, os.SEEK_SET)
        return native.open_file_source(descriptor, framing)
    inflate = adapter_gzip.Inflate(descriptor)
    try:
        inflate.skip(offset)
    except (EOFError, ValueError, adapter_gzip.InflateError) as error:
        raise DataError(
            f"file {path}: it does not inflate as far as byte {offset}, where this run had got to "
            f"({error}); it was changed: start the run again",
            reason="ADAPTER_INPUT_CHANGED",
            details={"path": path, "offset": str(offset)},
        ) from error
    handle = native.open_file_source(descriptor, framing)
    adapter_gzip.attach(handle.address, inflate)
    handle.keep(inflate)
    return handle


def _is_gzip(descriptor: int, wanted: str) -> bool:
    return wanted == "always" or (wanted == "auto" and os.pread(descriptor, 2, 0) == _GZIP_MAGIC)


def _resume_offset(path: str, descriptor: int, resume: Resume | None, *, inflate: bool) -> int:
    """Return where to read on; raise DataError when the file is not the one that was being read."""
    if resume is None or resume.position[:2] == (0, 0):
        return 0
    offset, inode = resume.position[:2]
    found = os.fstat(descriptor)
    if found.st_ino != inode or (not inflate and found.st_size < offset):
        raise DataError(
            f"file {path}: inode {found.st_ino} with {found.st_size} bytes; this run had read "
            f"{offset} bytes of inode {inode}. It was replaced or cut while being read: start the "
            "run again, or use follow = true for files that rotate",
            reason="ADAPTER_INPUT_CHANGED",
            details={"path": path, "offset": str(offset)},
        )
    return offset


def _open_followed(
    path: str, framing: Framing, values: Mapping[str, Any], context: OpenContext
) -> native.SourceHandle:
    with parent_of(path, context.read_dirs) as (directory, name):
        current = open_regular_at(path, directory, name, os.O_RDONLY)
        try:
            descriptor, offset = _follow_from(
                values["follow_from"], directory, current, context.resume
            )
        except BaseException:
            os.close(current)
            raise
        if descriptor != current:
            os.close(current)
        os.lseek(descriptor, offset, os.SEEK_SET)
        handle = native.open_follow_source(
            descriptor, framing, directory_fd=os.dup(directory), base_name=os.fsencode(name)
        )
    handle.restore(_followed_resume(descriptor, offset, context.resume))
    return handle


def _followed_resume(descriptor: int, offset: int, resume: Resume | None) -> Resume:
    """Return totals as committed, and a position in the file that is really being read."""
    inode = os.fstat(descriptor).st_ino
    if resume is None:
        return Resume((offset, inode, 0, 0), 0, ())
    if resume.position[:2] == (offset, inode):
        return resume
    return Resume((offset, inode, 0, 0), resume.bytes_total, resume.rejected)


def _follow_from(
    begin: str, directory: int, current: int, resume: Resume | None
) -> tuple[int, int]:
    """Return the descriptor and offset to begin at.

    After a restart that is the file read before, wherever it was rotated to.
    """
    found = os.fstat(current)
    if resume is None or resume.position[1] == 0:
        return current, found.st_size if begin == "end" else 0
    offset, inode = resume.position[:2]
    if found.st_ino == inode:
        return current, offset if offset <= found.st_size else 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.inode() == inode and entry.is_file(follow_symlinks=False):
                rotated = open_regular_at(entry.name, directory, entry.name, os.O_RDONLY)
                if os.fstat(rotated).st_ino == inode and os.fstat(rotated).st_size >= offset:
                    return rotated, offset
                os.close(rotated)
    return current, 0


def open_output(values: Mapping[str, Any], context: OpenContext) -> native.SinkHandle:
    """Open a file for writing, after a restart cut back to the committed position."""
    path = str(values["path"])
    mode = values["mode"]
    flags = os.O_WRONLY | (os.O_APPEND if mode == "append" else 0)
    if context.resume is None:
        flags |= os.O_CREAT | (os.O_EXCL if mode == "create" else 0)
    descriptor = open_regular(path, context.write_dirs, flags)
    try:
        _lock(path, descriptor)
        end = _output_end(path, descriptor, str(mode), context.resume)
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        handle = native.open_file_sink(descriptor, Framing.of(values), sync=_SYNC[values["fsync"]])
    except OSError as error:
        os.close(descriptor)
        raise path_error(path, error, at=path) from error
    except BaseException:
        os.close(descriptor)
        raise
    if context.resume is not None and any(context.resume.position):
        handle.restore(context.resume)
    return handle


def _output_end(path: str, descriptor: int, mode: str, resume: Resume | None) -> int:
    """Return where writing begins: what follows is cut off."""
    size = os.fstat(descriptor).st_size
    recorded = resume is not None and resume.position[2] != 0
    if not recorded:
        return size if mode == "append" else 0
    offset = resume.position[0] if resume is not None else 0
    if size < offset:
        raise DataError(
            f"file {path}: {size} bytes, but this run had written {offset}: somebody cut it; start "
            "the run again",
            reason="ADAPTER_OUTPUT_CHANGED",
            details={"path": path, "offset": str(offset)},
        )
    return offset


def _lock(path: str, descriptor: int) -> None:
    """Be the only run that writes this file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            return  # a file system without locks
        raise AdapterError(
            f"path {path}: another run writes this file; stop it, or choose another path",
            reason="PATH_IN_USE",
            details={"path": path},
        ) from error
