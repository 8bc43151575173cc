"""The private daemon of one `byteorctl` call: its own directories, gone with its caller.

Owns its directory of regions, which nobody else uses, and clears away those of private daemons that
were killed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace

from byteord.deployment.config import SYSTEM_FILE, Config, load, private_config
from byteord.deployment.model import Environment
from byteord.errors import DeniedError, InvalidArgumentError

SHM = "/dev/shm"  # noqa: S108  where shared memory lives; mkdtemp below


@contextlib.contextmanager
def make_private(arguments: argparse.Namespace) -> Iterator[Config]:
    """Provide the configuration of a private daemon, and leave nothing behind.

    Raises InvalidArgumentError when the directory or the parent's descriptor is not what it must
    be.
    """
    directory = os.path.abspath(arguments.private)
    _check(directory, arguments.parent_fd)
    if arguments.allow_effects:
        check_effects_allowed(SYSTEM_FILE)
    look = load(arguments.config) if arguments.look else None
    parent = os.getppid()
    prefix = f"byteor-private-{os.geteuid()}-"
    sweep(prefix)
    regions = tempfile.mkdtemp(prefix=prefix, dir=SHM)
    held = os.open(regions, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        config = private_config(
            directory,
            regions=regions,
            code_dirs=[os.path.abspath(each) for each in arguments.code_dir],
            read_dirs=[os.path.abspath(each) for each in arguments.read_dir],
            write_dirs=[os.path.abspath(each) for each in arguments.write_dir],
            allow_effects=arguments.allow_effects,
        )
        yield replace(config, look=look)
    finally:
        shutil.rmtree(regions, ignore_errors=True)
        os.close(held)
        if os.getppid() != parent:
            shutil.rmtree(directory, ignore_errors=True)


def sweep(prefix: str) -> None:
    """Remove regions of private daemons of this user that are gone: nobody holds their lock."""
    with os.scandir(SHM) as entries:
        names = [each.path for each in entries if each.name.startswith(prefix)]
    for path in names:
        with contextlib.suppress(OSError):
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(held).st_uid == os.geteuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)


def check_effects_allowed(system_file: str) -> None:
    """Raise DeniedError on a host whose configuration says more than dev, ByteorError if unread."""
    if not os.path.lexists(system_file):
        return
    environment = load(system_file).authority.environment
    if environment is not Environment.DEV:
        raise DeniedError(
            f"--allow-effects: {system_file} says that this host is {environment}; wanted dev: "
            "run it under the host's daemon, with an approval, or leave its effects dry",
            reason="EFFECTS_NOT_ALLOWED",
        )


def _check(directory: str, parent_fd: int) -> None:
    try:
        mode = os.stat(directory).st_mode
    except OSError as error:
        raise InvalidArgumentError(
            f"--private {directory}: {error.strerror}; wanted a directory made for this daemon "
            "alone (mode 0700)"
        ) from error
    if mode & 0o077:
        raise InvalidArgumentError(
            f"--private {directory}: others may enter it (mode {mode & 0o777:04o}); wanted mode "
            "0700"
        )
    if parent_fd < 0 or not os.path.exists(f"/proc/self/fd/{parent_fd}"):
        raise InvalidArgumentError(
            f"--parent-fd {parent_fd}: not open here; wanted a descriptor that reads its end when "
            "the caller ends"
        )
    os.set_inheritable(parent_fd, False)
