"""What a person names as the source of a replay, and its files as they are sent to the daemon.

A directory (a capture, a journal, an unpacked bundle) or a bundle in one file; anything else is the
id of a run of the daemon. Owns which files go; what is in them is the daemon's to judge.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator

from byteorctl.bundle.archive import read_bundle
from byteorctl.bundle.check import problems_of
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import unreadable

PIECE_BYTES = 1 << 20
FILES_MAX = 100_000
_SUFFIXES = (".tar", ".tar.gz", ".tgz")


def is_local(source: str) -> bool:
    """Tell whether a source is a file or directory here, not the id of a run."""
    return os.path.exists(source) or os.sep in source or source.endswith(_SUFFIXES)


def pieces(source: str) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes): the name in the first piece of each file, every file below 1 MiB pieces.

    Raises CliError: 66 when it cannot be read, 65 when it is not what a source must be.
    """
    if not os.path.isdir(source):
        with tempfile.TemporaryDirectory(prefix="byteor-replay-") as place:
            problems = problems_of(read_bundle(source, _Unpacked(place).take))
            if problems:
                raise CliError(f"source {source}: {problems[0]}; get it again", Exit.DATA)
            yield from pieces(place)
        return
    files = sorted(_files(source, ""))
    if not files:
        raise CliError(
            f"source {source}: seen an empty directory; wanted a capture, a journal or a bundle",
            Exit.NO_INPUT,
        )
    for name in files:
        yield from _pieces_of(os.path.join(source, name), name)


class _Unpacked:
    """Where the files of a bundle go until they are sent; their names were checked before."""

    def __init__(self, place: str) -> None:
        self._place = place

    def take(self, name: str, content: Iterator[bytes]) -> None:
        """Write one file."""
        path = os.path.join(self._place, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.writelines(content)


def _pieces_of(path: str, name: str) -> Iterator[tuple[str, bytes]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            yield name, file.read(PIECE_BYTES)
            while data := file.read(PIECE_BYTES):
                yield "", data
    except OSError as error:
        raise unreadable("source", path, error) from error


def _files(top: str, below: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(os.path.join(top, below)), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable("source", os.path.join(top, below), error) from error
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if entry.name == ".lock":
            continue
        if stat.S_ISDIR(mode):
            yield from _files(top, name)
        elif stat.S_ISREG(mode):
            yield name
        else:
            raise CliError(
                f"source {top}: seen {name}, which is no regular file; wanted files alone",
                Exit.DATA,
            )
