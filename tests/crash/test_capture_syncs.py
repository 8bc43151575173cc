"""When what was recorded is put on the disk, and a disk that does not take it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="its filter is written for x86-64"),
]
ALL = 1 << 30


def _said(directory: Path, sync: str, on_full: str, good: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.crash.failing_capture", str(directory), sync, on_full]
    done = subprocess.run([*command, str(good)], check=False, capture_output=True, timeout=50)
    assert done.returncode == 0, done.stderr.decode()
    said: dict[str, Any] = json.loads(done.stdout)
    row = said["row"]
    assert said["kept"] == list(range(len(said["kept"])))
    assert len(said["kept"]) == row["kept"] == row["seen"] - row["lost"]
    return said


@pytest.mark.parametrize(
    ("sync", "least", "most"), [("none", 0, 0), ("interval", 1, ALL), ("every_batch", 3, ALL)]
)
def test_it_is_synced_as_often_as_the_deployment_says(
    tmp_path: Path, sync: str, least: int, most: int
) -> None:
    """Never, from time to time and at the end, or for each piece that is written."""
    said = _said(tmp_path, sync, "degrade", ALL)
    assert (said["state"], said["problem"], said["row"]["lost"]) == ("completed", "", 0)
    assert least <= len(said["syncs"]) <= most
    assert not any(said["syncs"])


@pytest.mark.parametrize(("sync", "good"), [("interval", 0), ("every_batch", 2)])
@pytest.mark.parametrize("on_full", ["degrade", "wait"])
def test_a_failed_sync_is_said_and_never_tried_again(
    tmp_path: Path, sync: str, good: int, on_full: str
) -> None:
    """Nothing more is kept: the run goes on without, or ends where it must not."""
    said = _said(tmp_path, sync, on_full, good)
    assert said["syncs"] == [0] * good + [5]
    assert "capture of in/in: writing to the disk failed: Input/output error" in said["problem"]
    assert said["capture"]["reason"] == "SyncFailed"
    assert said["capture"]["message"] == said["problem"]
    if on_full == "wait":
        assert said["state"] == "failed"
        assert said["failure"]["reason"] == "CAPTURE_FAILED"
        assert (said["failure"]["role"], said["failure"]["message"]) == ("in", said["problem"])
    else:
        assert (said["state"], said["failure"], said["row"]["seen"]) == ("completed", None, 30_000)
