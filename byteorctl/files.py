"""Files of the person at the terminal: documents to read, outputs that appear whole or not.

Every failure is a `CliError` with the right exit code. Never opens anything for a daemon.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from dataclasses import dataclass

from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit

DOCUMENT_BYTES_MAX = 1 << 20
STDIO = "-"
DEPLOYMENT_NAME = "deployment.toml"
PEM_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A spec or deployment as found on disk."""

    path: str
    content: bytes

    @property
    def name(self) -> str:
        """File name without directories."""
        return os.path.basename(self.path)

    @property
    def names_python(self) -> bool:
        """Whether some stage is likely to be Python: a private daemon then gets ready for it."""
        return b"python:" in self.content

    @property
    def directory(self) -> str:
        """Absolute directory of the file."""
        return os.path.dirname(os.path.realpath(self.path))


def unreadable(what: str, path: str, error: OSError) -> CliError:
    """Return the error for a file of the client that cannot be read (exit 66)."""
    seen = error.strerror or str(error)
    return CliError(
        f"{what} {path}: cannot be read ({seen}); wanted a readable file: "
        "check the path and its permissions",
        Exit.NO_INPUT,
    )


def unwritable(what: str, path: str, error: OSError) -> CliError:
    """Return the error for an unwritable file: no space 75, no permission 77, else 66."""
    codes = {
        errno.ENOSPC: Exit.TRY_AGAIN,
        errno.EDQUOT: Exit.TRY_AGAIN,
        errno.EACCES: Exit.DENIED,
        errno.EPERM: Exit.DENIED,
        errno.EROFS: Exit.DENIED,
    }
    seen = error.strerror or str(error)
    return CliError(
        f"{what} {path}: cannot be written ({seen}); "
        "wanted a path in an existing directory that you may write to",
        codes.get(error.errno or 0, Exit.NO_INPUT),
    )


def read_document(what: str, path: str) -> DocumentFile:
    """Read a spec or deployment; of one over 1 MiB just enough that the daemon can say so."""
    try:
        with open(path, "rb") as file:
            return DocumentFile(path, file.read(DOCUMENT_BYTES_MAX + 1))
    except OSError as error:
        raise unreadable(what, path, error) from error


def read_pem(path: str) -> bytes:
    """Return the content of a certificate or key; CliError (exit 66) when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(PEM_BYTES_MAX)
    except OSError as error:
        raise unreadable("TLS file", path, error) from error


def find_deployment(spec: DocumentFile, path: str | None) -> DocumentFile | None:
    """Return the deployment at `path`, else `deployment.toml` beside the spec, else None."""
    if path is not None:
        return read_document("deployment", path)
    beside = os.path.join(os.path.dirname(spec.path), DEPLOYMENT_NAME)
    return read_document("deployment", beside) if os.path.exists(beside) else None


def open_input(path: str) -> int:
    """Open the input of a run for reading and return its descriptor; `-` is standard input."""
    if path == STDIO:
        return os.dup(0)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable("input", path, error) from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise CliError(f"input {path}: is a directory; wanted a file", Exit.NO_INPUT)
    return fd


class OutputFile:
    """Bytes on their way to a file or standard output.

    A regular file gets its name only by `commit`: until then the bytes are in a temporary file
    beside it, which `discard` removes. Standard output, devices and FIFOs are written through at
    once. Not thread-safe.
    """

    def __init__(self, path: str, what: str = "output") -> None:
        """Open; raises `CliError` when it cannot be written."""
        self._path = path
        self._what = what
        self._target = path
        self._temporary = ""
        self.bytes_written = 0
        try:
            self._fd = self._open()
        except OSError as error:
            raise unwritable(what, path, error) from error

    @property
    def write_through(self) -> bool:
        """The bytes are visible at once: standard output, a device or a FIFO."""
        return not self._temporary

    def _open(self) -> int:
        if self._path == STDIO:
            sys.stdout.flush()
            return os.dup(1)
        self._target = os.path.realpath(self._path)
        try:
            mode = os.stat(self._target).st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG | (0o666 & ~_umask())
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            return os.open(self._target, os.O_WRONLY | os.O_CLOEXEC)
        directory, name = os.path.split(self._target)
        temporary = os.path.join(directory, f".{name[:200]}.{os.urandom(6).hex()}.part")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._temporary = temporary
        os.fchmod(fd, stat.S_IMODE(mode))
        return fd

    def write(self, data: bytes) -> None:
        """Write all of `data`; raises `CliError` (75 when the disk is full)."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(self._what, self._path, error) from error
        self.bytes_written += len(data)

    def commit(self) -> None:
        """Give the file its name; nothing may be written afterwards."""
        self._close()
        if self._temporary:
            try:
                os.rename(self._temporary, self._target)
            except OSError as error:
                raise unwritable(self._what, self._path, error) from error
            self._temporary = ""

    def discard(self) -> None:
        """Remove what was written, unless it was written through or committed."""
        self._close()
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            self._temporary = ""

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def write_whole(path: str, chunks: list[bytes], what: str = "output") -> None:
    """Write `chunks` to `path` so that the file appears whole or not at all."""
    output = OutputFile(path, what)
    try:
        for chunk in chunks:
            output.write(chunk)
        output.commit()
    finally:
        output.discard()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
