"""Confinement of a worker before it loads code that is declared effect-free.

Owns which paths such code may still read (its code, the interpreter and its libraries) and write
(the run's directory). Everything else of the process was opened before; what it takes away is
`_cext.confine`'s.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable

from byteord._cext.confine import confine, has_seccomp
from byteord.deployment.plan import RunPlan
from byteord.errors import StageError
from byteord.worker.code import frozen_dirs

_SYSTEM = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/sys/devices/system",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/dev/urandom",
)
_PYTHON = ("stdlib", "platstdlib", "purelib", "platlib")


def readable_paths(plan: RunPlan) -> list[str]:
    """Return what confined code may read: its code, Python, the system's libraries."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    python = [sysconfig.get_path(name) for name in _PYTHON]
    paths = [*frozen_dirs(plan), *plan.code_dirs, ours, *python, *_SYSTEM, f"/proc/{os.getpid()}"]
    return list(dict.fromkeys(path for path in paths if path and os.path.exists(path)))


def confine_worker(plan: RunPlan, directory: str) -> None:
    """Confine this process for good; `directory` is the run's.

    StageError (CONFINEMENT_FAILED, CONFINEMENT_UNAVAILABLE, SECRETS_READABLE): the process must
    end, since it may be confined in part.
    """
    if not has_seccomp():
        raise StageError(
            "this host cannot confine code: its kernel has no seccomp filters; use a kernel with "
            "CONFIG_SECCOMP_FILTER, or run it in dev without dry run",
            reason="CONFINEMENT_UNAVAILABLE",
        )
    readable = readable_paths(plan)
    _keep_secrets_out(plan, [*readable, directory])
    sys.dont_write_bytecode = True
    descriptors: list[int] = []
    try:
        reads = [_open(path, descriptors) for path in readable]
        writes = [_open(path, descriptors) for path in (directory, "/dev/null")]
        confine(reads, writes)
    except OSError as error:
        raise StageError(
            f"the worker could not be confined: {error.strerror or error} ({error.errno}); what is "
            "declared effect-free is not run without it",
            reason="CONFINEMENT_FAILED",
        ) from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _open(path: str, opened: list[int]) -> int:
    opened.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
    return opened[-1]


def _keep_secrets_out(plan: RunPlan, readable: Iterable[str]) -> None:
    secrets = os.path.realpath(plan.secrets_dir) if plan.secrets_dir else ""
    if not secrets or not os.path.isdir(secrets):
        return
    for path in readable:
        real = os.path.realpath(path)
        if secrets == real or secrets.startswith(real.rstrip("/") + "/"):
            raise StageError(
                f"the secrets directory {secrets} lies beneath {path}, which confined code may "
                "read; move it (paths.secrets of the daemon's configuration)",
                reason="SECRETS_READABLE",
            )
