"""Small files that must survive: replaced as a whole or appended durably, or not at all."""

from __future__ import annotations

import contextlib
import os


def replace_synced(path: str, data: bytes, mode: int = 0o600) -> None:
    """Put `data` in place of a file; after a crash it is the old one or the new one. OSError."""
    fresh = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(fresh, flags, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, path)
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_synced(descriptor: int, data: bytes) -> None:
    """Append `data` whole and sync it, or leave the file as it was and raise OSError."""
    before = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        write_all(descriptor, data)
        os.fdatasync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
