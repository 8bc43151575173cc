"""Leases of real runs: what takes one away, what gives it back, and what that does to the run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from byteor.trust.key_set import render_key_set
from byteord._cext.control import Control
from byteord.deployment.model import ApprovalRules, Environment
from byteord.policy import files
from byteord.regions.reader import attach
from byteord.runs.manager import RunManager
from byteord.runs.state import RunState
from tests.support.runs import ENDLESS, Runs, ended, managed, run
from tests.support.trust import APPROVAL, key_set, signed, signer

EGRESS = 'kind = "udp"\nconnect = "127.0.0.1:9"'


class Disk:
    """A disk that can be full: then nothing that must survive can be written."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Stand between the policy's files and the disk."""
        self.full = False
        self._real = files.write_all
        patch.setattr(files, "write_all", self._write_all)

    def _write_all(self, descriptor: int, data: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self._real(descriptor, data)


def sending(runs: Runs, more: str = "") -> Any:
    """Return an admission of an endless run that sends datagrams."""
    return runs.admission(
        ingress=ENDLESS, egress=EGRESS, client_input=False, client_output=False, more=more
    )


def control_of(manager: RunManager, run_id: str) -> Any:
    """Return the control region of a run."""
    return attach(Path(manager.get(run_id).region_directory, "control"), Control)


def test_effects_stop_while_the_audit_log_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lease goes at once, `status` says why, the run goes on, and room gives the lease back."""
    disk = Disk(monkeypatch)

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(sending(runs))
            control = control_of(manager, view.id)
            assert control.lease_until_ns() > control.now_ns()
            disk.full = True
            manager.governor.record("x", {})
            await manager._leases.round()
            assert control.lease_until_ns() == 0
            seen = manager.get(view.id)
            assert seen.state is RunState.RUNNING
            assert seen.effects is not None
            assert (seen.effects.lease, seen.effects.reason) == ("lost", "AUDIT_NOT_WRITABLE")
            [condition] = [each for each in seen.conditions if each.type == "EffectsCovered"]
            assert (condition.status, condition.reason) == ("false", "AuditNotWritable")
            disk.full = False
            await manager._leases.round()
            await manager._leases.round()
            assert control.lease_until_ns() > control.now_ns()
            [condition] = [
                each for each in manager.get(view.id).conditions if each.type == "EffectsCovered"
            ]
            assert condition.status == "true"

    run(work, connect=("127.0.0.1:*",))


def test_a_run_with_effects_does_not_start_unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for its admission nothing of it starts; a run without effects may."""
    disk = Disk(monkeypatch)

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            disk.full = True
            with pytest.raises(Exception, match="No space left") as caught:
                await manager.start(sending(runs))
            assert getattr(caught.value, "reason", "") == "AUDIT_NOT_WRITABLE"
            assert manager.list(include_ended=True) == []
            disk.full = False

    run(work, connect=("127.0.0.1:*",))


def test_a_run_whose_policy_is_stop_fails_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_lease_lost = "stop"`: the run ends as failed, LEASE_LOST, with the cause."""
    disk = Disk(monkeypatch)

    async def work(runs: Runs) -> None:
        async with managed(runs) as manager:
            view = await manager.start(sending(runs, '[effects]\non_lease_lost = "stop"'))
            disk.full = True
            manager.governor.record("x", {})
            await manager._leases.round()
            disk.full = False
            last = await ended(manager, view.id)
            assert last.state is RunState.FAILED
            assert last.failure is not None
            assert last.failure.reason == "LEASE_LOST"
            assert "No space left" in last.failure.message

    run(work, connect=("127.0.0.1:*",))


def _approved(runs: Runs, admission: Any) -> Any:
    """Return the admission with an approval for an hour, by a person whose key is trusted."""
    alice, now = signer("alice"), int(time.time())
    path = runs.top / "key_set.json"
    row = alice.key(not_before=now - 60, not_after=now + 86_400)
    path.write_bytes(render_key_set(key_set(row)))
    path.chmod(0o600)
    runs.rules = ApprovalRules(key_set=str(path), host="host-1")
    approval = replace(
        APPROVAL,
        spec_hash=f"sha256:{admission.spec.sha256}",
        deployment_hash=f"sha256:{admission.deployment.sha256}",
        environment="staging",
        code={},
        not_before=now - 60,
        expires_at=now + 3600,
    )
    return replace(admission, approval=signed(approval, alice), principal="uid:1000")


def test_effects_end_with_their_approval() -> None:
    """When its time is over the lease goes, `status` says why, and the rest of the run goes on."""

    async def work(runs: Runs) -> None:
        admission = _approved(runs, sending(runs))
        async with managed(runs) as manager:
            view = await manager.start(admission)
            control = control_of(manager, view.id)
            assert control.lease_until_ns() > control.now_ns()
            runs.ahead_s = 3590.0
            await manager._leases.round()
            left = control.lease_until_ns() - control.now_ns()
            assert left <= (3600 + 10) * 10**9, "never past the approval's end"
            runs.ahead_s = 3700.0
            await manager._leases.round()
            assert control.lease_until_ns() == 0
            seen = manager.get(view.id)
            assert seen.state is RunState.RUNNING
            assert seen.effects is not None
            assert (seen.effects.lease, seen.effects.reason) == ("lost", "APPROVAL_EXPIRED")
            runs.ahead_s = 0.0
            await manager._leases.round()
            assert control.lease_until_ns() > control.now_ns()

    run(work, connect=("127.0.0.1:*",), environment=Environment.STAGING)
