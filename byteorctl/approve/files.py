"""Key files, key sets and credentials of the person at the terminal.

Private keys are written for their owner alone and never over anything; every failure is a
`CliError` with the right exit code.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from byteor.trust.strict import TrustError
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import unreadable, unwritable, write_whole

FILE_BYTES_MAX = 1 << 20
APPROVAL_NAME = "approval.cred"
KEYS_NAME = "signing_keys.json"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])\Z")


@contextlib.contextmanager
def trusted(code: Exit = Exit.DATA) -> Iterator[None]:
    """Turn a TrustError inside into the error of a verb, its reason in front."""
    try:
        yield
    except TrustError as error:
        raise CliError(f"{error.reason}: {error.message}", code) from error


def read_file(what: str, path: str) -> bytes:
    """Return the content of a file of at most 1 MiB."""
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise unreadable(what, path, error) from error
    if len(content) > FILE_BYTES_MAX:
        raise CliError(f"{what} {path}: is larger than {FILE_BYTES_MAX} bytes", Exit.DATA)
    return content


def write_private(path: str, content: bytes) -> None:
    """Write a new file that its owner alone can read; never over one that is there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise CliError(
            f"private key {path}: is there already; wanted a new name: a key is never overwritten",
            Exit.NO_INPUT,
        ) from error
    except OSError as error:
        raise unwritable("private key", path, error) from error


def write_file(what: str, path: str, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    write_whole(path, [content], what)


def seconds_of(text: str) -> int:
    """Return a duration as `90s`, `30m`, `8h`, `7d`; raise ValueError."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"{text!r}: wanted a duration as 90s, 30m, 8h or 7d")
    return int(match[1]) * _SECONDS[match[2]]
