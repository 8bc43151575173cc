"""One run from its admission to its end, as the daemon holds it.

Owns the run's state (moved by its shim's reports), its channel, process watch, region reader and
streams, and the facts that another daemon needs to take it over (`daemon.json` in the run
directory). Deciding what to start or stop is the manager's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from byteord._cext.control import Control
from byteord.capture.files import RunDocuments
from byteord.capture.guarding import Guarding
from byteord.deployment.plan import RunPlan
from byteord.errors import RegionError
from byteord.policy.governor import Lease, Running
from byteord.regions.create import CONTROL
from byteord.regions.reader import RunReader, attach
from byteord.runs.describe import (
    Payloads,
    capture_view,
    elapsed_ns,
    hold_views,
    lane_views,
    role_views,
    snapshot_json,
    told,
    without_processes,
    worker_views,
)
from byteord.runs.documents import load_documents
from byteord.runs.effect_views import acting, effects_view
from byteord.runs.effects import decode_credential
from byteord.runs.leftovers import mapping_pids, stop_leftovers
from byteord.runs.protection import protection_of
from byteord.runs.replay_job import ReplayJob
from byteord.runs.shim_client import (
    ProcessWatch,
    ShimChannel,
    ShimStatus,
    connect_shim,
    read_result,
)
from byteord.runs.shims import Shim
from byteord.runs.state import RunState, may_follow
from byteord.runs.streams import InputStream, OutputStream, stream_pair
from byteord.runs.view import ConditionView, EffectsView, FailureView, RunView
from byteord.runs.words import Words
from byteord.shim.order import Order
from byteord.tuning.monitor import Report, read_report

_START_FAILURES = frozenset({"START_FAILED", "WORKER_DIED", "TUNING_DEGRADED"})
"""Reasons of a run that fails without having been reported as running."""
FACTS_FILE = "daemon.json"
_LOG_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the daemon knows of a run and its plan does not say.

    Survives the daemon in the run directory.
    """

    created_unix_ns: int
    principal: str = ""
    code_digests: Mapping[str, str] = field(default_factory=dict)
    client_input: bool = False
    client_output: bool = False
    shim_pid: int = 0
    credential: str = ""
    """The approval, in base64: whoever adopts the run verifies it anew."""
    side_effects: str = "allow"

    def save(self, directory: str) -> None:
        """Write the facts as a whole or not at all."""
        descriptor, temporary = tempfile.mkstemp(dir=directory)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        os.replace(temporary, os.path.join(directory, FACTS_FILE))

    @classmethod
    def load(cls, directory: str) -> RunFacts:
        """Read them back; without a whole file, tell the time from the directory."""
        try:
            with open(os.path.join(directory, FACTS_FILE), encoding="utf-8") as file:
                return cls(**json.load(file))
        except (OSError, ValueError, TypeError):
            return cls(created_unix_ns=os.stat(directory).st_ctime_ns)


class LiveRun:
    """One run that has not ended, or is just being put away."""

    def __init__(
        self,
        plan: RunPlan,
        facts: RunFacts,
        *,
        changed: Callable[[LiveRun], None],
        exited: Callable[[LiveRun], None],
    ) -> None:
        """Hold a run in `starting`.

        `changed` is told of each change, `exited` once when its shim has gone.
        """
        self.plan = plan
        self.facts = facts
        self.replay: ReplayJob | None = None
        """What it replays, while this daemon started it; None: an ordinary run."""
        self.directory = ""
        self.documents = RunDocuments()
        self._words: tuple[RunDocuments, Guarding | None, Words] | None = None
        self.state = RunState.STARTING
        self.revision = 0
        self.ran = False
        """Whether it ever got beyond starting."""
        self.reported = asyncio.Event()
        """Set once its shim has said how it is."""
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.final: RunView | None = None
        self.client_gone: FailureView | None = None
        """Set when its own client left it: an abort because of that is a failure."""
        self.lease_lost: FailureView | None = None
        """Set when it loses its lease and its policy is to stop; its roles may say it first."""
        self.given_up: FailureView | None = None
        """Set when the daemon kills the shim; the reason if the shim leaves none."""
        self.input: InputStream | None = None
        self.output: OutputStream | None = None
        self.lease: Lease | None = None
        """What its effects were granted last; None before the first time, or without effects."""
        self.channel: ShimChannel | None = None
        self.process: ProcessWatch | None = None
        self._changed = changed
        self._exited = exited
        self._child = 0
        self._seen_pid = 0
        """Of another daemon's shim, which is only looked at."""
        self._exit_code: int | None = None
        self._status: ShimStatus | None = None
        self._reader: RunReader | None = None
        self._leased: Control | None = None
        self._conditions: tuple[ConditionView, ...] = ()
        self._last_read: dict[str, Any] | None = None
        self._last_tuning: Report = {}

    @property
    def id(self) -> str:
        """The run's id."""
        return self.plan.run_id

    @property
    def name(self) -> str:
        """The name of its spec."""
        return self.plan.name

    def launch(self, directory: str, shim: Shim, *, bound: bool) -> None:
        """Give a shim the directory that `create_run` made; it is this run's, come what may.

        Raises UnavailableError, RegionError.
        """
        self.directory = directory
        self._child = shim.pid
        inherited: list[socket.socket] = []
        try:
            self._reader = RunReader(directory)
            self.facts = replace(self.facts, shim_pid=shim.pid)
            self.facts.save(directory)
            input_fd = output_fd = -1
            if self.facts.client_input:
                ours, end = stream_pair()
                self.input, input_fd = InputStream(ours), end.fileno()
                inherited.append(end)
            if self.facts.client_output:
                ours, end = stream_pair()
                self.output, output_fd = OutputStream(ours), end.fileno()
                inherited.append(end)
            shim.order(Order(directory, bound, input_fd=input_fd, output_fd=output_fd))
            self._follow(shim.channel, shim.pid)
        except BaseException:
            shim.channel.close()
            self._undo_spawn()
            raise
        finally:
            for end in inherited:
                end.close()

    def take_over(self, directory: str) -> bool:
        """Follow the shim that another daemon started.

        Return False when none lives there any more.
        """
        self.directory = directory
        self.documents = load_documents(directory)
        self.attach_reader()
        connected = connect_shim(directory)
        if connected is None:
            return False
        try:
            self._follow(*connected)
        except ProcessLookupError:
            connected[0].close()
            return False
        return True

    def observe(self, directory: str, result: ShimStatus | None, *, lives: bool) -> None:
        """Look at a run of another daemon; `result` is what its shim left, if it has ended."""
        self.directory = directory
        self.documents = load_documents(directory)
        self.attach_reader()
        self._status = result
        self._seen_pid = self.facts.shim_pid if lives else 0
        if result is not None and result.state.terminal:
            self.state = result.state
        elif lives:
            self.state = RunState.RUNNING
        else:
            self.state = RunState.FAILED
            self.given_up = self._shim_died()

    def attach_reader(self) -> None:
        """Attach to the regions if they can be trusted; say so in a condition if not."""
        try:
            self._reader = RunReader(self.directory)
        except (RegionError, OSError) as error:
            self.note("RegionsReadable", "false", "BadRegion", str(error))

    def running(self) -> Running:
        """Return the run as the governor knows it."""
        return Running(
            run_id=self.id,
            environment=self.plan.environment,
            side_effects=self.facts.side_effects,
            capabilities=acting(self.plan),
            spec_hash=f"sha256:{self.plan.spec_sha256}",
            deployment_hash=f"sha256:{self.plan.deployment_sha256}",
            code=self.facts.code_digests,
            principal=self.facts.principal,
            credential=decode_credential(self.facts.credential),
            replay=self.plan.replay is not None,
        )

    def set_lease(self, lease: Lease) -> None:
        """Carry a lease into the control region; without a sound one there is no lease."""
        self.lease = lease
        if self._leased is None:
            try:
                path = Path(self.directory, CONTROL)
                self._leased = attach(path, Control, writable=True)
            except RegionError as error:
                self.lease = Lease(0.0, "REGION_UNREADABLE", error.message)
                return
        ahead_ns = int((lease.until_unix - time.time()) * 1e9)
        until_ns = self._leased.now_ns() + ahead_ns if ahead_ns > 0 else 0
        self._leased.set_lease(until_ns)

    def read(self) -> dict[str, Any] | None:
        """Return what the control region says now, or said last; None if it never could be read."""
        if self._reader is not None:
            with contextlib.suppress(RegionError):
                self._last_read = self._reader.read()
        return self._last_read

    def effects(self) -> EffectsView | None:
        """Return what it does outside, counted; None when it has no effects."""
        if not self.plan.effects:
            return None
        return self._told()[2].effects(effects_view(self.plan, self.lease, self.read()))

    def tuning(self) -> Report:
        """Return what its shim read back of its workers' tuning, now or last."""
        self._last_tuning = read_report(self.directory) or self._last_tuning
        return self._last_tuning

    def note(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition of the daemon's own; its time changes with its status."""
        old = {each.type: each for each in self._conditions}
        since = time.time_ns()
        if kind in old and old[kind].status == status:
            since = old[kind].since_unix_ns
        old[kind] = ConditionView(kind, status, reason, message, since)
        self._conditions = tuple(old.values())

    def view(self, *, light: bool = False) -> RunView:
        """Return the run as it is; `light` leaves out workers and roles."""
        if self.final is not None:
            return (
                replace(self.final, workers=(), roles=(), lanes=(), holds=())
                if light
                else self.final
            )
        return self._view(self.state, self._failure(), light=light)

    @property
    def protection(self) -> Guarding | None:
        """The rules that whatever is shown of its messages goes through; None: none."""
        return self._told()[1]

    def _told(self) -> tuple[RunDocuments, Guarding | None, Words]:
        """Return what may be told of it, by the documents that are known."""
        if self._words is None or self._words[0] is not self.documents:
            rules = protection_of(self.plan, self.documents)
            words = Words(self.plan, os.environ, guarded=rules is not None)
            self._words = (self.documents, rules, words)
        return self._words

    def snapshot(self, view: RunView | None = None) -> bytes:
        """Return the snapshot document."""
        shown, (_, rules, words) = view or self.view(), self._told()
        payloads = Payloads.of(self.plan.environment, guarded=rules is not None)
        return snapshot_json(
            shown, self.plan, told(self._last_read, words, payloads), taken_unix_ns=time.time_ns()
        )

    def conclude(self) -> tuple[RunView, bytes]:
        """After the shim has gone: stop what it left behind, return the last view and snapshot.

        Blocks.
        """
        result = read_result(self.directory)
        read = self.read()
        reported = [worker.pid for worker in self._status.workers] if self._status else []
        mapped = [role["pid"] for role in read["roles"]] if read else []
        lost = [] if result is not None else mapping_pids(self.directory)
        killed, stuck = stop_leftovers(
            self.directory, [pid for pid in (*reported, *mapped, *lost) if pid > 0]
        )
        if killed or stuck:
            self.note("WorkersOrphaned", "true", "ShimDied", _orphans(killed, stuck))
        if result is not None:
            self._status = result
        state, failure = self._verdict(result)
        view = replace(
            self._view(state, failure, light=False),
            ended_unix_ns=time.time_ns(),
            shim_pid=0,
            region_directory="",
        )
        return view, self.snapshot(view)

    def release(self) -> None:
        """Let go of everything but the output, which a client may still take. Idempotent."""
        if self.channel is not None:
            self.channel.close()
        if self.process is not None:
            self.process.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._leased = None

    def _undo_spawn(self) -> None:
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            self._reap()

    def _follow(self, sock: socket.socket, shim_pid: int) -> None:
        self.process = ProcessWatch(shim_pid, self._shim_ended)
        self.channel = ShimChannel(sock, heard=self._heard, gone=lambda: None)

    def _heard(self, status: ShimStatus) -> None:
        """Take a report. An end counts only once the shim is gone and its result has been read."""
        self._status = status
        self.reported.set()
        if not status.state.terminal and may_follow(self.state, status.state):
            self.state = status.state
        self.ran = self.ran or _has_run(status)
        if self.ran:
            self.started.set()
        self._changed(self)

    def _shim_ended(self) -> None:
        self._reap()
        self._exited(self)

    def _reap(self) -> None:
        """Collect the shim, if it is our child; it has ended."""
        if self._child:
            with contextlib.suppress(ChildProcessError):
                _, status = os.waitpid(self._child, 0)
                self._exit_code = os.waitstatus_to_exitcode(status)
            self._child = 0

    def _verdict(self, result: ShimStatus | None) -> tuple[RunState, FailureView | None]:
        if result is not None and result.state.terminal:
            if self.lease_lost is not None and result.state is not RunState.COMPLETED:
                return RunState.FAILED, self.lease_lost
            if result.state is RunState.STOPPED and self.client_gone is not None:
                return RunState.FAILED, self.client_gone
            return result.state, result.failure
        return RunState.FAILED, self.given_up or self._shim_died()

    def _shim_died(self) -> FailureView:
        code = self._exit_code
        how = (
            "ended"
            if code is None
            else (f"ended by signal {-code}" if code < 0 else f"exited with {code}")
        )
        said = self._told()[2].tail(_tail(os.path.join(self.directory, "shim.log")))
        message = (
            f"the run's shim {how} without a result; its workers were stopped and the run is lost"
        )
        return FailureView("SHIM_DIED", message=f"{message}: {said}" if said else message)

    def _failure(self) -> FailureView | None:
        if self._status is None:
            return self.given_up if self.state is RunState.FAILED else None
        return self._status.failure

    def _view(self, state: RunState, failure: FailureView | None, *, light: bool) -> RunView:
        read = (
            self._last_read
            if light and elapsed_ns(self._last_read, "first_message_ns")
            else self.read()
        )
        status = self._status
        theirs = status.conditions if status else ()
        mine = tuple(
            each for each in self._conditions if each.type not in {other.type for other in theirs}
        )
        words = self._told()[2]
        workers = () if light else worker_views(self.plan, status, read, self.tuning())
        roles = () if light else words.roles(role_views(self.plan, read))
        if state.terminal:
            workers, roles = without_processes(workers, roles)
        return RunView(
            id=self.id,
            name=self.name,
            state=state,
            conditions=words.conditions((*theirs, *mine), failure),
            failure=words.failure(failure),
            spec_sha256=self.plan.spec_sha256,
            deployment_sha256=self.plan.deployment_sha256,
            created_unix_ns=self.facts.created_unix_ns,
            first_message_ns=elapsed_ns(read, "first_message_ns"),
            ready_ns=elapsed_ns(read, "ready_ns"),
            single_process=self.plan.mode == "single_process",
            workers=workers,
            roles=roles,
            lanes=() if light else lane_views(read),
            holds=() if light else hold_views(read),
            shim_pid=self.process.pid if self.process else self._seen_pid,
            region_directory=self.directory,
            code_digests=dict(self.facts.code_digests)
            or dict(status.code_digests if status else {}),
            revision=self.revision,
            principal=self.facts.principal,
            effects=words.effects(effects_view(self.plan, self.lease, read)),
            capture=capture_view(self.plan, read),
        )


def _has_run(status: ShimStatus) -> bool:
    """Tell whether all roles ran, of a run that was not known to have run before."""
    if status.failure is not None and status.failure.reason in _START_FAILURES:
        return False
    return status.state is not RunState.STARTING


def _orphans(killed: list[int], stuck: list[int]) -> str:
    said = f"workers without a shim were killed: {killed}" if killed else ""
    return f"{said} still there: {stuck}".strip() if stuck else said


def _tail(path: str) -> str:
    """Return the last line of a log, for people."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - _LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
