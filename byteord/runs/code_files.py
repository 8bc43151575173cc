"""Files of stage code for a bundle: those that a run's digests cover, if they still do.

Owns which files these are; a digest is checked again, since code on disk may have changed since the
run was admitted. Nothing is imported. Programs of `exec` stay on their host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from byteord.capture.entries import BundleFile, StoredFile
from byteord.errors import StageError
from byteord.runs.code import PackageDirs, find_code, package_files, place_digest

PREFIX = "code"
NOT_ALLOWED = "the deployment does not allow code to leave the host: [bundle] code = true does"


@dataclass(slots=True)
class CodeFound:
    """What goes into the bundle and what does not."""

    entries: list[BundleFile | StoredFile] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, str]] = field(default_factory=dict)
    """By stage: its key, digest, and where its code lies beneath `code/`."""


def code_of(
    stages: Mapping[str, str], digests: Mapping[str, str], code_dirs: Sequence[str], store: str = ""
) -> CodeFound:
    """Return the code of stages, given by name and key, as a directory for `code_dirs`.

    `store`: where the code was copied when runs were admitted, by digest; it goes first.
    """
    found = CodeFound()
    places: dict[str, str] = {}
    for name, key in sorted(stages.items()):
        kind, _, rest = key.partition(":")
        if kind not in ("python", "numba", "cabi", "exec"):
            continue
        digest = digests.get(name, "")
        said = {"stage": key.partition("|")[0], "digest": digest}
        try:
            if kind == "exec":
                found.left_out[f"{PREFIX} of {name}"] = "programs do not leave their host"
            else:
                dirs = (_copy_of(digest, store), *code_dirs) if store and digest else code_dirs
                there = find_code(name, kind, rest.rpartition(":")[0], dirs, PackageDirs())
                _check_same(name, there.path, digest)
                said["path"] = os.path.relpath(there.path, there.directory)
                places[said["path"]] = there.path
        except StageError as error:
            found.left_out[f"{PREFIX} of {name}"] = _why(error)
        found.said[name] = said
    for beneath, path in sorted(places.items()):
        _add(found, beneath, path)
    return found


def _copy_of(digest: str, store: str) -> str:
    return os.path.join(store, digest.removeprefix("sha256:"))


def _check_same(name: str, path: str, digest: str) -> None:
    seen = place_digest(name, path)
    if digest and seen != digest:
        raise StageError(
            f"stage {name!r}: its code changed since the run was admitted",
            reason="STAGE_CODE_DIGEST_MISMATCH",
        )


def _why(error: StageError) -> str:
    if error.reason == "STAGE_CODE_DIGEST_MISMATCH":
        return "it changed on disk since the run was admitted"
    return f"it is not where it was loaded from ({error.reason})"


def _add(found: CodeFound, beneath: str, path: str) -> None:
    if not os.path.isdir(path):
        found.entries.append(_file(beneath, path))
        return
    for inner in sorted(package_files(path), key=os.fsencode):
        found.entries.append(_file(f"{beneath}/{inner}", os.path.join(path, inner)))


def _file(beneath: str, path: str) -> StoredFile:
    return StoredFile(f"{PREFIX}/{beneath}", path, os.lstat(path).st_size, "code")
