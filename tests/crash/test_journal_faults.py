"""A journal whose disk is full, read-only or broken: said by name, and nothing is lost."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.failing_sync import GOOD_SYNCS
from tests.crash.journal_faults import COUNT

ALONE = ("unshare", "--mount", "--propagation", "private")


def _said(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=False, capture_output=True, timeout=80, text=True)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _on_tmpfs(directory: Path, way: str, options: str) -> dict[str, Any]:
    """Run one way of `journal_faults` with a tmpfs that nobody else sees."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if subprocess.run([*ALONE, *mount], check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs in a mount namespace of one's own needs root")
    script = (
        'mount -t tmpfs -o "$1" tmpfs "$2" && exec "$3" -m tests.crash.journal_faults "$4" "$2"'
    )
    arguments = [options, str(directory), sys.executable, way]
    return _said([*ALONE, "sh", "-c", script, "sh", *arguments])


@pytest.mark.timeout(90)
def test_a_disk_that_fills_up_stops_the_run_by_name_and_loses_nothing(tmp_path: Path) -> None:
    """Path, bytes wanted and what to do; all that was taken is in; another run goes on behind it.

    Until there is room, a new run is refused before anything flows.
    """
    said = _on_tmpfs(tmp_path, "full", "size=200k")
    failure = said["failure"]
    assert (said["state"], failure["role"], failure["reason"]) == (
        "failed",
        "write",
        "ADAPTER_FAILED",
    )
    assert f"journal {tmp_path}/j: No space left on device" in failure["message"]
    assert (
        "the next segment wants 65536 bytes; make room, or set retention_bytes"
        in failure["message"]
    )
    assert 0 < said["taken"] <= said["kept"] < COUNT
    assert "the next segment wants 65536 bytes, " in said["again"]
    assert said["went_on"]


@pytest.mark.timeout(90)
def test_with_policy_restart_a_full_journal_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """Restarted until it can write again: every frame once, in order."""
    said = _on_tmpfs(tmp_path, "makes-room", "size=1m")
    assert said["state"] == "completed", said
    assert said["restarts"] > 0
    assert said["kept"] == list(range(COUNT))


@pytest.mark.timeout(60)
def test_a_read_only_directory_is_refused_before_anything_flows(tmp_path: Path) -> None:
    """Named with its path, by the role that writes it."""
    said = _on_tmpfs(tmp_path, "read-only", "size=1m")
    assert (said["state"], said["failure"]["role"]) == ("failed", "write")
    assert "make it a directory that can be written" in said["failure"]["message"]


@pytest.mark.timeout(60)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="its filter is written for x86-64")
@pytest.mark.parametrize("policy", ["stop_pipeline", "restart"])
def test_a_failed_sync_stops_the_run_and_is_never_tried_again(tmp_path: Path, policy: str) -> None:
    """Even where policy says restart: a second sync would succeed, and what was lost stays lost.

    What was synced before is whole; nothing of the failed batch is counted as taken.
    """
    said = _said([sys.executable, "-m", "tests.crash.failing_sync", str(tmp_path), policy])
    failure = said["failure"]
    assert (said["state"], failure["role"]) == ("failed", "write")
    assert "fdatasync failed; what it was for may be lost" in failure["message"]
    assert "Input/output error" in failure["message"]
    assert said["syncs"] == [0] * GOOD_SYNCS + [5]
    assert all(worker["restarts"] == 0 for worker in said["workers"])
    assert said["kept"] == list(range(len(said["kept"])))
    assert 0 < said["taken"] <= len(said["kept"])
