"""The shipped configuration of the daemon."""

from __future__ import annotations

import subprocess
import sys

from tests.support.tree import TOP

SYSTEMD = TOP / "deploy" / "systemd"


def test_the_example_configuration_is_valid() -> None:
    """`byteord --check` accepts the shipped configuration."""
    program = [sys.executable, "-m", "byteord"]
    command = [*program, "--config", str(SYSTEMD / "byteord.toml"), "--check"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
