"""What this build is and can do, for `version`, `compatibility` and `capabilities`. Pure: reads no state of a run."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from byteord.deployment.model import Environment

_LIBRARIES = (
    "grpcio",
    "protobuf",
    "uvloop",
    "structlog",
    "msgspec",
    "prometheus-client",
    "numpy",
    "numba",
)


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What is running here."""

    version: str
    python: str
    environment: str
    libraries: dict[str, str]
    pid: int


@cache
def byteor_version() -> str:
    """Return the version of the installed distribution."""
    return _version_of("byteor") or "0+unknown"


def version_facts(environment: Environment) -> VersionFacts:
    """Return the versions of byteor, its interpreter and the libraries that matter."""
    found = {name: _version_of(name) for name in _LIBRARIES}
    return VersionFacts(
        version=byteor_version(),
        python=platform.python_version(),
        environment=environment.value,
        libraries={name: version for name, version in found.items() if version},
        pid=os.getpid(),
    )


@cache
def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
