"""The code of stages as it was when it was hashed: copies by digest, from which workers load.

A digest says nothing about what lies in a code directory a moment later, so the files are copied
first, the copy is hashed, and the copy is what runs, also in a worker that is restarted tomorrow.
Owns one directory: `HEX/` holds the file or package beneath the name it is imported by. Blocks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence

from byteord.errors import ResourceError
from byteord.runs.code import (
    Found,
    PackageDirs,
    check_pin,
    code_files,
    find_code,
    place_digest,
    program_digest,
)
from byteord.spec.model import Stage

KEPT_MAX, KEPT_BYTES_MAX = 64, 1 << 30
"""Copies that no live run needs: for bundles, and for the next run of the same code."""
_MODE = 0o700


class CodeStore:
    """The copies of one daemon."""

    def __init__(self, directory: str, packages: Sequence[str] = ()) -> None:
        """`packages`: installed ones that code may come from. Nothing is touched yet."""
        self.directory = directory
        self._packages = PackageDirs(packages)
        self._lock = threading.Lock()

    def freeze(self, stages: Iterable[Stage], code_dirs: Sequence[str]) -> dict[str, str]:
        """Copy the code of every stage that loads some; return its digest by stage name.

        Raises StageError: STAGE_CODE_NOT_FOUND, STAGE_CODE_UNREADABLE, STAGE_CODE_TOO_LARGE, or
        STAGE_CODE_DIGEST_MISMATCH where the spec pins another digest; ResourceError without room.
        """
        digests: dict[str, str] = {}
        for stage in stages:
            kind, _, rest = stage.stage.partition(":")
            if kind == "exec":
                digest = program_digest(stage.name, rest.partition("|")[0])
            elif kind in ("python", "numba", "cabi"):
                found = find_code(
                    stage.name, kind, rest.rpartition(":")[0], code_dirs, self._packages
                )
                digest = self._copy(found)
            else:
                continue
            check_pin(stage, digest)
            digests[stage.name] = digest
        return digests

    def path(self, digest: str) -> str:
        """Return the directory that holds the copy of a digest, whether it is there or not."""
        return os.path.join(self.directory, digest.removeprefix("sha256:"))

    def sweep(self, needed: Collection[str]) -> None:
        """Remove copies that no live run needs, beyond the newest few. `needed`: their digests."""
        keep = {digest.removeprefix("sha256:") for digest in needed}
        with contextlib.suppress(FileNotFoundError):
            free = [each for each in os.scandir(self.directory) if each.name not in keep]
            free.sort(key=lambda each: each.stat().st_mtime_ns, reverse=True)
            total = 0
            for index, each in enumerate(free):
                total += sum(os.lstat(path).st_size for path, _ in code_files(each.path))
                if index >= KEPT_MAX or total > KEPT_BYTES_MAX or each.name.startswith("tmp"):
                    shutil.rmtree(each.path, ignore_errors=True)

    def _copy(self, found: Found) -> str:
        try:
            os.makedirs(self.directory, mode=_MODE, exist_ok=True)
            with self._lock, self._temporary() as directory:
                target = os.path.join(directory, found.target)
                _copy_files(found.path, target)
                digest = place_digest(found.stage, target)
                self._settle(found, directory, digest)
                return digest
        except OSError as error:
            raise ResourceError(
                f"stage {found.stage!r}: its code cannot be copied to {self.directory}: "
                f"{error.strerror}; make room there",
                reason="CODE_NOT_COPIED",
            ) from error

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[str]:
        directory = tempfile.mkdtemp(prefix="tmp", dir=self.directory)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _settle(self, found: Found, directory: str, digest: str) -> None:
        """Give the copy its name, unless there is a sound one already."""
        path = self.path(digest)
        kept = os.path.join(path, found.target)
        if os.path.lexists(kept) and _sound(found, kept, digest):
            os.utime(path)
            return
        shutil.rmtree(path, ignore_errors=True)
        os.rename(directory, path)


def _sound(found: Found, path: str, digest: str) -> bool:
    """Tell whether an earlier copy is still what it was: a crash can leave a part of one."""
    try:
        return place_digest(found.stage, path) == digest
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is made anew
        return False


def _copy_files(source: str, target: str) -> None:
    """Copy a file, or a package without its `__pycache__`; a link or a device is an OSError."""
    for path, beneath in code_files(source):
        place = os.path.join(target, beneath) if beneath else target
        os.makedirs(os.path.dirname(place), mode=_MODE, exist_ok=True)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with open(os.open(path, flags), "rb") as file, open(place, "xb") as copy:
            shutil.copyfileobj(file, copy)
