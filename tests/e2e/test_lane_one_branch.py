"""A router that sends everything one way, before a merge by time: the other way holds nobody up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import byteorctl
from tests.support.daemon import running_daemon

SPEC = """
version = 1
name = "one-branch"
model = "lane_graph"
[[lanes]]
name = "a"
{kind}
[[lanes]]
name = "b0"
capacity = 8
[[lanes]]
name = "b1"
capacity = 8
[[lanes]]
name = "c"
[[roles]]
name = "route"
kind = "router"
mode = "key_hash"
key = {{ offset = 0, length = 1 }}
rx = ["a"]
tx = ["b0", "b1"]
[[roles]]
name = "join"
kind = "merge"
mode = "ordered"
rx = ["b0", "b1"]
tx = ["c"]
[[endpoints]]
name = "in"
kind = "ingress"
lane = "a"
[[endpoints]]
name = "side"
kind = "egress"
lane = "a"
[[endpoints]]
name = "out"
kind = "egress"
lane = "c"
"""
DEPLOYMENT = """
version = 1
[adapters.in]
kind = "stdin"
[adapters.side]
kind = "discard"
[adapters.out]
kind = "stdout"
[tuning]
fuse = "never"
"""
KINDS = {
    "journal": 'kind = "journal"',
    "lossless": 'kind = "fanout_broadcast"\ncapacity = 1024',
    "lossy": 'kind = "fanout_broadcast"\ncapacity = 1024\nlossy = ["route"]',
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_a_branch_that_gets_nothing_holds_nobody_up(tmp_path: Path, kind: str) -> None:
    """Also where the router's input never runs dry, and is read without holding its writer up."""
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC.format(kind=KINDS[kind]))
    (tmp_path / "deployment.toml").write_text(DEPLOYMENT)
    given = tmp_path / "given"
    given.write_text("".join(f"x{n}\n" for n in range(600)))
    with running_daemon() as daemon:
        done = byteorctl(
            "--address", daemon.address, "run", spec,
            "--input", given, "--output", tmp_path / "taken",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "taken").read_text() == given.read_text()
