"""A bundle from one host, run for real again on another: with the deployment, and the same keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess
from tests.support.https import Hook, https_hook
from tests.support.replayed import replay

SPEC = """
version = 1
name = "posted"
model = "single_ring"
[[stages]]
name = "keep"
stage = "filter"
config = {{ contains = "keep" }}
[[stages]]
name = "post"
stage = "http_post:{url}"
depends_on = [0]
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
DEPLOYMENT = """
version = 1
[capture]
directory = "{top}/captures"
[bundle]
payload = true
config = ["stages.post.target"]
[actions]
ca_file = "{ca}"
[adapters.in]
kind = "stdin"
framing = "lines"
[adapters.out]
kind = "stdout"
framing = "lines"
"""
MESSAGES = 12
POSTED = 9


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    """Provide a server that is posted to."""
    with https_hook(tmp_path) as found:
        yield found


@pytest.fixture
def daemon(tmp_path: Path, hook: Hook) -> Iterator[DaemonProcess]:
    """Provide a daemon whose configuration lets replays act."""
    config = {
        "allow.url_prefixes": [hook.url.rpartition("/")[0] + "/"],
        "allow.read_dirs": [str(tmp_path)],
        "allow.write_dirs": [str(tmp_path)],
        "replay.policy": "execute",
    }
    started = DaemonProcess(config=config).start()
    try:
        yield started
    finally:
        started.close()


def test_a_bundle_acts_again_with_the_deployment_and_the_original_keys(
    tmp_path: Path, hook: Hook, daemon: DaemonProcess
) -> None:
    """Without the deployment, which says where effects go and leaves redacted, it is refused."""
    spec, deployment = tmp_path / "spec.toml", tmp_path / "deployment.toml"
    spec.write_text(SPEC.format(url=hook.url))
    deployment.write_text(DEPLOYMENT.format(top=tmp_path, ca=hook.ca))
    given = tmp_path / "input"
    given.write_text("".join(f"{n} {'drop' if n % 4 == 3 else 'keep'}\n" for n in range(MESSAGES)))
    address = ("--address", daemon.address)
    ran = byteorctl(*address, "run", spec, "--input", given, "--output", tmp_path / "output")
    assert ran.returncode == 0, ran.stderr
    live = list(hook.posts)
    assert len(live) == POSTED
    told = re.search(r"run (\S+): completed", str(ran.stderr))
    assert told is not None
    bundle = tmp_path / "incident.tar.gz"
    taken = byteorctl(*address, "incident-bundle", told[1], "--out", bundle)
    assert taken.returncode == 0, taken.stderr
    code, _, said = replay(daemon.address, bundle, "--execute")
    assert (code, "--deployment" in said) == (77, True), said
    assert hook.posts == live
    code, result, said = replay(daemon.address, bundle, "--execute", "--deployment", deployment)
    assert (code, result["mode"], result["verdict"]) == (0, "execute", "equal"), said
    assert hook.posts[POSTED:] == live
