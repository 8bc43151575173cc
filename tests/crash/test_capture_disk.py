"""A disk without room: a capture degrades by exactly what it says, or the run waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def _on_small_disk(directory: Path, on_full: str) -> dict[str, Any]:
    """Run the script on a tmpfs of its own; return what it prints."""
    alone = ["unshare", "--mount", "--propagation", "private"]
    mount = [*alone, "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(directory)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs in a mount namespace of one's own needs root")
    script = (
        'mount -t tmpfs -o size=64m tmpfs "$1" && '
        'exec "$2" -m tests.crash.capture_full_disk "$1" "$3"'
    )
    done = subprocess.run(
        [*alone, "sh", "-c", script, "sh", str(directory), sys.executable, on_full],
        check=False,
        capture_output=True,
        timeout=80,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(90)
def test_degrade_goes_on_and_records_the_exact_gap(tmp_path: Path) -> None:
    """What found no room is counted, the frames around it say which, and it goes on with room."""
    found = _on_small_disk(tmp_path, "degrade")
    assert found["state"] == "stopped"
    assert "what comes is lost to the capture, and counted" in found["said"]
    assert found["last"] == "WithGaps"
    assert found["first"] == 0
    assert found["lost"] == found["missing"] > 0
    assert found["kept"] + found["lost"] == found["entered"]
    assert found["digested"] == found["entered"], "the digest needs no room"


@pytest.mark.timeout(90)
def test_wait_holds_the_run_until_there_is_room(tmp_path: Path) -> None:
    """The ingress takes nothing more in, the run says why, and nothing is missing afterwards."""
    found = _on_small_disk(tmp_path, "wait")
    assert "the run waits" in found["said"]
    assert (found["last"], found["lost"], found["missing"]) == ("Recording", 0, 0)
    assert found["kept"] == found["entered"]
