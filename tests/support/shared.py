"""Real data beside the repository; a test that needs it skips where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.tree import TOP


def shared_data(name: str) -> Path:
    """Return a file of the shared data (`$BYTEOR_SHARED_DATA`, else `../shared/data`), or skip."""
    around = os.environ.get("BYTEOR_SHARED_DATA")
    roots = [Path(around)] if around else [TOP.parent / "shared" / "data"]
    for root in roots:
        if (root / name).exists():
            return root / name
    pytest.skip(f"shared data {name} is not here; the same test on generated data always runs")
