"""Region files are untrusted: what does not validate is refused by name, never believed."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from byteord._cext import control, region
from byteord.deployment.plan import RunPlan
from byteord.errors import AlreadyExistsError, DeniedError, RegionError, ResourceError
from byteord.regions.create import create_run, remove_run, run_directories
from byteord.regions.reader import RunReader, attach
from tests.support.run import make_test_plan, spec_text

STAGE = '[[stages]]\nname = "pass"\nstage = "identity"\n'
DEPLOYMENT = '[adapters.in]\nkind = "generator"\nsize = 48\n[adapters.out]\nkind = "discard"\n'
HEADER_BYTES = 264


def _plan(ring: str = "") -> RunPlan:
    return make_test_plan(spec_text(STAGE, ring=ring), DEPLOYMENT)


@pytest.fixture
def directory() -> Iterator[str]:
    """Provide the directory of a run that nobody started."""
    root = tempfile.mkdtemp(prefix="byteor-test-", dir="/dev/shm")
    yield create_run(root, _plan())
    shutil.rmtree(root)


def _reason(path: Path, kind: type) -> str:
    with pytest.raises(RegionError) as caught:
        attach(path, kind)
    assert str(path) in caught.value.message
    return caught.value.reason


def test_a_fresh_run_reads_as_empty(directory: str) -> None:
    """Regions of a run that nobody started attach and show nothing done."""
    read = RunReader(directory).read()
    assert [role["received"] for role in read["roles"]] == [0, 0, 0]
    assert read["rings"][0]["cursor"] == 0
    assert read["rings"][0]["end_sequence"] is None


@pytest.mark.parametrize(("name", "kind"), [("ring-0", region.Ring), ("control", control.Control)])
def test_every_damaged_header_byte_is_found(directory: str, name: str, kind: type) -> None:
    """A flip of any bit-carrying byte of the header is refused."""
    path = Path(directory, name)
    whole = path.read_bytes()
    for at in range(HEADER_BYTES):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([whole[at] ^ 0x41]))
        assert _reason(path, kind).startswith("REGION_"), at
        with path.open("r+b") as file:
            file.seek(at)
            file.write(whole[at : at + 1])
    attach(path, kind)


@pytest.mark.parametrize("kept", [0, 1, 100, 4095, 4096, 8192])
def test_a_truncated_region_is_named_so(directory: str, kept: int) -> None:
    """A file shorter than its header says is refused, whatever is left of it."""
    path = Path(directory, "ring-0")
    with path.open("r+b") as file:
        file.truncate(kept)
    assert _reason(path, region.Ring) == "REGION_TRUNCATED"


def test_foreign_files_other_versions_and_other_kinds_are_told_apart(directory: str) -> None:
    """Each wrong file gets its own reason, so that a person knows what lies there."""
    ring = Path(directory, "ring-0")
    assert _reason(ring, control.Control) == "REGION_KIND"
    assert _reason(Path(directory, "nothing"), region.Ring) == "REGION_MISSING"
    with ring.open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("<I", 99))
    with pytest.raises(RegionError, match=r"layout version 99.*reads version 1"):
        attach(ring, region.Ring)
    with ring.open("r+b") as file:
        file.write(b"something")
    assert _reason(ring, region.Ring) == "REGION_FOREIGN"


def test_a_link_is_not_followed(directory: str) -> None:
    """A region path that is a symbolic link is refused."""
    link = Path(directory, "link")
    link.symlink_to("ring-0")
    assert _reason(link, region.Ring) == "REGION_MISSING"


def test_what_is_there_is_not_overwritten(directory: str) -> None:
    """A second run of the same id is refused, and the first keeps its files."""
    root = str(Path(directory).parent.parent)
    with pytest.raises(AlreadyExistsError):
        create_run(root, _plan())
    assert run_directories(root) == [directory]
    remove_run(directory)
    assert run_directories(root) == []


def test_a_directory_that_others_can_write_is_not_used() -> None:
    """Regions are not put where another user could replace them."""
    root = tempfile.mkdtemp(prefix="byteor-test-", dir="/dev/shm")
    try:
        directory = create_run(root, _plan())
        Path(directory).parent.chmod(0o777)
        shutil.rmtree(directory)
        with pytest.raises(DeniedError, match="wanted a directory of uid"):
            create_run(root, _plan())
    finally:
        shutil.rmtree(root)


def test_a_full_filesystem_is_an_error_with_figures_and_leaves_nothing(tmp_path: Path) -> None:
    """A tmpfs that is too small gives SHM_FULL before anything is mapped, not a SIGBUS later."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        with pytest.raises(ResourceError) as caught:
            create_run(str(tmp_path), _plan(ring="capacity = 65536"))
        assert caught.value.reason == "SHM_FULL"
        assert int(caught.value.details["free_bytes"]) <= 1 << 20
        assert run_directories(str(tmp_path)) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
