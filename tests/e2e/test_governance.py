"""Governance end to end: a real prod daemon, a real byteorctl, real signers, a real receiver."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byteord._cext.control import Control
from byteord.regions.reader import attach
from tests.support.cli import byteorctl
from tests.support.daemon import DaemonProcess
from tests.support.poll import until

SPEC = """
version = 1
name = "egress"
model = "single_ring"
[[stages]]
name = "same"
stage = "identity"
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""


class Host:
    """A prod host: its daemon, who may approve, and a socket that counts what reaches it."""

    def __init__(self, top: Path) -> None:
        """Make keys and documents, and start the daemon."""
        self.top = top
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        self.key_set = top / "key_set.json"
        for name in ("alice", "bob"):
            self.ok("approve", "keygen", "--out", top / f"{name}.key")
            self.ok(
                "approve", "keyset", self.key_set, "--add", top / f"{name}.key.pub",
                "--owner", name, "--principal", f"cert:{name}",
            )  # fmt: skip
        self.key_set.chmod(0o644)
        self.spec = top / "spec.toml"
        self.spec.write_text(SPEC)
        (top / "deployment.toml").write_text(self.deployment())
        self.daemon = self.start("prod")

    def deployment(self, more: str = "") -> str:
        """Return a deployment that sends to the receiver."""
        port = self.receiver.getsockname()[1]
        return (
            f'version = 1\n{more}\n[adapters.in]\nkind = "generator"\nrate = 200\n'
            f'[adapters.out]\nkind = "udp"\nconnect = "127.0.0.1:{port}"\n'
        )

    def start(self, environment: str) -> DaemonProcess:
        """Start a daemon that trusts the key set."""
        config = {
            "environment": environment,
            "allow.connect": ["127.0.0.1:*"],
            "approvals.key_set": str(self.key_set),
            "approvals.host": "host-1",
        }
        return DaemonProcess(config=config).start()

    def call(self, *arguments: str | Path, daemon: DaemonProcess | None = None) -> Any:
        """Run byteorctl against a daemon."""
        address = (daemon or self.daemon).address
        return byteorctl(*arguments, "--address", address)

    def ok(self, *arguments: str | Path) -> str:
        """Run byteorctl, which must succeed; no daemon is meant."""
        done = byteorctl(*arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout.decode())

    def request(self, *options: str) -> None:
        """Ask for an approval with the daemon's hashes."""
        done = self.call("approve", "request", self.spec, "--out", self.top / "request", *options)
        assert done.returncode == 0, done.stderr

    def sign(self, *names: str) -> Path:
        """Sign the request, one after the other; return the credential."""
        path = self.top / "approval.cred"
        path.unlink(missing_ok=True)
        source = self.top / "request"
        for name in names:
            self.ok("approve", "sign", source, "--key", self.top / f"{name}.key", "--out", path)
            source = path
        return path

    def run(self, *options: str | Path, daemon: DaemonProcess | None = None) -> Any:
        """Start the run and leave it."""
        return self.call("run", self.spec, "--detach", *options, daemon=daemon)

    def refused(self, reason: str, *options: str | Path, daemon: Any = None) -> str:
        """Expect that a run is refused for a reason: exit 77, and in the audit log."""
        done = self.run(*options, daemon=daemon)
        said = str(done.stderr.decode())
        assert done.returncode == 77, said
        shown = self.call("audit", "show", "--kind", "denied", "-o", "jsonl", daemon=daemon)
        last = json.loads(shown.stdout.splitlines()[-1])
        assert (last["reason"], last["principal"]) == (reason, "uid:0")
        assert last["spec_hash"].startswith("sha256:")
        assert last["request_id"]
        return said

    def received(self) -> int:
        """Return how many datagrams have come since last asked."""
        count = 0
        while True:
            try:
                self.receiver.recv(4096)
            except BlockingIOError:
                return count
            count += 1

    def effects(self, run: str) -> Any:
        """Return what status says about a run's effects."""
        return json.loads(self.call("status", run, "-o", "json").stdout)["effects"]

    def close(self) -> None:
        """End everything."""
        self.daemon.close()
        self.receiver.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Provide a prod host."""
    made = Host(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.timeout(180)
def test_prod_lets_effects_out_by_a_matching_approval_only(host: Host) -> None:
    """Without one, with too few signers, or for another spec, deployment or environment: refused.

    Each refusal is exit 77 and stands in the audit log with its reason; nothing has left the host
    until the one that matches.
    """
    said = host.refused("APPROVAL_REQUIRED")
    assert "adapter:udp of out (127.0.0.1:" in said
    assert f"byteorctl approve request {host.spec}" in said
    host.request("--uses", "1", "--reason", "test")
    host.refused("APPROVAL_TOO_FEW_SIGNERS", "--approval", host.sign("alice"))
    approval = host.sign("alice", "bob")
    assert host.received() == 0

    host.spec.write_text(SPEC.replace('name = "same"', 'name = "other"'))
    host.refused("APPROVAL_SPEC_DIFFERS")
    host.spec.write_text(SPEC)
    host.refused("APPROVAL_DEPLOYMENT_DIFFERS", "--set", "limits.max_batch=7")
    staging = host.start("staging")
    try:
        host.refused("APPROVAL_WRONG_ENVIRONMENT", daemon=staging)
        assert staging.stop() == 0
    finally:
        staging.close()
    assert host.received() == 0

    done = host.run()  # approval.cred lies beside the spec
    assert done.returncode == 0, done.stderr
    run = done.stdout.decode().strip()
    until(host.received, 20.0, "datagrams at the receiver")
    effects = host.effects(run)
    assert (effects["lease"], effects["signers"]) == ("held", ["alice", "bob"])
    assert effects["covered_until"]
    assert "adapter:udp" in host.call("status", run).stdout.decode()
    assert host.call("stop", run, "--abort").returncode == 0
    host.refused("APPROVAL_USED_UP", "--approval", approval)

    host.request("--uses", "1", "--valid-for", "1s")
    expired = host.sign("alice", "bob")

    def over() -> bool:
        shown = byteorctl("approve", "verify", expired, "--keys", host.key_set, "--signers", "2")
        return b"APPROVAL_EXPIRED" in shown.stderr

    until(over, 20.0, "the end of the approval")
    host.refused("APPROVAL_EXPIRED", "--approval", expired)
    _check_audit(host, run)


def _check_audit(host: Host, run: str) -> None:
    """The log tells the story, and a copy of it proves itself offline and when it was changed."""
    shown = host.call("audit", "show", "--last", "0", "-o", "jsonl").stdout.splitlines()
    records = [json.loads(line) for line in shown]
    kinds = [each["kind"] for each in records if each.get("run") == run]
    assert kinds[:2] == ["run.admitted", "lease.granted"]
    admitted = next(each for each in records if each["kind"] == "run.admitted")
    assert admitted["signers"] == ["alice", "bob"]
    assert admitted["decisions"][0]["decision"] == "Allow"
    assert host.daemon.stop() == 0
    copy = host.top / "copy"
    shutil.copytree(host.daemon.directory / "state" / "audit", copy)
    (copy / "host.key").unlink()
    assert "verified" in host.ok("audit", "verify", copy)
    [segment] = copy.glob("audit-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"APPROVAL_USED_UP", b"APPROVAL_USED_OK"))
    found = byteorctl("audit", "verify", copy)
    assert found.returncode == 1
    assert b"AUDIT_CHAIN_BROKEN" in found.stdout


@pytest.mark.timeout(180)
def test_a_lease_follows_its_approval_and_outlives_no_daemon_by_long(host: Host) -> None:
    """Revocation takes the lease and says so; its end gives it back; a dead daemon lets it run out.

    The next daemon adopts the run and renews the lease, and no use is counted for that.
    """
    host.request("--uses", "1")
    host.sign("alice", "bob")
    done = host.run()
    assert done.returncode == 0, done.stderr
    run = done.stdout.decode().strip()
    [directory] = host.daemon.run_directories()
    control = attach(directory / "control", Control)
    assert 0 < control.lease_until_ns() - control.now_ns() < 10 * 10**9

    before = host.key_set.read_bytes()
    approval = host.effects(run)["approval_id"]
    host.ok("approve", "revoke", host.key_set, "--approval", approval)
    until(lambda: control.lease_until_ns() == 0, 15.0, "the lease to go")
    effects = host.effects(run)
    assert (effects["lease"], effects["reason"]) == ("lost", "APPROVAL_REVOKED")
    assert "EffectsCovered" in host.call("status", run).stdout.decode()

    version = json.loads(before)["version"]
    text = before.replace(b'"version":%d' % version, b'"version":%d' % (version + 2))
    host.key_set.write_bytes(text)
    until(lambda: control.lease_until_ns() > control.now_ns(), 15.0, "the lease to come back")

    host.daemon.kill()
    assert control.lease_until_ns() - control.now_ns() < 10 * 10**9
    last = control.lease_until_ns()
    host.daemon.start()
    until(lambda: control.lease_until_ns() > last, 15.0, "the next daemon to renew it")
    kinds = host.call("audit", "show", "--last", "0", "-o", "jsonpath={.records[*].kind}").stdout
    assert kinds.decode().split().count("lease.lost") == 1
    assert host.call("stop", run, "--abort").returncode == 0
    host.refused("APPROVAL_USED_UP")
    assert host.daemon.stop() == 0


def test_a_dry_run_needs_no_approval_and_records(host: Host) -> None:
    """In prod, without a signature: the plan says that effects are written down, not done."""
    done = host.run("--dry-run")
    assert done.returncode == 0, done.stderr
    run = done.stdout.decode().strip()
    effects = host.effects(run)
    assert effects["lease"] == "dry_run"
    assert [each["mode"] for each in effects["effects"]] == ["record"]
    assert host.call("stop", run, "--abort").returncode == 0


def test_an_external_signer_is_asked_and_checked(host: Host, tmp_path: Path) -> None:
    """A program that holds the key signs what it reads; an answer that is none is refused."""
    host.request()
    script = tmp_path / "signer.py"
    script.write_text(
        "import sys\n"
        "from byteor.trust import keys, strict\n"
        "key = open(sys.argv[1], 'rb').read()\n"
        "print(strict.encode_base64(keys.sign(key, sys.stdin.buffer.read())))\n"
    )
    import sys

    for key, code in (("alice.key", 0), ("bob.key", 77)):
        command = f"{sys.executable} {script} {host.top / key}"
        done = byteorctl(
            "approve", "sign", host.top / "request", "--signer", command,
            "--public-key", host.top / "alice.key.pub", "--out", tmp_path / "signed",
        )  # fmt: skip
        assert done.returncode == code, done.stderr
    shown = byteorctl("approve", "verify", tmp_path / "signed", "--keys", host.key_set)
    assert shown.returncode == 0, shown.stderr
    assert b"alice" in shown.stdout
