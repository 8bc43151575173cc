"""What has arrived of a bundle so far, kept beside its place until it is whole.

Owns the file, its name, which says of which bundle it is, and that one client writes it at a time.
A client that is killed leaves it behind, for the next one to go on with.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
from collections.abc import Iterator
from typing import Self

from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit

_NAME_BYTES_MAX = 150


class Partial:
    """The first bytes of a bundle's archive. Use as a context; what is left then is on disk."""

    def __init__(self, out: str, bundle_id: str, size: int) -> None:
        """Open what there is for `out`, or begin; more than `size` bytes cannot be of it.

        Raises OSError, and CliError (75) while another client fetches the same bundle there.
        """
        self.path = partial_path(out, bundle_id)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        self._file = open(descriptor, "r+b", buffering=0)  # noqa: SIM115  closed by exit
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CliError(
                f"bundle {bundle_id}: another byteorctl fetches it to {out}; wait for it, or "
                "name another file",
                Exit.TRY_AGAIN,
            ) from None
        self.digest = hashlib.sha256()
        self.size = 0
        self._take_up(size)

    def _take_up(self, size: int) -> None:
        if os.fstat(self._file.fileno()).st_size > size:
            self.begin_again()
        while data := self._file.read(1 << 20):
            self.digest.update(data)
            self.size += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.size == 0:
            self.remove()
        self._file.close()

    def add(self, data: bytes) -> None:
        """Append bytes."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.digest.update(data)
        self.size += len(data)

    def begin_again(self) -> None:
        """Forget everything that arrived."""
        self._file.seek(0)
        self._file.truncate()
        self.digest, self.size = hashlib.sha256(), 0

    def remove(self) -> None:
        """Give it up: it is whole and elsewhere, or worth nothing."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def partial_path(out: str, bundle_id: str) -> str:
    """Return where the beginning of a bundle that is to become `out` is kept."""
    directory, name = os.path.split(os.path.abspath(out))
    return os.path.join(directory, f".{name[:_NAME_BYTES_MAX]}.{bundle_id}.bundle")


def forget_others(out: str, bundle_id: str) -> None:
    """Remove what is left of other bundles that were to become `out`, unless they still come."""
    keep = partial_path(out, bundle_id)
    for path in _partials(out):
        if path != keep:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
                finally:
                    os.close(descriptor)


def _partials(out: str) -> Iterator[str]:
    directory, name = os.path.split(partial_path(out, ""))
    head, tail = name.removesuffix(".bundle"), ".bundle"
    yield from glob.iglob(os.path.join(glob.escape(directory), f"{glob.escape(head)}*{tail}"))
