"""Governance end to end: a real prod daemon, a real byteorctl, real signers, a real receiver."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from byteord._cext.control import Control
from byteord.regions.reader import attach
from tests.support.cli import byteorctl, command_of
from tests.support.governed import GovernedHost
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


class Host(GovernedHost):
    """A prod host whose pipeline sends datagrams to a socket that counts what reaches it."""

    def __init__(self, top: Path) -> None:
        """Bind the receiver, then start everything."""
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        port = self.receiver.getsockname()[1]
        deployment = (
            'version = 1\n[adapters.in]\nkind = "generator"\nrate = 200\n'
            f'[adapters.out]\nkind = "udp"\nconnect = "127.0.0.1:{port}"\n'
        )
        config = {"allow.connect": ["127.0.0.1:*"]}
        super().__init__(top, spec=SPEC, deployment=deployment, config=config)

    def received(self) -> int:
        """Return how many datagrams have come since last asked."""
        count = 0
        while True:
            try:
                self.receiver.recv(4096)
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        """End everything."""
        super().close()
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
def test_prod_lets_an_adapter_out_by_a_matching_approval_only(host: Host) -> None:
    """An egress that sends is gated as a stage that acts: refused until two people signed it."""
    said = host.refused("APPROVAL_REQUIRED")
    assert "adapter:udp of out (127.0.0.1:" in said
    host.request("--uses", "1", "--reason", "test")
    host.sign("alice", "bob")
    assert host.received() == 0
    run = host.started()  # approval.cred lies beside the spec
    until(host.received, 20.0, "datagrams at the receiver")
    effects = host.effects(run)
    assert (effects["lease"], effects["signers"]) == ("held", ["alice", "bob"])
    assert effects["covered_until"]
    assert "adapter:udp" in host.call("status", run).stdout.decode()
    assert host.call("stop", run, "--abort").returncode == 0
    _check_audit(host, run)


def _check_audit(host: Host, run: str) -> None:
    """The log tells the story, and a copy of it proves itself offline and when it was changed."""
    records = host.audit()
    kinds = [each["kind"] for each in records if each.get("run") == run]
    assert kinds[:2] == ["run.admitted", "lease.granted"]
    admitted = next(each for each in records if each["kind"] == "run.admitted")
    assert admitted["signers"] == ["alice", "bob"]
    assert admitted["decisions"][0]["decision"] == "Allow"
    _check_tail(host)
    copy, public = host.top / "copy", host.top / "host.pub"
    done = host.call("audit", "export", "--out", copy)
    assert done.returncode == 0, done.stderr
    shutil.copy(host.daemon.directory / "state" / "audit" / "host.pub", public)
    assert not list(copy.glob("*.key")), "the private key stays on its host"
    assert host.daemon.stop() == 0
    assert "verified" in host.ok("audit", "verify", copy, "--key", public)
    assert b"APPROVAL_REQUIRED" in byteorctl("audit", "show", copy).stdout
    other = byteorctl("audit", "verify", copy, "--key", host.top / "alice.key.pub")
    assert other.returncode == 1, "signed by another host"
    [segment] = copy.glob("audit-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"APPROVAL_REQUIRED", b"APPROVAL_REQUESTX"))
    found = byteorctl("audit", "verify", copy)
    assert found.returncode == 1
    assert b"AUDIT_CHAIN_BROKEN" in found.stdout


def _check_tail(host: Host) -> None:
    """What is written while somebody follows comes at once."""
    command = command_of(
        "audit", "tail", "--follow", "--last", "1", "-o", "jsonl", "--address", host.daemon.address
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        before = json.loads(following.stdout.readline())["seq"]
        host.refused("APPROVAL_USED_UP")
        assert json.loads(following.stdout.readline())["seq"] == before + 1
        following.kill()


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


@pytest.mark.timeout(120)
def test_a_dry_run_needs_no_approval_and_is_seen_everywhere(host: Host) -> None:
    """In prod, without a signature: what would have been done is counted in status, watch, audit.

    Nothing reaches the receiver.
    """
    run = host.started("--dry-run")

    def would() -> int:
        return int(host.effects(run)["effects"][0]["would"])

    until(would, 20.0, "messages that would have been sent")
    effects = host.effects(run)
    assert effects["lease"] == "dry_run"
    assert [each["mode"] for each in effects["effects"]] == ["record"]
    command = command_of("watch", run, "-o", "json", "--address", host.daemon.address)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as watching:
        counts = [_would_of(watching) for _ in range(2)]
        watching.kill()
    assert 0 < counts[0] < counts[1]
    assert host.call("stop", run, "--abort").returncode == 0
    [ended] = [each for each in host.audit() if each["kind"] == "effects.ended"]
    assert (ended["run"], ended["effects"][0]["mode"]) == (run, "record")
    assert ended["effects"][0]["would"] >= counts[0]
    assert host.received() == 0


def _would_of(watching: subprocess.Popen[bytes]) -> int:
    assert watching.stdout is not None
    event = json.loads(watching.stdout.readline())
    return int(event["run"]["effects"]["effects"][0]["would"])


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
