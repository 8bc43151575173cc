"""The governor: lets runs in, gives their effects a lease or none, and writes down what it did.

Owns the order of things: verify, decide, count the use, write it down, and only then let it happen.
Blocks on small files and on the disk: not for an event loop. It must not know how runs are started.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byteor.trust.verdict import Held, Wanted
from byteord.deployment.model import (
    ApprovalRules,
    Authority,
    Deployment,
    Environment,
    SideEffects,
)
from byteord.errors import ByteorError, DeniedError, ResourceError
from byteord.policy import judge as judging
from byteord.policy.approvals import Approvals, covered
from byteord.policy.audit import AuditLog
from byteord.policy.decide import REPLAY_EXECUTE, Question, Verdict, decide
from byteord.policy.denials import Denials
from byteord.policy.judge import Judged, judge
from byteord.policy.needs import AnySpec, needs
from byteord.spec.stage_key import shown_target

LEASE_S = 10.0
"""How far ahead a lease reaches: what a daemon that dies lets happen."""
_STRICTNESS = tuple(Environment)
_EFFECTS_STRICTNESS = tuple(SideEffects)


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that somebody wants to start."""

    spec: AnySpec
    deployment: Deployment
    code: Mapping[str, str]
    principal: str
    run_id: str
    credential: bytes = b""
    request_id: str = ""
    replay: str = ""
    """Of a replay, its policy: `disabled`, `dry_run_only`, `execute`; empty: an ordinary run."""

    @property
    def method(self) -> str:
        """Return the method of the API that asks."""
        return "Replay" if self.replay else "StartRun"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a run may do: the decision about each need, and the approval if one was needed."""

    judged: tuple[Judged, ...]
    held: Held | None = None

    @property
    def acting(self) -> tuple[str, ...]:
        """Capabilities that are really used, which need a lease."""
        return tuple(sorted({each.need.capability for each in self.judged if each.mode == "act"}))


@dataclass(frozen=True, slots=True)
class Running:
    """A run whose effects want a lease."""

    run_id: str
    environment: str
    side_effects: str
    capabilities: tuple[str, ...]
    spec_hash: str
    deployment_hash: str
    code: Mapping[str, str]
    principal: str
    credential: bytes = b""
    replay: bool = False
    """It is a replay that executes."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Until when effects may happen (0: not at all), and why."""

    until_unix: float
    reason: str
    message: str
    held: Held | None = None


class Governor:
    """One daemon's governor, open between `open` and `close`. Any thread."""

    def __init__(
        self,
        authority: Authority,
        rules: ApprovalRules,
        state_dir: str,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`state_dir`: the daemon's directory of what must survive."""
        self.authority = authority
        self.approvals = Approvals(rules, os.path.join(state_dir, "approvals"))
        self.audit = AuditLog(os.path.join(state_dir, "audit"))
        self.actions_dir = os.path.join(state_dir, "actions")
        """Where the action journals of ended runs are kept."""
        self.decisions: Counter[str] = Counter()
        self._directory = os.path.join(state_dir, "approvals")
        self._denials = Denials()
        self._lock = threading.Lock()
        self._now = now

    def open(self) -> None:
        """Read what an earlier daemon left, and continue the audit log; OSError."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        self.approvals.open(self._now())
        self.audit.open()

    def close(self) -> None:
        """Write what was only counted, cover the log with a checkpoint, let go."""
        self._flush_denials(self._now() + 3600)
        self.audit.close()

    # --- letting in

    def check(self, asked: Asked) -> Grant:
        """Return what a run would be granted; nothing is counted or written down.

        Raises DeniedError: POLICY_DENIED, APPROVAL_REQUIRED, or why the approval does not hold.
        """
        if asked.replay == "disabled":
            raise DeniedError(
                "this daemon replays nothing: replay.policy of its configuration is disabled",
                reason="POLICY_DENIED",
            )
        wanted = needs(asked.spec, asked.deployment)
        environment, effects = str(asked.deployment.environment), asked.deployment.effects
        judged = judge(wanted, environment, effects, None, replay=asked.replay)
        held = None
        if judging.refused(judged, Verdict.REQUIRE_APPROVAL) and asked.credential:
            wanting = {need.capability for need in wanted} | (
                {REPLAY_EXECUTE} if asked.replay else set()
            )
            held = self._verify(asked, tuple(sorted(wanting)))
            judged = judge(wanted, environment, effects, covered(held), replay=asked.replay)
        judging.check(judged, environment, self.approvals.signers_min(environment))
        return Grant(judged, held)

    def admit(self, asked: Asked) -> Grant:
        """Let a run in: decide, count the use of its approval, write it down.

        Raises what `check` raises (written down too), and ResourceError when the run has effects
        that cannot be recorded.
        """
        try:
            grant = self.check(asked)
            self._count(grant)
            if grant.held is not None:
                self.approvals.use(grant.held, asked.run_id)
        except ByteorError as error:
            self._count_refusal(error)
            self.denied(asked.principal, asked.method, error, _facts(asked))
            raise
        self._record_admission(asked, grant)
        return grant

    def denied(
        self, principal: str, method: str, error: ByteorError, facts: Mapping[str, Any]
    ) -> None:
        """Write down a denied attempt, or count it if its principal has many. Never raises."""
        with self._lock:
            single = self._denials.admit(principal, error.reason, self._now())
        if not single:
            return
        data = {
            "principal": principal,
            "method": method,
            "reason": error.reason,
            "message": error.message,
            **facts,
        }
        self._try_append("denied", data)

    def _verify(self, asked: Asked, capabilities: tuple[str, ...]) -> Held:
        wanted = Wanted(
            spec_hash=f"sha256:{asked.spec.sha256}",
            deployment_hash=f"sha256:{asked.deployment.sha256}",
            code=asked.code,
            environment=str(asked.deployment.environment),
            host=self.approvals.host,
            capabilities=capabilities,
            principal=asked.principal,
        )
        return self.approvals.verify(asked.credential, wanted, run_id=asked.run_id, now=self._now())

    def _record_admission(self, asked: Asked, grant: Grant) -> None:
        data = {**_facts(asked), "principal": asked.principal, "method": asked.method}
        data["decisions"] = [_decision(each) for each in grant.judged]
        if grant.held is not None:
            data |= _approval(grant.held)
        if not grant.acting:
            self._try_append("run.admitted", data)
            return
        if self.audit.problem:
            raise ResourceError(
                f"{self.audit.problem}; side effects that cannot be recorded do not happen",
                reason="AUDIT_NOT_WRITABLE",
            )
        self.audit.append("run.admitted", data)

    def _try_append(self, kind: str, data: Mapping[str, Any]) -> bool:
        try:
            self.audit.append(kind, data)
        except ResourceError:
            return False
        return True

    def _count(self, grant: Grant) -> None:
        with self._lock:
            self.decisions.update(str(each.decision.verdict) for each in grant.judged)

    def _count_refusal(self, error: ByteorError) -> None:
        required = error.reason == "APPROVAL_REQUIRED"
        with self._lock:
            self.decisions[str(Verdict.REQUIRE_APPROVAL if required else Verdict.DENY)] += 1

    # --- leases

    def lease(self, run: Running) -> Lease:
        """Return the lease that a run's effects have now. Never raises."""
        now = self._now()
        if self.audit.problem:
            return Lease(0.0, "AUDIT_NOT_WRITABLE", self.audit.problem)
        if _STRICTNESS.index(Environment(run.environment)) < _STRICTNESS.index(
            self.authority.environment
        ):
            text = f"admitted in {run.environment}; this daemon is {self.authority.environment}"
            return Lease(0.0, "ENVIRONMENT_STRICTER", text)
        verdict = self._verdict(run, None)
        if verdict.verdict is Verdict.ALLOW:
            return Lease(now + LEASE_S, "NO_APPROVAL_NEEDED", verdict.reason)
        if verdict.verdict is not Verdict.REQUIRE_APPROVAL:
            return Lease(0.0, "POLICY_DENIED", verdict.reason)
        try:
            held = self._still_held(run, now)
        except ByteorError as error:
            return Lease(0.0, error.reason, error.message)
        until = min(now + LEASE_S, float(held.approval.expires_at))
        return Lease(until, "APPROVAL_HOLDS", f"signed by {', '.join(held.signers)}", held)

    def record_lease(self, run: Running, lease: Lease) -> bool:
        """Write down that a lease was granted or lost; False when that cannot be."""
        data: dict[str, Any] = {"run": run.run_id, "reason": lease.reason, "message": lease.message}
        if lease.held is not None:
            data |= _approval(lease.held)
        kind = "lease.granted" if lease.until_unix else "lease.lost"
        return self._try_append(kind, data)

    def record(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Write down something that happened; False when that cannot be."""
        return self._try_append(kind, data)

    def tick(self, actions: Mapping[str, Any]) -> dict[str, Any] | None:
        """Do what is due: repeated denials, the log's recovery, a checkpoint, which is returned."""
        self._flush_denials(self._now())
        return self.audit.tick(actions)

    def _verdict(self, run: Running, held: Held | None) -> Any:
        """Return the decision about the capability that fares worst."""
        floor = self.authority.side_effects
        side_effects = max(SideEffects(run.side_effects), floor, key=_EFFECTS_STRICTNESS.index)
        decisions = [
            decide(
                Question(
                    environment=run.environment,
                    capability=capability,
                    mode="replay" if run.replay else "run",
                    replay_policy="execute" if run.replay else "dry_run_only",
                    dry_run=self.authority.dry_run,
                    side_effects=str(side_effects),
                    approved=covered(held) if held else None,
                )
            )
            for capability in run.capabilities
        ]
        order = (Verdict.ALLOW, Verdict.REQUIRE_APPROVAL, Verdict.DRY_RUN_ONLY, Verdict.DENY)
        return max(decisions, key=lambda each: order.index(each.verdict))

    def _still_held(self, run: Running, now: float) -> Held:
        if not run.credential:
            raise DeniedError("the run has no approval", reason="APPROVAL_REQUIRED")
        wanted = Wanted(
            spec_hash=run.spec_hash,
            deployment_hash=run.deployment_hash,
            code=run.code,
            environment=run.environment,
            host=self.approvals.host,
            capabilities=(*run.capabilities, REPLAY_EXECUTE) if run.replay else run.capabilities,
            principal=run.principal,
            counted=False,
        )
        held = self.approvals.verify(run.credential, wanted, run_id=run.run_id, now=now)
        verdict = self._verdict(run, held)
        if verdict.verdict is not Verdict.ALLOW:
            raise DeniedError(verdict.reason, reason="APPROVAL_CAPABILITY_MISSING")
        return held

    def _flush_denials(self, now: float) -> None:
        with self._lock:
            repeated: Sequence[Mapping[str, Any]] = self._denials.take(now)
        for data in repeated:
            self._try_append("denied.repeated", data)


def _facts(asked: Asked) -> dict[str, Any]:
    return {
        "run": asked.run_id,
        "name": asked.spec.name,
        "request_id": asked.request_id,
        "environment": str(asked.deployment.environment),
        "spec_hash": f"sha256:{asked.spec.sha256}",
        "deployment_hash": f"sha256:{asked.deployment.sha256}",
        "code": dict(asked.code),
    }


def _decision(judged: Judged) -> dict[str, str]:
    need, decision = judged.need, judged.decision
    return {
        "where": need.where,
        "capability": need.capability,
        "target": shown_target(need.capability, need.target)[:1024],
        "decision": str(decision.verdict),
        "reason": decision.reason,
    }


def _approval(held: Held) -> dict[str, Any]:
    return {
        "approval": held.approval.approval_id,
        "signers": list(held.signers),
        "assurance": held.assurance,
        "expires_at": held.approval.expires_at,
    }
