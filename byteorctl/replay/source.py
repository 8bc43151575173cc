"""What a person names as the source of a replay, and its files as they are sent to the daemon.

A directory (a capture, a journal, an unpacked bundle) or a bundle in one file; anything else is the
id of a run of the daemon. Owns which files go; what is in them is the daemon's to judge.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import stat
import tempfile
from collections.abc import Iterator, Sequence
from typing import Self

from byteorctl.bundle.archive import read_bundle
from byteorctl.bundle.check import problems_of
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import unreadable

PIECE_BYTES = 1 << 20
FILES_MAX = 100_000
_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_SEGMENT = ".seg"
_CHOICES = "choices/"
"""Sent last: of a run that goes on they have to reach as far as the messages."""
_OTHERS_OPEN = 64
"""Descriptors left for everything else."""


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
    files = sorted(_files(source, ""), key=lambda name: (name.startswith(_CHOICES), name))
    if not files:
        raise CliError(
            f"source {source}: seen an empty directory; wanted a capture, a journal or a bundle",
            Exit.NO_INPUT,
        )
    with _Held(source, files) as held:
        for name in files:
            yield from held.pieces_of(name)


class _Held:
    """The files of a source that may be recorded still: opened before any is sent.

    Retention takes the oldest segments of a stream: what is open stays readable. As many are held
    as this process may have open; the others are opened when it is their turn.
    """

    def __init__(self, source: str, files: Sequence[str]) -> None:
        self._source, self._files = source, files
        self._open: dict[str, int] = {}
        self._begun: set[str] = set()

    def __enter__(self) -> Self:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = hard if hard != resource.RLIM_INFINITY else max(soft, FILES_MAX)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHERS_OPEN
        segments = (name for name in self._files if name.endswith(_SEGMENT))
        for name in itertools.islice(segments, max(room, 0)):
            with contextlib.suppress(OSError):  # said when it is its turn
                self._open[name] = self._opened(name)
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def pieces_of(self, name: str) -> Iterator[tuple[str, bytes]]:
        """Yield a file; nothing of a segment that retention took before any later one was sent."""
        stream = os.path.dirname(name)
        try:
            descriptor = self._open.pop(name, -1)
            descriptor = self._opened(name) if descriptor < 0 else descriptor
            with open(descriptor, "rb", buffering=0) as file:
                self._begun.add(stream)
                yield name, file.read(PIECE_BYTES)
                while data := file.read(PIECE_BYTES):
                    yield "", data
        except FileNotFoundError as error:
            if not name.endswith(_SEGMENT):
                raise unreadable("source", os.path.join(self._source, name), error) from error
            if stream in self._begun:
                raise CliError(
                    f"source {self._source}: {name} was taken by retention while the source was "
                    "read; wanted a recording that stays as it is: replay it by the id of its run, "
                    "where the daemon holds it, or when the run has ended",
                    Exit.NO_INPUT,
                ) from error
        except OSError as error:
            raise unreadable("source", os.path.join(self._source, name), error) from error

    def _opened(self, name: str) -> int:
        return os.open(os.path.join(self._source, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


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


def _files(top: str, below: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(os.path.join(top, below)), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable("source", os.path.join(top, below), error) from error
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith("."):  # a lock, or a file that is just being written
            continue
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except FileNotFoundError:  # retention took it
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
