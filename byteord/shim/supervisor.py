"""Supervision of one run: start, watch, restart, drain, stop, report.

Owns the run's state as its workers live it. Must not need the daemon: a run goes on, and ends well,
without one.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

from byteord._cext import control, region
from byteord.deployment.plan import RunPlan
from byteord.deployment.ports import ring_files
from byteord.regions.create import CONTROL
from byteord.regions.reader import attach, open_region, read_plan
from byteord.shim import endpoints, processes
from byteord.shim.channel import Channel
from byteord.shim.in_hand import InHand, in_hand
from byteord.shim.processes import Process
from byteord.shim.recording import Recording
from byteord.shim.result import end_words, read_failure, write_result
from byteord.shim.timekeeping import Timekeeper
from byteord.shim.tuning import TuningWatch
from byteord.worker.main import run_worker
from byteord.worker.threads import EXIT_FAILED, EXIT_OK, EXIT_REGION, EXIT_RESTART

RUN, DRAIN, FINISH, STOP = 1, 2, 3, 4
STARTING_TICK_S, TICK_S = 0.001, 0.05
ABORT_TIMEOUT_S = 5.0
OVER = frozenset({"ended", "failed", "stopped"})
UP = OVER | {"running", "idle", "blocked"}
TERMINAL = frozenset({"completed", "stopped", "failed"})


class Supervisor:
    """The parent of one run's workers."""

    def __init__(
        self,
        directory: str,
        *,
        control_fd: int = -1,
        input_fd: int = -1,
        output_fd: int = -1,
        bound: bool = False,
    ) -> None:
        """Attach to the regions of a run that the daemon made.

        `bound`: the run ends with its daemon.
        """
        self.directory = directory
        self.plan: RunPlan = read_plan(directory)
        self.control: control.Control = attach(
            Path(directory, CONTROL), control.Control, writable=True
        )
        self.rings = [
            attach(Path(directory, file), region.Ring, writable=True)
            for file in ring_files(self.plan)
        ]
        self.control_fd = open_region(Path(directory, CONTROL), writable=True)
        self.ring_fds = [
            open_region(Path(directory, file), writable=True) for file in ring_files(self.plan)
        ]
        self.stream_fds = {"ingress": input_fd, "egress": output_fd}
        self.bound = bound
        self.state = "starting"
        self.conditions: dict[str, dict[str, Any]] = {}
        self.failure: dict[str, Any] | None = None
        self.deadline = 0.0
        self.stop_requested = ""
        self.finishing = -1
        self.workers = [Process(worker) for worker in self.plan.workers]
        self.channel = Channel(directory, control_fd)
        self.selector = selectors.DefaultSelector()
        self._shown = ""
        self.timekeeper = Timekeeper(directory, self.plan, self.selector)
        self.tuning = TuningWatch(directory, self.plan, self.selector)
        self.recording = Recording(
            directory,
            self.plan,
            self.selector,
            control_fd=self.control_fd,
            ring_fds=self.ring_fds,
            condition=self._condition,
            control=self.control,
        )

    # --- life -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Supervise from the first fork to the last report."""
        self.selector.register(self.channel.listener, selectors.EVENT_READ, self._accept)
        for client in self.channel.clients:
            self.selector.register(client, selectors.EVENT_READ, partial(self._command, client))
        self._watch_signals()
        self.recording.start()
        for process in self.workers:
            self._start(process)
        while self.state not in TERMINAL:
            for key, _ in self.timekeeper.select(
                STARTING_TICK_S if self.state == "starting" else TICK_S
            ):
                key.data()
            self._tick()
            self._report()
        self.recording.conclude(self.state)
        write_result(self.directory, self.status())
        self._report()

    def _watch_signals(self) -> None:
        """Take SIGTERM as a drain, through the selector: handlers only write to a socket."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._signal_sockets = (ours, theirs)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        self.selector.register(ours, selectors.EVENT_READ, self._signalled)

    def _signalled(self) -> None:
        self._signal_sockets[0].recv(64)
        self.stop("drain", self.plan.drain_timeout_s)

    def _start(self, process: Process) -> None:
        report = self.tuning.open(process.plan.index)
        body = partial(
            run_worker,
            self.plan,
            process.plan,
            control_fd=self.control_fd,
            ring_fds=self.ring_fds,
            stream_fds=self.stream_fds,
            directory=self.directory,
            report_fd=report.fileno(),
        )
        keep = {self.control_fd, report.fileno(), *self.ring_fds}
        keep |= {
            fd for kind, fd in self.stream_fds.items() if fd >= 0 and self._hosts(process, kind)
        }
        for role in self._roles(process):
            self.control.set_state(role, "starting", 0)
            self.control.set_restarts(role, process.restarts)
        processes.start(process, body, frozenset(keep))
        report.close()
        self.selector.register(process.pidfd, selectors.EVENT_READ, partial(self._ended, process))

    def _roles(self, process: Process) -> list[int]:
        units = [unit for thread in process.plan.threads for unit in thread]
        return [role for unit in units for role in self.plan.units[unit].roles]

    def _hosts(self, process: Process, kind: str) -> bool:
        return endpoints.streams(self.plan, self._roles(process), kind)

    # --- what happens to it -----------------------------------------------------------------------

    def _accept(self) -> None:
        client = self.channel.accept(self.status())
        if client is not None:
            self.selector.register(client, selectors.EVENT_READ, partial(self._command, client))

    def _command(self, client: socket.socket) -> None:
        command = self.channel.receive(client)
        if command is None:
            self.selector.unregister(client)
            if self.channel.drop(client) and self.bound:
                self.stop("abort", ABORT_TIMEOUT_S)
            return
        if command.get("op") == "stop" and command.get("mode") in {"drain", "abort"}:
            self.stop(command["mode"], float(command.get("timeout_s") or self.plan.drain_timeout_s))
        elif command.get("op") == "status":
            self._shown = ""

    def stop(self, mode: str, timeout_s: float) -> None:
        """Drain or abort; an abort overrides a drain that is under way."""
        if (
            self.state in TERMINAL
            or self.finishing >= 0
            or (self.stop_requested and mode == "drain")
        ):
            return
        self.stop_requested = mode
        self.state = "draining" if mode == "drain" else "stopping"
        self.deadline = time.monotonic() + (timeout_s if mode == "drain" else ABORT_TIMEOUT_S)
        for process in self.workers:
            process.restart_at = 0.0 if mode == "abort" else process.restart_at
        for unit in range(len(self.plan.units)):
            self.control.set_command(unit, DRAIN if mode == "drain" else STOP)

    def _ended(self, process: Process) -> None:
        self.selector.unregister(process.pidfd)
        processes.reap(process)
        held = self._in_hand(process)
        for role in self._roles(process):
            if self.control.state(role) not in OVER:
                self.control.set_state(role, "stopped", 0)
        code = process.exit_code
        if code == EXIT_OK:
            return
        if code == EXIT_FAILED:
            self._fail_run()
        elif self.state == "stopping" or self.finishing >= 0:
            return
        elif code == EXIT_REGION:
            self._lost_region(process)
        elif code == EXIT_RESTART or self._restartable(process):
            self._restart(process, held)
        else:
            self._died(
                process,
                held,
                (
                    "its stage keeps private state, so it is not restarted: declare `state` "
                    "to make it restartable"
                ),
            )

    def _restartable(self, process: Process) -> bool:
        """A worker killed or crashed can go on, unless a stage kept what it knew in the process."""
        return all(self.plan.roles[role].state != "private" for role in self._roles(process))

    def _in_hand(self, process: Process) -> InHand:
        roles = self._roles(process)
        failed = [role for role in roles if self.control.state(role) == "failed"]
        return in_hand(self.plan, self.control, self.rings, failed or roles)

    def _restart(self, process: Process, held: InHand) -> None:
        plan = self.plan
        if not processes.note_restart(
            process,
            most=plan.restarts_max,
            window_s=plan.restart_window_s,
            backoff_ms=plan.restart_backoff_ms,
        ):
            why = f"more than {plan.restarts_max} restarts within {plan.restart_window_s} s"
            self._died(process, held, why)
            return
        failed = process.exit_code == EXIT_RESTART
        how = end_words(self.control, self._roles(process)) if failed else ""
        text = (
            f"worker {process.plan.name} ended {how or f'with {process.exit_text}'} and is "
            f"restarted ({process.restarts})"
        )
        self._condition("WorkerRestarted", "true", "WorkerEnded", text)

    def _died(self, process: Process, held: InHand, why: str) -> None:
        errors = self.control.role(held.role)["errors"]
        last = f"; last error: {errors[-1]['text']}" if errors else ""
        text = f"worker {process.plan.name} ended with {process.exit_text}: {why}{held.words}{last}"
        self.control.fail(held.role, "WORKER_DIED", held.sequence, held.digest, text)
        self._fail_run()

    def _lost_region(self, process: Process) -> None:
        """A worker found a page of a region gone, and said which if it still could."""
        recorded = self.control.run()["failed_role"] is not None
        self._fail_without_regions()
        if not recorded and self.failure is None:
            name = process.plan.name
            text = f"worker {name} ended because a page of a region is gone; see shim.log"
            self.control.fail(self._roles(process)[0], "REGION_LOST", None, b"", text)
        self._fail_run()

    def _fail_without_regions(self) -> None:
        """What the shim itself reads is gone: end everything, believe nothing that lies there."""
        maps = {CONTROL: self.control}
        maps.update(zip(ring_files(self.plan), self.rings, strict=True))
        gone = [name for name, each in maps.items() if each.lost]
        if not gone or self.finishing >= len(self.plan.units):
            return
        text = (
            f"region {self.directory}/{gone[0]}: a page of it is gone: the file was truncated from "
            "outside, or its filesystem is full; every worker was ended. Start the run again, and "
            "find out who writes to its files"
        )
        empty = {"role": "", "stage": "", "sequence": None, "message_sha256": ""}
        self.failure = self.failure or {**empty, "reason": "REGION_LOST", "message": text}
        self._condition("Failed", "true", "RegionLost", text)
        self.state = "stopping"
        for process in self.workers:
            process.restart_at = 0.0
            processes.kill(process)
        self.finishing = len(self.plan.units)

    def _fail_run(self) -> None:
        """The first failure decides.

        No new input, and every stage after it passes on what it has.
        """
        if self.finishing >= 0 or self.state in TERMINAL:
            return
        self.failure = read_failure(self.control, self.plan)
        self._condition("Failed", "true", "RoleFailed", self.failure["message"])
        self.state = "draining" if self.state != "stopping" else "stopping"
        self.deadline = time.monotonic() + self.plan.drain_timeout_s
        for process in self.workers:
            process.restart_at = 0.0
        for unit in self.plan.units:
            if any(self.plan.roles[role].kind == "ingress" for role in unit.roles):
                self.control.set_command(unit.index, STOP)
        self.finishing = 0

    # --- each tick --------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        self._fail_without_regions()
        for process in self.workers:
            if process.restart_at and process.restart_at <= now and not process.alive:
                self._start(process)
        self._watch_tuning()
        self.recording.tick()
        self._note_running()
        self._kill_hung()
        if self.finishing < 0 and self.control.run()["failed_role"] is not None:
            self._fail_run()  # a thread of a worker whose other threads still run
        if self.finishing >= 0:
            self._finish_next()
        elif self.stop_requested == "drain":
            self._end_client_input()
        if self.deadline and now > self.deadline:
            self._overdue()
        self._conclude()

    def _watch_tuning(self) -> None:
        if self.tuning.look({p.plan.index: p.pid for p in self.workers if p.alive}):
            said = self.tuning.monitor.summary()
            old = self.conditions.get("Tuned", {})
            if said != tuple(old.get(key) for key in ("status", "reason", "message")):
                self._condition("Tuned", *said)
        if self.stop_requested or self.finishing >= 0:
            self.tuning.dismiss()
        elif refused := self.tuning.refusal():
            self.control.fail(0, "TUNING_DEGRADED", None, b"", refused[:480])
            self._fail_run()
            first = read_failure(self.control, self.plan)
            self.failure = {**first, "role": "", "stage": "", "message": refused}

    def _note_running(self) -> None:
        if not self.tuning.released:
            return  # ready, and told to wait
        for process in self.workers:
            if process.state == "starting" and all(
                self.control.state(r) in UP for r in self._roles(process)
            ):
                process.state = "running" if process.alive else process.state
        if self.state == "starting" and all(
            process.state != "starting" for process in self.workers
        ):
            self.control.mark_ready()
            self.state = "running"
            self._condition("Ready", "true", "AllRolesRunning", f"{len(self.plan.roles)} roles run")

    def _kill_hung(self) -> None:
        limit = self.plan.stage_timeout_s * 1_000_000_000
        now = self.control.now_ns()
        for process in self.workers:
            for role in self._roles(process) if process.alive else ():
                since, _, _ = self.control.busy(role)
                if since and now > since + limit:
                    self._hung(process, in_hand(self.plan, self.control, self.rings, [role]))

    def _hung(self, process: Process, held: InHand) -> None:
        text = (
            f"the stage has not returned for {self.plan.stage_timeout_s} s; its worker was "
            f"killed{held.words}"
        )
        self.control.fail(held.role, "STAGE_HUNG", held.sequence, held.digest, text)
        processes.kill(process)
        self._fail_run()

    def _finish_next(self) -> None:
        """Let units end in topological order, each when it has passed on what came before."""
        while self.finishing < len(self.plan.units) and self._unit_over(self.finishing):
            self.finishing += 1
            if self.finishing < len(self.plan.units):
                command = STOP if self.stop_requested == "abort" else FINISH
                self.control.set_command(self.finishing, command)
        if self.finishing < len(self.plan.units) and self.plan.model == "lane_graph":
            states = [self.control.state(role.index) for role in self.plan.roles]
            if endpoints.blocked_for_good(self.plan, self.finishing, states, OVER):
                self.control.set_command(self.finishing, STOP)

    def _unit_over(self, index: int) -> bool:
        unit = self.plan.units[index]
        if self.plan.roles[unit.roles[0]].adapter == "client":
            return True
        if all(self.control.state(role) in OVER for role in unit.roles):
            return True
        return not any(
            process.alive for process in self.workers if set(unit.roles) & set(self._roles(process))
        )

    def _end_client_input(self) -> None:
        """Say on behalf of a client that has left that there is no more.

        One that is there says so itself.
        """
        if not endpoints.open_inputs(self.plan, self.rings):
            return
        from byteord.client import take_over_input

        take_over_input(self.directory)

    def _overdue(self) -> None:
        """The time to drain or stop is over: end what is left, and say what was stuck."""
        self.deadline = 0.0
        if self.stop_requested == "drain" and self.failure is None:
            role, stuck = endpoints.stuck(self.directory, OVER)
            text = f"it did not drain in time: {stuck}"
            code = "START_FAILED" if self.state == "starting" else "DRAIN_TIMEOUT"
            self.control.fail(role, code, None, b"", text)
            first = read_failure(self.control, self.plan)
            self.failure = {**first, "reason": "DRAIN_TIMEOUT", "message": text}
            self._condition("Failed", "true", "DrainTimeout", text)
        for process in self.workers:
            process.restart_at = 0.0
            processes.kill(process)
        self.finishing = max(self.finishing, 0)

    def _conclude(self) -> None:
        if any(process.alive or process.restart_at for process in self.workers):
            return
        aborted = self.stop_requested == "abort"
        self.recording.finish(ABORT_TIMEOUT_S if aborted else self.plan.drain_timeout_s)
        if not self.recording.over:
            return
        if self.failure is not None:
            self.state = "failed"
        elif self.stop_requested:
            self.state = "stopped"
        elif self._client_done():
            self.state = "completed"

    def _client_done(self) -> bool:
        """Every client that is an egress has taken everything."""
        if not endpoints.clients(self.plan, "egress"):
            return True
        if self.state == "running" and not endpoints.open_inputs(self.plan, self.rings):
            self.state = "draining"  # before, clients may still feed others without any worker
        return endpoints.outputs_taken(self.plan, self.rings)

    # --- reporting --------------------------------------------------------------------------------

    def _condition(self, kind: str, status: str, reason: str, message: str) -> None:
        row = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "since_unix_ns": time.time_ns(),
        }
        self.conditions[kind] = row

    def status(self) -> dict[str, Any]:
        """Return the run's state as the daemon hears it."""
        return {
            "event": "status",
            "state": self.state,
            "shim_pid": os.getpid(),
            "workers": [
                {
                    "index": p.plan.index,
                    "pid": p.pid if p.alive else 0,
                    "state": p.state,
                    "restarts": p.restarts,
                    "exit": p.exit_text,
                }
                for p in self.workers
            ],
            "failure": self.failure,
            "conditions": list(self.conditions.values()),
            "code_digests": {},
        }

    def _report(self) -> None:
        status = self.status()
        shown = json.dumps(status)
        if shown != self._shown:
            self._shown = shown
            self.channel.broadcast(status)
