"""Approvals as this daemon takes them: its keys, its rules, its count of uses.

Trusted keys come from the daemon's configuration alone. Blocks on small files; safe to call from
several threads.
"""

from __future__ import annotations

import os
import threading

from byteor.trust.approval import parse_credential
from byteor.trust.strict import TrustError
from byteor.trust.verdict import Held, Rules, Wanted, check
from byteord.deployment.model import ApprovalRules, Environment
from byteord.errors import DeniedError
from byteord.policy.decide import Approved
from byteord.policy.key_ring import KeyRing
from byteord.policy.ledger import Ledger


class Approvals:
    """Verifies credentials and counts their uses."""

    def __init__(self, rules: ApprovalRules, directory: str) -> None:
        """`directory`: where the ledger and the memory of the key set are."""
        self.rules = rules
        self.host = rules.host or os.uname().nodename
        self._ring = KeyRing(rules.key_set, os.path.join(directory, "key_set_seen.json"))
        self._ledger = Ledger(os.path.join(directory, "uses"))
        self._lock = threading.Lock()

    def open(self, now: float) -> None:
        """Read the ledger."""
        self._ledger.open(now)

    def signers_min(self, environment: str) -> int:
        """Return how many different people must sign in an environment."""
        if environment == Environment.PROD:
            return self.rules.signers_prod
        return self.rules.signers_staging if environment == Environment.STAGING else 1

    def verify(self, data: bytes, wanted: Wanted, *, run_id: str, now: float) -> Held:
        """Return the approval if it holds for a run.

        Raises DeniedError with the reason of `byteor.trust.verdict` or of the key set, DataError
        when the ledger cannot be trusted.
        """
        try:
            credential = parse_credential(data)
            with self._lock:
                key_set = self._ring.current()
            uses = 0
            if wanted.counted and credential.approval.max_uses:
                uses = self._ledger.uses(credential.approval.approval_id, run_id)
            return check(
                credential,
                key_set,
                wanted=wanted,
                rules=self._rules(wanted.environment),
                now=now,
                uses=uses,
            )
        except TrustError as error:
            raise DeniedError(error.message, reason=error.reason) from error
        except OSError as error:
            text = f"key set {self.rules.key_set}: {error.strerror}"
            raise DeniedError(text, reason="KEY_SET_MISSING") from error

    def use(self, held: Held, run_id: str) -> None:
        """Count the use of an approval by a run; the same run is counted once.

        Raises DeniedError (APPROVAL_USED_UP), and what the ledger raises: then it was not used.
        """
        approval = held.approval
        if not self._ledger.use(
            approval.approval_id, run_id, approval.expires_at, approval.max_uses
        ):
            text = f"approval: {approval.approval_id} was used {approval.max_uses} times, as it may"
            raise DeniedError(text, reason="APPROVAL_USED_UP")

    def _rules(self, environment: str) -> Rules:
        return Rules(
            signers_min=self.signers_min(environment),
            v1_scope=self.rules.v1_scope,
            clock_skew_s=self.rules.clock_skew_s,
            validity_max_s=self.rules.validity_s_max,
        )


def covered(held: Held) -> Approved:
    """Return what the policy engine needs to know of an approval that holds."""
    return Approved(held.approval.environment, frozenset(held.approval.capabilities))
