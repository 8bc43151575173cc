"""The bytes of a program in memory that nobody can write to: what was hashed is what runs.

A program that is hashed and then run by its path can be written to in between, in its place or by
another of its name, and so can the file behind an open descriptor. So it is copied once into a
sealed file in memory; the copy is hashed, and the copy is what runs. Owns that file's descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from dataclasses import dataclass

_MFD_EXEC = 0x10
"""Linux 6.3 on: may be executed whatever `vm.memfd_noexec` has as its default."""
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_PIECE = 1 << 20

Mark = tuple[int, ...]
"""What tells a file from another one and from itself before it was written to."""


def mark_of(path: str) -> Mark:
    """Return the mark of the file at `path`; raises OSError."""
    return _mark(os.stat(path))


def _mark(seen: os.stat_result) -> Mark:
    return (
        seen.st_dev, seen.st_ino, seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProgramImage:
    """One sealed copy."""

    descriptor: int
    """Read-only, closed on exec."""
    digest: str
    """`sha256:HEX` of the sealed bytes."""
    mark: Mark
    """Of the file when it was opened."""
    is_script: bool
    """Whether its interpreter opens it again, after exec."""

    @property
    def path(self) -> str:
        """Return what to execute, in any process that has the descriptor."""
        return f"/proc/self/fd/{self.descriptor}"

    @property
    def closed_on_exec(self) -> int:
        """Return the descriptor if the program need not have it, else -1."""
        return -1 if self.is_script else self.descriptor

    def close(self) -> None:
        """Give the memory back once nothing runs from it."""
        os.close(self.descriptor)


def load_image(path: str) -> ProgramImage:
    """Copy, seal and hash the program at `path`; raises OSError.

    No process may be started meanwhile: one that has the copy open to write would keep it from
    being executed.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    with open(os.open(path, flags), "rb", buffering=0) as file:
        mark = _mark(os.fstat(file.fileno()))
        if not os.access(f"/proc/self/fd/{file.fileno()}", os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, "it may not be executed")
        writable = _memory_file()
        try:
            while piece := file.read(_PIECE):
                _write_all(writable, piece)
            fcntl.fcntl(writable, fcntl.F_ADD_SEALS, _SEALS)
            sealed = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writable)
    with open(sealed, "rb", closefd=False) as copy:
        is_script = copy.read(2) == b"#!"
        copy.seek(0)
        digest = "sha256:" + hashlib.file_digest(copy, "sha256").hexdigest()
    return ProgramImage(sealed, digest, mark, is_script)


def _memory_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("byteor-program", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel before 6.3, where all may be executed
            raise
    return os.memfd_create("byteor-program", flags)


def _write_all(descriptor: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
