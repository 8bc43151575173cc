"""Which code a run would load, by digest, found without importing any of it.

The digest of a single module file or a library is its SHA-256; that of a package is the SHA-256 of
the listing that `sha256sum` prints for its files (all but `__pycache__`, sorted by path as bytes),
so that people can compute both.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder

from byteord.deployment.plan import RunPlan
from byteord.errors import StageError
from byteord.spec.model import Stage

PACKAGE_FILES_MAX = 10_000
PACKAGE_BYTES_MAX = 256 << 20
_READ_BYTES = 1 << 20
_SUFFIXES = (str(sysconfig.get_config_var("EXT_SUFFIX")), ".abi3.so", ".so", ".py")


@dataclass(frozen=True, slots=True)
class Found:
    """Code that a stage loads: where it is, and beneath which name it is imported or opened."""

    stage: str
    directory: str
    path: str
    target: str


class PackageDirs:
    """Installed packages that code may come from, by name; found without importing any."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """`names`: top-level packages or modules."""
        self.names = tuple(names)

    def directory(self, top: str) -> str:
        """Return the directory that holds an allowed top-level package; empty if there is none."""
        if top not in self.names:
            return ""
        spec = PathFinder.find_spec(top, [each for each in sys.path if each])
        origin = spec.origin if spec is not None else None
        if spec is None or origin is None or not os.path.isabs(origin):
            return ""
        inside = spec.submodule_search_locations is not None
        return os.path.dirname(os.path.dirname(origin) if inside else origin)


def code_digests(
    stages: Iterable[Stage], code_dirs: Sequence[str], packages: Sequence[str] = ()
) -> dict[str, str]:
    """Return `sha256:HEX` by stage name for every stage that loads code.

    Raises StageError: STAGE_CODE_NOT_FOUND, STAGE_CODE_UNREADABLE, STAGE_CODE_TOO_LARGE, or
    STAGE_CODE_DIGEST_MISMATCH where the spec pins another digest.
    """
    digests: dict[str, str] = {}
    for stage in stages:
        digest = _stage_digest(stage, code_dirs, packages)
        if digest:
            check_pin(stage, digest)
            digests[stage.name] = digest
    return digests


def pins_of(
    stages: Iterable[Stage], code_dirs: Sequence[str], packages: Sequence[str] = ()
) -> dict[str, str]:
    """Return the digest to pin for each stage that loads code, or why there is none."""
    found: dict[str, str] = {}
    for stage in stages:
        try:
            digest = _stage_digest(stage, code_dirs, packages)
        except StageError as error:
            digest = f"none: {error.message}"
        if digest:
            found[stage.name] = digest
    return found


def _stage_digest(stage: Stage, code_dirs: Sequence[str], packages: Sequence[str]) -> str:
    """Return the digest of a stage's code, empty for one that loads none; raises StageError."""
    kind, _, rest = stage.stage.partition(":")
    if kind == "exec":
        return program_digest(stage.name, rest.partition("|")[0])
    if kind not in ("python", "numba", "cabi"):
        return ""
    target = rest.rpartition(":")[0]
    found = find_code(stage.name, kind, target, code_dirs, PackageDirs(packages))
    return place_digest(stage.name, found.path)


def program_digest(name: str, path: str) -> str:
    """Return the digest of a program; a link to it is followed, since systems link theirs."""
    return "sha256:" + _digest(name, os.path.realpath(path))


def place_digest(name: str, path: str) -> str:
    """Return the digest of a module file, a package's directory or a library."""
    return "sha256:" + _digest(name, path)


def find_code(
    name: str, kind: str, target: str, code_dirs: Sequence[str], packages: PackageDirs
) -> Found:
    """Return where the module or library `target` is that the stage called `name` loads.

    Code directories go first, then the packages that are allowed by name. Raises StageError.
    """
    top = target.partition(".")[0]
    installed = packages.directory(top) if kind != "cabi" else ""
    for directory in (*code_dirs, *([installed] if installed else [])):
        found = _library(directory, target) if kind == "cabi" else _module(directory, target)
        if found is not None:
            _check_links(name, directory, found)
            _check_size(name, found)
            beneath = target if kind == "cabi" else os.path.basename(found)
            return Found(name, directory, found, beneath)
    what = "library" if kind == "cabi" else "module"
    searched = ", ".join(code_dirs) or "none: the daemon's configuration allows no code_dirs"
    allowed = f"; packages: {', '.join(packages.names)}" if packages.names else ""
    raise StageError(
        f"stage {name!r}: the {what} {target!r} is in none of the code directories "
        f"({searched}{allowed}); "
        "put it there, or add its directory to code_dirs in the daemon's configuration",
        reason="STAGE_CODE_NOT_FOUND",
        details={"stage": name, "seen": target, "searched": ", ".join(code_dirs)},
    )


def check_pin(stage: Stage, digest: str) -> None:
    """Raise StageError (STAGE_CODE_DIGEST_MISMATCH) if the spec pins another digest."""
    if stage.digest and stage.digest.lower() != digest:
        raise StageError(
            f"stage {stage.name!r}: its code has the digest {digest} and the spec pins "
            f"{stage.digest}; "
            "restore that code, or review the change and pin the new digest",
            reason="STAGE_CODE_DIGEST_MISMATCH",
            details={"stage": stage.name, "seen": digest, "wanted": stage.digest},
        )


def _library(directory: str, target: str) -> str | None:
    if os.path.isabs(target) or ".." in target.split("/"):
        return None
    path = os.path.join(directory, target)
    return path if os.path.isfile(path) else None


def _module(directory: str, target: str) -> str | None:
    """Return the top-level package directory or module file, if all of `target` is there."""
    parts = target.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    top = os.path.join(directory, parts[0])
    if len(parts) == 1:
        return top if os.path.isfile(os.path.join(top, "__init__.py")) else _module_file(top)
    inner = os.path.join(directory, *parts)
    if os.path.isdir(inner) or _module_file(inner) is not None:
        return top
    return None


def _module_file(stem: str) -> str | None:
    for suffix in _SUFFIXES:
        if os.path.isfile(stem + suffix):
            return stem + suffix
    return None


def _check_links(name: str, directory: str, path: str) -> None:
    beneath = os.path.relpath(path, directory)
    real = os.path.realpath(path)
    if real != os.path.join(os.path.realpath(directory), beneath):
        raise StageError(
            f"stage {name!r}: {path} is a link to {real}; code is read beneath its code "
            "directory without "
            "following links: put the files themselves there",
            reason="STAGE_CODE_UNREADABLE",
            details={"stage": name, "seen": real, "wanted": path},
        )


def _digest(name: str, path: str) -> str:
    try:
        if os.path.isdir(path):
            return _package_digest(path)
        return _file_digest(path)
    except OSError as error:
        raise StageError(
            f"stage {name!r}: {error.filename or path} cannot be read: {error.strerror}; "
            "the daemon's user needs to read all files of the stage's code, which may not be links",
            reason="STAGE_CODE_UNREADABLE",
            details={"stage": name, "seen": str(error)},
        ) from error


def _check_size(name: str, top: str) -> None:
    """Raise StageError if a package is too large to be copied and hashed."""
    try:
        sizes = [os.lstat(path).st_size for path, _ in code_files(top)]
    except OSError:
        return  # whoever reads it says what is wrong
    if len(sizes) > PACKAGE_FILES_MAX or sum(sizes) > PACKAGE_BYTES_MAX:
        raise StageError(
            f"stage {name!r}: {top} has {len(sizes)} files of {sum(sizes)} bytes, and at most "
            f"{PACKAGE_FILES_MAX} files of {PACKAGE_BYTES_MAX} bytes are hashed; move data out "
            "of it",
            reason="STAGE_CODE_TOO_LARGE",
            details={"stage": name, "seen": f"{len(sizes)} files, {sum(sizes)} bytes"},
        )


def _package_digest(top: str) -> str:
    listing = hashlib.sha256()
    files = sorted(package_files(top), key=os.fsencode)
    for file in files:
        line = f"{_file_digest(os.path.join(top, file))}  {file}\n"
        listing.update(os.fsencode(line))
    return listing.hexdigest()


def code_files(path: str) -> Iterator[tuple[str, str]]:
    """Yield each file of a module, library or package: its path, and its name in the package."""
    if os.path.isdir(path):
        yield from ((os.path.join(path, name), name) for name in package_files(path))
    else:
        yield path, ""


def package_files(top: str) -> Iterator[str]:
    """Yield the files of a package that its digest covers, relative to its directory."""
    for directory, names, files in os.walk(top):
        names[:] = [each for each in names if each != "__pycache__"]
        links = (each for each in names if os.path.islink(os.path.join(directory, each)))
        for each in (*files, *links):
            yield os.path.relpath(os.path.join(directory, each), top)


def _file_digest(path: str) -> str:
    """Hash one regular file; a link or a device is an OSError that names it."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def pin_code(plan: RunPlan, digests: Mapping[str, str], store: str) -> RunPlan:
    """Return the plan with the digest of the code that was found, and where its copy is."""
    roles = (
        replace(role, digest=digests.get(role.name.partition("#")[0], role.digest))
        for role in plan.roles
    )
    return replace(plan, roles=tuple(roles), code_store=store)
