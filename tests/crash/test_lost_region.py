"""A page of a live region that goes away ends its run by name: no SIGBUS reaches a person."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from byteord._cext.client import Publisher
from byteord._cext.region import RegionFault
from byteord.client import create_ring
from byteord.errors import RegionError
from byteord.regions.reader import RunReader
from tests.support.poll import until
from tests.support.run import LiveRun, make_test_plan, running, spec_text

STAGE = '[[stages]]\nname = "pass"\nstage = "identity"\n'
RING = "capacity = 1024\nslot_bytes = 64"
DEPLOYMENT = (
    '[adapters.in]\nkind = "generator"\nsize = 48\nrate = 50000\n[adapters.out]\nkind = "discard"\n'
)


def _until_flowing(run: LiveRun) -> None:
    until(lambda: run.role("out")["received"] > 2000, 30, run.log())


def _failure(run: LiveRun) -> dict[str, Any]:
    status = run.until_state("failed")
    assert run.shim.wait(10) == 0
    assert all(worker["pid"] == 0 for worker in status["workers"])
    failure: dict[str, Any] = status["failure"]
    return failure


@pytest.mark.timeout(60)
@pytest.mark.parametrize("single_process", [False, True])
def test_a_ring_cut_from_outside_fails_the_run_by_name(single_process: bool) -> None:
    """A ring truncated under its workers: the failure names the role, the file, both sizes."""
    plan = make_test_plan(spec_text(STAGE, ring=RING), DEPLOYMENT, single_process=single_process)
    with running(plan) as run:
        _until_flowing(run)
        path = Path(run.directory, "ring-0")
        total = path.stat().st_size
        os.truncate(path, 16384)
        failure = _failure(run)
        assert failure["reason"] == "REGION_LOST"
        assert failure["role"] in {"in", "pass", "out"}
        assert failure["sequence"] > 0
        assert str(path) in failure["message"]
        assert f"of {total} is gone: the file was cut to 16384 bytes" in failure["message"]
        assert {worker["exit"] for worker in run.status()["workers"]} <= {"exit 4", ""}
        with pytest.raises(RegionError, match="the file has 16384 bytes") as caught:
            RunReader(run.directory)
        assert caught.value.reason == "REGION_TRUNCATED"


@pytest.mark.timeout(60)
def test_a_control_region_cut_from_outside_is_survived_by_shim_and_readers() -> None:
    """Nobody dies of SIGBUS: the shim ends the run and says why, an attached reader refuses."""
    with running(make_test_plan(spec_text(STAGE, ring=RING), DEPLOYMENT)) as run:
        _until_flowing(run)
        os.truncate(Path(run.directory, "control"), 4096)
        failure = _failure(run)
        assert failure["reason"] == "REGION_LOST"
        assert f"{run.directory}/control" in failure["message"]
        with pytest.raises(RegionError) as caught:
            run.reader.read()
        assert caught.value.reason == "REGION_LOST"


def test_a_client_on_a_cut_ring_gets_an_error_and_lives() -> None:
    """A process of the user's that publishes into a truncated ring is told, not killed."""
    with tempfile.TemporaryDirectory(prefix="byteor-test-", dir="/dev/shm") as directory:
        path = Path(directory, "ring")
        create_ring(str(path), capacity=64, slot_bytes=64)
        descriptor = os.open(path, os.O_RDWR)
        publisher = Publisher(descriptor)
        assert publisher.publish(b"before")
        os.truncate(path, 0)
        with pytest.raises(RegionFault, match="a page of the ring"):
            publisher.publish_many([b"after"] * 65, timeout_s=0)
        os.close(descriptor)


@pytest.mark.timeout(60)
def test_a_page_that_a_full_tmpfs_cannot_give_back_is_told_from_a_cut(tmp_path: Path) -> None:
    """First touch on a full filesystem (a page punched out, its room taken): named as that."""
    alone = ["unshare", "--mount", "--propagation", "private"]
    mount = [*alone, "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs in a mount namespace of one's own needs root")
    script = 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" -m tests.crash.full_tmpfs "$1"'
    done = subprocess.run(
        [*alone, "sh", "-c", script, "sh", str(tmp_path), sys.executable],
        check=False,
        capture_output=True,
        timeout=50,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    failure = json.loads(done.stdout)
    assert failure["reason"] == "REGION_LOST"
    assert "ring-0" in failure["message"]
    assert "its filesystem has no room for another" in failure["message"]
