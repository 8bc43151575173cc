"""Real data beside the repository; a test that needs it skips where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.tree import TOP


def shared_file(name: str) -> Path | None:
    """Return a file of the shared data (`$BYTEOR_SHARED_DATA`, else `../shared/data`), or None."""
    around = os.environ.get("BYTEOR_SHARED_DATA")
    roots = [Path(around)] if around else [TOP.parent / "shared" / "data"]
    return next((root / name for root in roots if (root / name).exists()), None)


def shared_data(name: str) -> Path:
    """Return a file of the shared data, or skip."""
    found = shared_file(name)
    if found is None:
        pytest.skip(f"shared data {name} is not here; the same test on generated data always runs")
    return found
