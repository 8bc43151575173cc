"""The root of `/proc`, `/sys`, `/dev` and `/etc` that facts of a host are read from.

Owns reading beneath a directory that stands in for `/`, so that a captured tree answers as the
host would. It must not write, and what is not there is a value, never an exception.
"""

from __future__ import annotations

import errno
import glob
import os
from dataclasses import dataclass

TEXT_BYTES_MAX = 1 << 20
_DENIED = (errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class HostRoot:
    """A directory that holds `proc`, `sys`, `dev` and `etc`. Names are absolute, as on the host."""

    top: str = "/"

    @property
    def live(self) -> bool:
        """Tell whether this is the host itself, not a captured tree."""
        return self.top == "/"

    def path(self, name: str) -> str:
        """Return where a file of the host lies."""
        return name if self.live else os.path.join(self.top, name.lstrip("/"))

    def text(self, name: str) -> str | None:
        """Return the text of a file, 1 MiB at most; None: `missing` says why."""
        try:
            with open(self.path(name), "rb") as file:
                return file.read(TEXT_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            return None

    def missing(self, name: str) -> str:
        """Say why a file has no text: `absent`, `denied` or `unreadable`; empty: it has."""
        try:
            with open(self.path(name), "rb") as file:
                file.read(1)
        except OSError as error:
            if error.errno in _DENIED:
                return "denied"
            return "absent" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "unreadable"
        return ""

    def names(self, pattern: str) -> tuple[str, ...]:
        """Return the names of the host that match a glob pattern, sorted."""
        skip = 0 if self.live else len(self.top.rstrip("/"))
        return tuple(sorted(name[skip:] for name in glob.glob(self.path(pattern))))

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file or directory."""
        return os.path.exists(self.path(name))

    def writable(self, name: str) -> bool:
        """Tell whether this process may write it."""
        return os.access(self.path(name), os.W_OK)

    def link(self, name: str) -> str:
        """Return what a symbolic link says; empty: there is none."""
        try:
            return os.readlink(self.path(name))
        except OSError:
            return ""
