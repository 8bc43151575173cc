"""The threads of a worker: each runs its units to their end, and what the worker then ends with.

Owns what a failure in one of them means for the others: they go on, so that what is safe can drain;
or, where policy is to try again, they end too, so that the worker can be restarted. It must not
open anything.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from byteord._cext.control import Control
from byteord._cext.worker import Host
from byteord.deployment.plan import RunPlan, WorkerPlan
from byteord.tuning.apply import Outcome, begin, pin_thread
from byteord.worker.journals import Journals

EXIT_OK, EXIT_FAILED, EXIT_RESTART, EXIT_REGION = 0, 1, 3, 4
PR_SET_NAME = 15
TEXT_MAX = 480
HALT_S = 1.0
"""How long a thread that failed waits for the others to end their turns.

One inside a stage's call may take any time. It is then left behind, as `kill -9` would: what it had
in hand is not committed.
"""


class Threads:
    """The threads of one worker, whose roles are open."""

    def __init__(
        self,
        plan: RunPlan,
        worker: WorkerPlan,
        *,
        host: Host,
        control: Control,
        journals: Sequence[Journals],
    ) -> None:
        """Keep what they run on; nothing starts yet."""
        self.plan = plan
        self.worker = worker
        self.host = host
        self.control = control
        self.journals = journals
        self.failed = False
        self.halted = False
        self.private = _private_roles(plan, worker)
        self.over = [threading.Event() for _ in worker.threads]

    def run(self) -> int:
        """Run every thread of the plan to its end; returns the exit code.

        The first thread runs on the calling one.
        """
        first, *others = self.worker.threads
        threads = [
            threading.Thread(target=self._run_further, args=(index, units), daemon=True)
            for index, units in enumerate(others, 1)
        ]
        for thread in threads:
            thread.start()
        pin_thread(self.worker.cpus_of(0))
        self._run_thread(0, first)
        for thread in threads:
            thread.join()
        return self._exit_code()

    def _run_further(self, index: int, units: tuple[int, ...]) -> None:
        """Run a thread beyond the first: it places itself, and has a name to be found by."""
        try:
            name_thread(f"byteor-w{self.worker.index}.{index}")
            pin_thread(self.worker.cpus_of(index))
            begin(self.plan.tuning, Outcome())
            self._run_thread(index, units)
        except BaseException:  # noqa: BLE001 - the boundary of the thread; the process has others
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(EXIT_FAILED)

    def _run_thread(self, index: int, units: tuple[int, ...]) -> None:
        """Run a thread's units. One that fails is recorded at once, and the others go on.

        Where it is to be tried again all of them end, and all of the worker's other threads.
        """
        while not self.halted and (left := self.host.unfinished(units)):
            failures = self.host.run(left)
            for failure in failures:
                self._note_failure(failure)
            if failures and self._may_restart():
                self._end_others(index)
        self.over[index].set()

    def _end_others(self, index: int) -> None:
        """Have the other threads end; end the process where one of them does not in time."""
        self.halted = True
        self.over[index].set()  # before the wait: another thread that has failed waits for this one
        self.host.halt()
        deadline = time.monotonic() + HALT_S
        if not all(over.wait(max(deadline - time.monotonic(), 0)) for over in self.over):
            sys.stderr.flush()
            os._exit(self._exit_code())

    def _exit_code(self) -> int:
        if not self.failed:
            return EXIT_OK
        return EXIT_RESTART if self._may_restart() else EXIT_FAILED

    def _may_restart(self) -> bool:
        """Tell whether policy is to try again.

        Never where a sync failed: it would then succeed. Nor where a stage of the worker keeps what
        it knows in the process: that would be lost in silence.
        """
        return (
            self.plan.failure_policy == "restart"
            and not self.private
            and not any(journals.unsure for journals in self.journals)
        )

    def _note_failure(self, failure: Mapping[str, Any]) -> None:
        self.failed = True
        role, reason = failure["role"], failure["failure"]
        sequence, text, payload = failure["sequence"], failure["text"], failure["payload"]
        if self._may_restart():
            self.control.note(role, reason, sequence, text)
            return
        digest = hashlib.sha256(payload).digest() if payload is not None else b""
        self.control.fail(role, reason, sequence, digest, self._with_reason(text))

    def _with_reason(self, text: str) -> str:
        """Return what failed, with why it is not tried again although policy says so."""
        if self.plan.failure_policy != "restart" or not self.private:
            return text
        why = (
            f"; its worker is not restarted, since {self.private[0]} keeps private state, which "
            "that would lose: declare `state` to make it restartable"
        )
        return text[: TEXT_MAX - len(why)] + why


def _private_roles(plan: RunPlan, worker: WorkerPlan) -> list[str]:
    """Return the names of the roles that keep what they know in the process."""
    units = [plan.units[index] for thread in worker.threads for index in thread]
    roles = [plan.roles[role] for unit in units for role in unit.roles]
    return [role.name for role in roles if role.state == "private"]


def name_thread(name: str) -> None:
    """Name the calling thread; the first one's name is the process's."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)
