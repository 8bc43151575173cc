"""Opens native stages for a worker: built in, of a C library, compiled by Numba.

Owns finding the code beneath the code directories and holding a stage to what the plan declares of
it. Python stages are the worker's own business.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from byteord._cext.stages import StageHandle, open_builtin, open_library
from byteord.deployment.plan import RolePlan
from byteord.errors import StageError
from byteord.spec.stage_key import StageKeyError, parse_key
from byteord.stages.reader import canonical_text

_FLAGS = ((1, "mutates", "payloads"), (2, "drops", "messages"), (4, "resizes", "payloads"))


def open_native(
    role: RolePlan,
    code_dirs: Sequence[str],
    payload_max: int,
    *,
    seed: int = 0,
    shown: Sequence[str] = (),
) -> StageHandle:
    """Open the native stage of `role` for payloads of at most `payload_max` bytes.

    `seed`: what a library draws from; `shown`: where the first of the directories was copied from,
    if it was.

    The caller closes the handle. StageError with a reason: STAGE_UNKNOWN, STAGE_CONFIG_INVALID,
    STAGE_LIBRARY_NOT_FOUND, STAGE_SYMBOL_NOT_FOUND, STAGE_ABI_MISMATCH, STAGE_DIGEST_MISMATCH,
    STAGE_UNDECLARED, STAGE_STATE_TOO_SMALL, and those of `byteord.stages.compiled.open_compiled`.
    """
    try:
        key = parse_key(role.stage)
    except StageKeyError as error:
        raise StageError(f"stage {role.name!r}: {error}", reason="STAGE_UNKNOWN") from error
    config = {name: canonical_text(value) for name, value in role.config.items()}
    if key.kind == "builtin":
        handle = open_builtin(key.name, config, payload_max)
    elif key.kind == "cabi":
        handle = _open_cabi(role, key.module, key.symbol, config, code_dirs, payload_max, seed)
    elif key.kind == "numba":
        from byteord.stages.compiled import open_compiled

        handle = open_compiled(role, key.module, key.symbol, code_dirs, shown)
    else:
        message = f"stage {role.name!r}: {role.stage!r} is not native code"
        raise StageError(message, reason="STAGE_UNKNOWN")
    try:
        _check_declared(role, handle)
    except StageError:
        handle.close()
        raise
    return handle


def _open_cabi(  # noqa: PLR0917 - one call, each part once
    role: RolePlan,
    library: str,
    symbol: str,
    config: dict[str, str],
    code_dirs: Sequence[str],
    payload_max: int,
    seed: int,
) -> StageHandle:
    descriptor = _open_beneath(role, library, code_dirs)
    try:
        _check_digest(role, library, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    # By descriptor: what is loaded is what was found and hashed, whatever the path says by then.
    path = f"/proc/self/fd/{descriptor}"
    return open_library(path, symbol, config, payload_max, seed=seed, shown=library, fd=descriptor)


def _open_beneath(role: RolePlan, library: str, code_dirs: Sequence[str]) -> int:
    """Open a library beneath the first code directory that has it, following no link."""
    parts = library.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise _library_error(role, f"{library!r} is not a plain path inside a code directory")
    for directory in code_dirs:
        try:
            return _walk(directory, parts)
        except FileNotFoundError:
            continue
        except OSError as error:
            linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
            why = "a part of the path is a link or not a directory" if linked else error.strerror
            raise _library_error(role, f"{directory}/{library} cannot be opened: {why}") from error
    searched = ", ".join(code_dirs) or "none are allowed"
    raise _library_error(role, f"{library!r} is in none of the code directories ({searched})")


def _walk(directory: str, parts: Sequence[str]) -> int:
    here = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            there = os.open(part, flags, dir_fd=here)
            os.close(here)
            here = there
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        found = os.open(parts[-1], flags, dir_fd=here)
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return found


def _library_error(role: RolePlan, what: str) -> StageError:
    return StageError(
        f"stage {role.name!r}: library {what}; build it into a directory that the daemon's "
        "configuration lists in code_dirs",
        reason="STAGE_LIBRARY_NOT_FOUND",
        details={"stage": role.name},
    )


def _check_digest(role: RolePlan, library: str, descriptor: int) -> None:
    if not role.digest:
        return
    import hashlib  # costs milliseconds, and few runs pin

    with open(descriptor, "rb", closefd=False) as file:
        seen = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    if seen != role.digest.lower():
        raise StageError(
            f"stage {role.name!r}: library {library} has the digest {seen}, wanted {role.digest}; "
            "restore that code, or review the change and pin the new digest",
            reason="STAGE_DIGEST_MISMATCH",
            details={"stage": role.name, "seen": seen, "wanted": role.digest},
        )


def _check_declared(role: RolePlan, handle: StageHandle) -> None:
    """Refuse a stage that says it does more than its role declares: validation relied on that."""
    declared = {"mutates": bool(role.mutates), "drops": role.drops, "resizes": role.resizes}
    for flag, key, things in _FLAGS:
        if handle.flags & flag and not declared[key]:
            raise StageError(
                f"stage {role.name!r} ({role.stage}) {key} {things}, which the spec does not "
                f"declare; set `{key}` of the stage",
                reason="STAGE_UNDECLARED",
                details={"stage": role.name},
            )
    if handle.state_bytes > role.state_bytes:
        raise StageError(
            f"stage {role.name!r} ({role.stage}) wants {handle.state_bytes} bytes of state, and "
            f'the spec declares {role.state_bytes}; set state = "state" and '
            f"state_bytes = {handle.state_bytes}",
            reason="STAGE_STATE_TOO_SMALL",
            details={"stage": role.name},
        )
