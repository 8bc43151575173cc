"""What starting a process of byteor may load."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("asyncio", "grpc", "google.protobuf", "msgspec", "numpy", "prometheus_client", "structlog")


def _loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", code]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("module", ["byteord.shim.__main__", "byteord.worker"])
def test_shim_and_worker_start_light(module: str) -> None:
    """A shim and its workers load nothing that costs milliseconds before the first message."""
    assert _loaded(module) & set(HEAVY) == set()


def test_client_help_starts_light() -> None:
    """`byteorctl --help` needs no gRPC."""
    assert _loaded("byteorctl.__main__") & {"grpc", "google.protobuf", "numpy", "byteord"} == set()
