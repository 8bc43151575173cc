"""The stage that acts: order, lease, journal, retries. What one attempt is, its actor knows.

Owns when an action may happen and when it counts as done. Messages pass through untouched, in
order: with a concurrency above 1 actions of neighbouring messages overlap, their order on the way
out does not change. It may take long: each wait tells the shim that it is alive.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from byteord.deployment.actions import COUNTERS
from byteord.deployment.model import ActionLimits
from byteord.errors import StageError
from byteord.stages.actions import journal as lines
from byteord.stages.actions.budget import ActionBudget
from byteord.stages.actions.journal import ActionJournal
from byteord.stages.actions.result import Attempt, backoff_s

_WORDS_BEFORE = 8
"""Words of the report that no undone batch takes back: none of these are used."""
_TICK_S = 0.05
_STOP = 4


class Actor(Protocol):
    """Does one attempt."""

    @property
    def target(self) -> str:
        """What it acts on, fit for a journal."""

    def act(self, payload: bytes, key: str) -> Attempt:
        """Try once; never raises for what the other side does."""

    def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stage stands in its run."""

    run_id: str
    role: str
    role_index: int
    unit: int
    policy: str
    """Without a lease: `hold`, `dead_letter` or `stop`."""
    sequence_base: int = 0
    """What a replay adds to a sequence to have the recorded one."""


def idempotency_key(run_id: str, role: str, sequence: int, content: str) -> str:
    """Return the key of a message: the same whenever its action is done again.

    `role` tells stages and shards of a run apart, `content` (the hex SHA-256 of the payload)
    messages that a crash gave the same sequence.
    """
    text = f"{run_id}\0{role}\0{sequence}\0{content}"
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class ActionStage:
    """Acts on each message; the object behind a `PythonStage`."""

    def __init__(
        self,
        place: Place,
        actor: Actor | None,
        limits: ActionLimits,
        *,
        control: Any,
        journal: ActionJournal,
        state_view: Any,
        target: str,
        budget: ActionBudget | None = None,
    ) -> None:
        """`actor` None: write down what would be done. `state_view` gives the report's memory.

        `budget`: attempts that a replay may make; None: any number.
        """
        self._place, self._actor, self._limits = place, actor, limits
        self._control, self._journal, self._state_view = control, journal, state_view
        self._target, self._budget = target, budget
        self._chance = random.Random()  # noqa: S311 - jitter, no secret
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._waiting = 0
        self._pool = ThreadPoolExecutor(limits.concurrency, "action")

    def process(self, batch: Any) -> None:
        """Act on every message of the batch; the first that cannot be done fails the stage."""
        base = self._place.sequence_base
        sequences = [sequence + base for sequence in batch.sequences]
        if not sequences:
            return
        self._journal.begin_batch(self._place.role, sequences[0])
        self._counts = dict.fromkeys(COUNTERS, 0)
        with memoryview(self._state_view()) as area, area.cast("Q") as words:
            before = list(words[_WORDS_BEFORE : _WORDS_BEFORE + len(COUNTERS)])
            running: list[tuple[int, Future[str]]] = []
            failed: tuple[int, str] | None = None
            at = 0
            while running or (at < len(sequences) and failed is None):
                while (
                    at < len(sequences) and failed is None
                    and len(running) < self._limits.concurrency
                ):  # fmt: skip
                    payload = bytes(batch[at])
                    running.append((at, self._pool.submit(self._one, sequences[at], payload)))
                    at += 1
                why = self._wait(running[0][1], words, before)
                if why and failed is None:
                    failed = running[0][0], why
                running.pop(0)
            self._show(words, before)
        if failed is not None:
            batch.payload(failed[0])
            raise StageError(f"{self._target}: {failed[1]}", reason="ACTION_FAILED")

    def _wait(self, future: Future[str], words: Any, base: list[int]) -> str:
        """Return why a message could not be done, once it is over; stay visible meanwhile."""
        while True:
            try:
                return future.result(_TICK_S)
            except TimeoutError:
                self._show(words, base)
                self._control.beat(
                    self._place.role_index, "blocked" if self._waiting else "running"
                )
                if self._control.command(self._place.unit) == _STOP:
                    self._leave()

    def _leave(self) -> None:
        """The run is aborted: nothing of the batch was committed, so this process just ends."""
        if self._actor is not None:
            self._actor.close()
        os._exit(0)

    def _show(self, words: Any, base: list[int]) -> None:
        with self._lock:
            for index, name in enumerate(COUNTERS):
                words[_WORDS_BEFORE + index] = base[index] + self._counts[name]

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    # --- in a thread of the pool

    def _one(self, sequence: int, payload: bytes) -> str:
        """Do one message, as often as it takes; return why it could not be done, or nothing."""
        place, content = self._place, hashlib.sha256(payload).hexdigest()
        known = self._journal.claim(place.role, sequence, content)
        if known is not None and known[1]:
            self._count("done_before")
            return ""
        key = known[0] if known else idempotency_key(place.run_id, place.role, sequence, content)
        note: dict[str, Any] = {
            "role": place.role,
            "sequence": sequence,
            "key": key,
            "target": self._target,
            "bytes": len(payload),
            "sha256": content,
        }
        if self._budget is not None and not self._budget.take():
            most = self._budget.most
            return f"ACTION_LIMIT: the replay has attempted {most:,} actions, its limit"
        if self._actor is None:
            self._journal.write(lines.WOULD, **note)
            self._count("would_have_acted")
            return ""
        verdict = self._lease(note, payload)
        if verdict is not None:
            return verdict
        self._journal.write(lines.BEGIN, sync=True, **note)
        return self._try(self._actor, note, payload)

    def _try(self, actor: Actor, note: dict[str, Any], payload: bytes) -> str:
        """Try until it is done, cannot be done, or may not be tried again; as `_one`."""
        attempt, result = 0, Attempt(False, "not tried")
        for attempt in range(self._limits.retries_max + 1):
            result = actor.act(payload, note["key"])
            if result.ok:
                self._journal.write(lines.DONE, attempts=attempt + 1, result=result.text, **note)
                self._count("acted")
                return ""
            if not result.retryable or attempt == self._limits.retries_max:
                break
            self._count("retried")
            self._pause(attempt, result)
            verdict = self._lease(note, payload)
            if verdict is not None:
                return verdict
        why = f"{result.text} after {attempt + 1} attempt{'s' if attempt else ''}"
        kept = self._journal.dead_letter(payload, why=why, **note)
        self._journal.write(lines.GAVE_UP, attempts=attempt + 1, result=result.text, **note)
        self._count("gave_up")
        return why if kept else f"{why}; the file of dead letters is full, so it was not kept"

    def _lease(self, note: dict[str, Any], payload: bytes) -> str | None:
        """Wait for the lease as the policy says: None to go on, else what becomes of it."""
        if self._has_lease():
            return None
        if self._place.policy == "stop":
            return "the run has no lease for side effects, and effects.on_lease_lost is stop"
        if self._place.policy == "dead_letter" and self._set_aside(note, payload):
            return ""
        self._count("held")
        with self._lock:
            self._waiting += 1
        while not self._has_lease():
            time.sleep(_TICK_S)
        with self._lock:
            self._waiting -= 1
        return None

    def _set_aside(self, note: dict[str, Any], payload: bytes) -> bool:
        """Keep the message as a dead letter; False when no more fit: then it has to wait."""
        if not self._journal.dead_letter(payload, why="the run has no lease", **note):
            return False
        self._journal.write(lines.DEAD_LETTER, **note)
        self._count("dead_lettered")
        return True

    def _has_lease(self) -> bool:
        return bool(self._control.now_ns() < self._control.lease_until_ns())

    def _pause(self, attempt: int, result: Attempt) -> None:
        limits = self._limits
        pause = backoff_s(
            attempt,
            first_s=limits.backoff_ms / 1000,
            most_s=limits.backoff_max_ms / 1000,
            chance=self._chance,
        )
        time.sleep(max(pause, result.retry_after_s))
