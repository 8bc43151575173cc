"""The Unix socket of the API: its directory, its permissions, and what a dead daemon left of it.

Call it only while holding the daemon's lock: a socket that somebody listens on would be taken over
without a word.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
from collections.abc import Iterator

from byteord.errors import ByteorError, DeniedError, NotFoundError, WrongStateError

DIRECTORY_MODE = 0o750


def group_id(name: str) -> int:
    """Return the number of a group, -1 for the empty name; raises NotFoundError."""
    if not name:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise NotFoundError(
            f"listen.group: seen {name!r}, which this host does not know; create it (groupadd "
            f"--system {name}) or "
            "name another",
            reason="GROUP_UNKNOWN",
        ) from None


def make_directory(path: str, group: int = -1) -> None:
    """Make a directory of mode 0750; one that is there keeps its mode.

    Raises DeniedError if it cannot be made, WrongStateError if others may write in it.
    """
    try:
        if not os.path.isdir(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mkdir(path, DIRECTORY_MODE)
            os.chmod(path, DIRECTORY_MODE)
            _give(path, group)
        found = os.stat(path)
    except OSError as error:
        raise DeniedError(
            f"directory {path}: {error.strerror}; wanted one that this user (uid {os.geteuid()}) "
            "can make and write; "
            "make it for this user, or name another in the configuration",
            reason="DIRECTORY_NOT_WRITABLE",
        ) from error
    if found.st_mode & stat.S_IWOTH:
        raise WrongStateError(
            f"directory {path}: others may write in it (mode {stat.S_IMODE(found.st_mode):04o}), "
            "so the socket could be "
            "replaced; wanted at most 0755; chmod it, or name another",
            reason="DIRECTORY_UNSAFE",
        )


def remove_stale(path: str) -> None:
    """Remove the socket of a daemon that is gone.

    Raises WrongStateError if something else has that name, or if somebody answers there in spite of
    our lock.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise WrongStateError(
            f"socket {path}: something that is no socket has this name; wanted none or a dead "
            "daemon's socket; move it "
            "away, or set listen.socket",
            reason="SOCKET_PATH_TAKEN",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        with contextlib.suppress(OSError):
            probe.connect(path)
            raise _listened_on(path)
    os.unlink(path)


def _listened_on(path: str) -> ByteorError:
    return WrongStateError(
        f"socket {path}: a process that holds none of byteord's locks listens there; find it with "
        "`ss -xlp`, end it, "
        "or set listen.socket",
        reason="SOCKET_IN_USE",
    )


@contextlib.contextmanager
def narrow_umask(mode: int) -> Iterator[None]:
    """Have everything that is made inside get at most `mode`."""
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _give(path: str, group: int) -> None:
    """Give a file to a group, unless it has it: the shipped unit's sandbox has no chown."""
    if group >= 0 and os.stat(path).st_gid != group:
        os.chown(path, -1, group)


def set_owner(path: str, mode: int, group: int) -> None:
    """Give the bound socket its permissions; raises DeniedError."""
    try:
        _give(path, group)
        os.chmod(path, mode)
    except OSError as error:
        raise DeniedError(
            f"socket {path}: {error.strerror} while giving it to group {group} with mode "
            f"{mode:04o}; the daemon's user "
            "must be a member of listen.group, and under systemd that group be the unit's Group=",
            reason="SOCKET_GROUP",
        ) from error
