"""The scrape configuration and the alert rules, as Prometheus reads them, on a real scrape."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess, running_daemon
from tests.support.poll import until
from tests.support.tree import TOP

PROMETHEUS = TOP / "deploy" / "prometheus"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)
SPEC = """
version = 1
name = "metrics"
model = "single_ring"
[[stages]]
name = "pass"
stage = "identity"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "generator"
rate = 1000
[adapters.out]
kind = "discard"
[capture]
directory = "captures"
"""


def _promtool(
    *arguments: str | Path, page: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    command: Sequence[str | Path] = ["promtool", "check", *arguments]
    return subprocess.run(
        command, input=page, capture_output=True, check=False, timeout=60, cwd=PROMETHEUS
    )


@needs_promtool
def test_configuration_and_rules_are_valid() -> None:
    """`promtool check config` accepts the scrape configuration and, through it, the rules."""
    result = _promtool("config", "prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert b"SUCCESS" in result.stdout


def _page(daemon: DaemonProcess) -> bytes:
    url = f"http://{daemon.events('daemon.ready')[0]['metrics']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def test_every_metric_of_the_rules_is_scraped(tmp_path: Path) -> None:
    """A scrape of a daemon with a run has every metric that a rule names, and promtool likes it."""
    (tmp_path / "spec.toml").write_text(SPEC)
    (tmp_path / "deployment.toml").write_text(DEPLOYMENT)
    rules = (PROMETHEUS / "byteor.rules.yml").read_text()
    wanted = {name.encode() for name in re.findall(r"\bbyteor_\w+", rules)}
    with running_daemon(config={"allow.write_dirs": [str(tmp_path)]}) as daemon:
        where = ["--address", daemon.address]
        started = byteorctl(*where, "run", "--detach", tmp_path / "spec.toml")
        assert started.returncode == 0, started.stderr
        until(lambda: b"byteor_end_to_end_seconds_bucket" in _page(daemon), 20.0, "a full scrape")
        page = _page(daemon)
        stopped = byteorctl(*where, "stop", "metrics")
        assert stopped.returncode == 0, stopped.stderr
    found = set(re.findall(rb"^(?:# TYPE )?(\w+)(?:\{| )", page, re.MULTILINE))
    assert wanted - found == set()
    if shutil.which("promtool"):
        checked = _promtool("metrics", page=page)
        assert (checked.returncode, checked.stdout) == (0, b""), checked.stdout + checked.stderr
