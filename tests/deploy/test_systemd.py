"""The unit, its user and its directories, as systemd reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import TOP

SYSTEMD = TOP / "deploy" / "systemd"
EXPOSURE_MAX = 1.4
"""Of 10; what is left open and why stands in the unit's comments."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def _unit(directory: Path) -> Path:
    """Return the unit with a program that exists here."""
    text = (SYSTEMD / "byteord.service").read_text()
    assert "ExecStart=/usr/bin/byteord " in text
    unit = directory / "byteord.service"
    program = Path(sys.executable).parent / "byteord"
    unit.write_text(text.replace("/usr/bin/byteord", str(program)))
    return unit


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@needs_systemd
def test_the_unit_verifies_without_a_word(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say (it exits 0 even for keys it does not know)."""
    result = _analyze("verify", "--man=no", str(_unit(tmp_path)))
    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
def test_exposure_stays_low(tmp_path: Path) -> None:
    """The offline security score does not rise above what is recorded here."""
    result = _analyze("security", "--offline=true", str(_unit(tmp_path)))
    found = re.search(r"Overall exposure level for byteord.service: ([0-9.]+)", result.stdout)
    assert found, result.stdout + result.stderr
    assert float(found[1]) <= EXPOSURE_MAX


def test_regions_and_pipelines_survive_a_stop() -> None:
    """Nothing in the unit takes the regions in /dev/shm or the shims away with the daemon."""
    lines = (SYSTEMD / "byteord.service").read_text().splitlines()
    for wanted in ("KillMode=process", "RemoveIPC=no", "RuntimeDirectoryPreserve=yes"):
        assert wanted in lines
    for refused in ("DynamicUser=yes", "PrivateUsers=yes", "PrivateIPC=yes", "RemoveIPC=yes"):
        assert refused not in lines


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here")
def test_user_and_directories_are_made(tmp_path: Path) -> None:
    """The sysusers and tmpfiles snippets make the user and the directories below a root."""
    (tmp_path / "etc").mkdir()
    for tool, name in (("sysusers", "byteor.sysusers.conf"), ("tmpfiles", "byteor.tmpfiles.conf")):
        verb = ["--create"] if tool == "tmpfiles" else []
        command = [f"systemd-{tool}", f"--root={tmp_path}", *verb, str(SYSTEMD / name)]
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
    assert "byteor:" in (tmp_path / "etc" / "passwd").read_text()
    for name in ("code", "in", "out"):
        assert (tmp_path / "var" / "lib" / "byteor" / name).is_dir()


def test_the_tuning_unit_verifies_without_a_word(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say about the unit of byteor-tune."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (SYSTEMD / "byteor-tune.service").read_text()
    program = Path(sys.executable).parent / "byteor-tune"
    assert program.exists()
    unit = tmp_path / "byteor-tune.service"
    unit.write_text(text.replace("/usr/bin/byteor-tune", str(program)))
    result = _analyze("verify", "--man=no", str(unit))
    assert (result.returncode, result.stderr) == (0, "")
    for line in ("Type=oneshot", "RemainAfterExit=yes", "Before=byteord.service"):
        assert line in text
