"""Replays that would act: dry by default, for real only under all of policy, by the same keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byteord.stages.actions.stage import idempotency_key
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess
from tests.support.https import Hook, https_hook
from tests.support.recordings import RUN_ID, Frame, frames
from tests.support.replayed import Pipeline, replay

POSTS = """
[[stages]]
name = "post"
stage = "http_post:{url}"
depends_on = [0]
"""
SPEC = """
version = 1
name = "posted"
model = "single_ring"
[[stages]]
name = "keep"
stage = "filter"
config = {{ contains = "keep" }}
{posts}
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""


class Host:
    """A prod host that may post to the hook, and a capture of a run that did."""

    def __init__(self, top: Path, hook: Hook) -> None:
        """Make keys, documents and the capture, and start the daemon."""
        self.top, self.hook = top, hook
        self.key_set = top / "key_set.json"
        for name in ("alice", "bob"):
            self.ok("approve", "keygen", "--out", top / f"{name}.key")
            self.ok(
                "approve", "keyset", self.key_set, "--add", top / f"{name}.key.pub",
                "--owner", name, "--principal", f"cert:{name}",
            )  # fmt: skip
        self.key_set.chmod(0o644)
        self.pipeline = Pipeline(top / "pipeline")
        self.spec = self.pipeline.place / "spec.toml"
        self.spec.write_text(SPEC.format(posts=POSTS.format(url=hook.url)))
        config: dict[str, Any] = {
            "environment": "prod",
            "allow.url_prefixes": [hook.url.rpartition("/")[0] + "/"],
            "allow.read_dirs": [str(top)],
            "approvals.key_set": str(self.key_set),
            "approvals.host": "host-1",
            "replay.policy": "execute",
        }
        self.daemon = DaemonProcess(config=config).start()

    def capture(self, given: list[Frame]) -> Path:
        """Return the capture of a run that was given that."""
        kept = [frame for frame in given if b"keep" in frame.payload]
        return self.pipeline.capture(
            given,
            spec=self.spec,
            environment="prod",
            outputs=kept,
            more=f'[actions]\nca_file = "{self.hook.ca}"\n',
        )

    def ok(self, *arguments: str | Path) -> None:
        """Run byteorctl, which must succeed."""
        done = byteorctl(*arguments)
        assert done.returncode == 0, done.stderr

    def approval(self) -> Path:
        """Return an approval of a replay that acts, signed by two."""
        deployment = self.pipeline.place / "deployment.toml"
        self.ok(
            "approve", "request", self.spec, "--deployment", deployment, "--address",
            self.daemon.address, "--capability", "replay_execute", "--uses", "1",
            "--reason", "again", "--out", self.top / "request",
        )  # fmt: skip
        path, source = self.top / "approval.cred", self.top / "request"
        for name in ("alice", "bob"):
            self.ok("approve", "sign", source, "--key", self.top / f"{name}.key", "--out", path)
            source = path
        return path

    def audits(self) -> list[dict[str, Any]]:
        """Return the audits that the daemon keeps, oldest first."""
        kept = (self.daemon.directory / "state" / "replays").glob("*.json")
        found = [json.loads(path.read_text()) for path in kept]
        return sorted(found, key=lambda each: each["created_unix_ms"])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Provide a prod host."""
    with https_hook(tmp_path) as hook:
        made = Host(tmp_path, hook)
        try:
            yield made
        finally:
            made.daemon.close()


def _given(count: int) -> list[Frame]:
    return frames([f"{n} {'drop' if n % 4 == 3 else 'keep'}".encode() for n in range(count)])


def _keys(given: list[Frame]) -> list[str]:
    kept = [frame for frame in given if b"keep" in frame.payload]
    return [
        idempotency_key(
            RUN_ID, "post", frame.rx_sequence, hashlib.sha256(frame.payload).hexdigest()
        )
        for frame in kept
    ]


@pytest.mark.timeout(120)
def test_it_acts_in_prod_by_an_approval_alone_and_with_the_original_keys(host: Host) -> None:
    """Dry by default; with --execute refused (77, audited) without approval, done with it."""
    given = _given(12)
    capture = host.capture(given)
    deployment = host.pipeline.place / "deployment.toml"
    code, result, said = replay(host.daemon.address, capture)
    assert (code, result["verdict"], result["actions"]) == (0, "equal", 9), said
    assert host.hook.attempts == []
    written = json.loads(json.dumps(host.audits()[-1]["actions"]))
    assert [row["key"] for row in written] == _keys(given)
    assert {row["decision"] for row in written} == {"DryRunOnly"}
    assert {(row["action"], row["input_lane"], row["stage"]) for row in written} == {
        ("http_post", "ring-0", f"http_post:{host.hook.url}")
    }
    execute: list[str | Path] = [capture, "--execute", "--deployment", deployment]
    code, _, said = replay(host.daemon.address, *execute)
    assert code == 77, said
    assert host.hook.attempts == []
    assert host.audits()[-1]["refused"]["reason"] == "APPROVAL_REQUIRED"
    assert host.audits()[-1]["policy"]["mode"] == "execute"
    approval = host.approval()
    code, result, said = replay(host.daemon.address, *execute, "--approval", approval)
    assert (code, result["mode"], result["actions"]) == (0, "execute", 9), (said, result)
    assert [key for key, _ in host.hook.posts] == _keys(given)
    assert {row["decision"] for row in host.audits()[-1]["actions"]} == {"Allow"}
    code, _, said = replay(host.daemon.address, *execute, "--approval", approval)
    assert code == 77, said
    assert host.audits()[-1]["refused"]["reason"] == "APPROVAL_USED_UP"


@pytest.mark.timeout(120)
def test_it_stops_at_the_limit_of_actions_and_says_so(host: Host) -> None:
    """10,000 attempts by default, dry ones too; an approved replay stops at a lower limit."""
    given = _given(13_400)
    capture = host.capture(given)
    code, result, said = replay(host.daemon.address, capture)
    assert (code, result["stopped_by"], result["actions"]) == (1, "actions_limit", 10_000), said
    audit = host.audits()[-1]
    assert audit["limits"]["actions_max"] == 10_000
    assert audit["limits"]["actions_reached"] is True
    assert audit["result"]["stopped_by"] == "actions_limit"
    assert len(audit["actions"]) == 10_000
    deployment = host.pipeline.place / "deployment.toml"
    code, result, said = replay(
        host.daemon.address, capture, "--execute", "--deployment", deployment,
        "--approval", host.approval(), "--max-actions", "20",
    )  # fmt: skip
    assert (code, result["stopped_by"], result["actions"]) == (1, "actions_limit", 20), said
    assert [key for key, _ in host.hook.posts] == _keys(given)[:20]
