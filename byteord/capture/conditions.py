"""Where a digest is promised to be the same: interpreter, libraries and CPU of this host."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

PACKAGES = ("byteor", "numpy", "numba", "msgspec")
"""Those that a stage's results may depend on and that this package knows of."""


def conditions_here() -> dict[str, Any]:
    """Return the conditions of this host, by the names that `capture.json` has for them."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "machine": platform.machine(),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
