"""A worker process: opens its roles, runs its units until they are done, says why it ends.

Forked by the shim. Exit codes: 0 all units ended or were stopped; 1 a role failed (recorded in the
control region); 3 a role failed and the run's policy is to restart; 4 a page of a region was gone
(recorded too, if the control region was still there). It must not import asyncio, grpc or the
supervisor.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from byteord._cext import control
from byteord._cext.worker import Host
from byteord.deployment.actions import is_action
from byteord.deployment.plan import (
    RolePlan,
    RunPlan,
    UnitPlan,
    WorkerPlan,
    role_payload_bytes,
    role_seed,
    undo_layout,
    undo_log_bytes,
    unit_ranges,
)
from byteord.deployment.ports import is_graph_unit
from byteord.errors import ByteorError
from byteord.tuning.apply import Outcome, begin, enter, settle
from byteord.worker.capture import open_tapes
from byteord.worker.code import code_dirs_of, frozen_dir
from byteord.worker.doorbells import doorbells
from byteord.worker.graph import open_graph
from byteord.worker.journals import Journals, open_journals
from byteord.worker.shape import (
    all_live,
    batch_max,
    egress_gate,
    rings,
    unit_kind,
)
from byteord.worker.threads import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REGION,
    Threads,
    name_thread,
)


class Worker:
    """The roles of one worker plan, opened in this process."""

    def __init__(
        self,
        plan: RunPlan,
        worker: WorkerPlan,
        *,
        control_fd: int,
        ring_fds: list[int],
        stream_fds: dict[str, int],
        directory: str,
    ) -> None:
        """Map the regions of the run in `directory`.

        `stream_fds` holds the descriptors of the run's client, `ingress` and `egress`.
        """
        self.plan = plan
        self.worker = worker
        self.control = control.Control(control_fd, True)
        self.host = Host(control_fd, ring_fds)
        self.host.end_at_lost_page(EXIT_REGION)
        self.stream_fds = stream_fds
        self.handles: list[Any] = []
        self.directory = directory
        self.confined = False
        self.journal: Any = None
        self.graphs: dict[int, tuple[Any, int]] = {}
        self.journals: list[Journals] = []
        self.calls: dict[int, dict[str, Any]] = {}

    def open(self, tune: Callable[[], None]) -> None:
        """Open every role and take over its unit; `tune` is called once all else is done.

        Code that is to be confined is loaded last, when all else has been opened and tuned:
        confinement takes the rights to do either. A role that cannot be opened is recorded and
        raised.
        """
        indices = [index for thread in self.worker.threads for index in thread]
        if self.plan.replay is not None and self.plan.replay.traces:
            from byteord.worker.replay import follow_trace

            self.handles.append(follow_trace(self.host, self.directory, self.worker.index))
        roles = [
            (self.plan.roles[role], self.plan.units[index])
            for index in indices
            for role in self.plan.units[index].roles
        ]
        if self.plan.replay is not None:
            from byteord.worker.replay import calls_of

            self.calls, strayed = calls_of(self.plan, (role for role, _ in roles), self.directory)
            self.handles.append(strayed)
        opened: dict[int, tuple[dict[str, Any], int]] = {}
        for role, unit in roles:
            if not role.confined:
                opened[role.index] = self._open_recorded(role, unit)
        for index in indices:
            if is_graph_unit(self.plan, self.plan.units[index]):
                self._open_graph(self.plan.units[index])
        for role, unit in roles:
            if role.confined:
                opened[role.index] = self._open_recorded(role, unit, tune)
        for thread in self.worker.threads:
            for index in thread:
                self._add_unit(self.plan.units[index], leader=thread[0], opened=opened)
        for index in indices:
            self.host.recover(index, os.getpid())
        if not self.confined:
            tune()

    def _open_recorded(
        self, role: RolePlan, unit: UnitPlan, tune: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, Any], int]:
        try:
            if role.confined and not self.confined:
                from byteord.worker.confine import confine_worker

                tune()
                confine_worker(self.plan, self.directory)
                self.confined = True
            return self._open_role(role, unit)
        except Exception as error:
            text = (
                str(error) if isinstance(error, ByteorError) else f"{type(error).__name__}: {error}"
            )
            self.control.fail(role.index, "START_FAILED", None, b"", text)
            raise

    def _add_unit(
        self, unit: UnitPlan, *, leader: int, opened: dict[int, tuple[dict[str, Any], int]]
    ) -> None:
        plan, roles = self.plan, [self.plan.roles[role] for role in unit.roles]
        members = [opened[role.index][0] for role in roles]
        touched = sum(opened[role.index][1] for role in roles)
        stages = [role for role in roles if role.kind == "stage"]
        tapes = open_tapes(self.host, plan, unit)
        self.handles.append(tapes)
        self.host.add_unit(
            unit.index,
            members=members,
            rerunnable=all(role.state != "private" for role in stages),
            skip_failed=plan.failure_policy == "skip"
            or (plan.failure_policy == "dead_letter" and is_graph_unit(plan, unit)),
            scan_live=any(role.drops or ":" in role.stage for role in stages),
            all_live=not is_graph_unit(plan, unit) and all_live(plan),
            shard_key=plan.shard_key or (0, 0),
            doorbells=doorbells(plan, unit, leader) if plan.wait == "park" else [],
            own_doorbell=leader,
            wait=plan.wait,
            sleep_ns_max=plan.sleep_ns_max,
            gate=egress_gate(plan) if any(map(self._acts, roles)) else "",
            capture=tapes.address if tapes is not None else 0,
            **(
                self._on_ports(unit, stages, touched)
                if is_graph_unit(plan, unit)
                else self._in_place(unit, roles, touched)
            ),
        )

    def _in_place(self, unit: UnitPlan, roles: list[RolePlan], touched: int) -> dict[str, Any]:
        """How a unit works in the slots of one ring, or of all shards."""
        plan, stages = self.plan, [role for role in roles if role.kind == "stage"]
        slots, log, stride = undo_layout(plan, unit)
        follower = next((role for role in roles if role.kind != "ingress"), roles[0])
        depends = follower.rx[0].depends if follower.in_place else follower.depends
        return {
            "kind": unit_kind(plan, roles),
            "rings": rings(plan, roles[0]),
            "depends": list(depends) if roles[0].kind != "ingress" else [],
            "ranges": list(unit_ranges(plan, unit)),
            "save_headers": stride > 0,
            "slot_stride": stride,
            "max_batch": batch_max(
                plan, slots=slots, stride=stride, log=log, touched=touched, stages=stages
            ),
        }

    def _open_graph(self, unit: UnitPlan) -> None:
        """Open the lanes of a unit of a LaneGraph, among them journals in files."""
        began = self.control.unit(unit.index)["commits"]
        journals = Journals()
        try:
            open_journals(journals, self.host, self.plan, unit, self.directory, began=began)
        except (ByteorError, OSError) as error:
            at = journals.role(self.plan, unit)
            self.control.fail(at, "START_FAILED", None, b"", str(error))
            raise
        gone = 0
        if self.plan.replay is not None:
            from byteord.worker.replay import follow_gone

            area, gone = follow_gone(self.directory)
            self.handles.append(area)
        most = self.plan.max_batch
        graph, most = open_graph(self.host, self.plan, unit, most, journals, gone=gone)
        self.handles.append(graph)
        self.journals.append(journals)
        self.graphs[unit.index] = graph, most

    def _on_ports(self, unit: UnitPlan, stages: list[RolePlan], touched: int) -> dict[str, Any]:
        """How a unit of a LaneGraph works: from its inputs to its outputs."""
        log = undo_log_bytes(self.plan, unit)
        graph, most = self.graphs[unit.index]
        bound = batch_max(self.plan, slots=0, stride=0, log=log, touched=touched, stages=stages)
        most = min(most, bound)
        return {
            "kind": "graph",
            "rings": [],
            "depends": [],
            "ranges": [],
            "save_headers": False,
            "slot_stride": 0,
            "max_batch": most,
            "graph": graph.address,
        }

    def _open_role(self, role: RolePlan, unit: UnitPlan) -> tuple[dict[str, Any], int]:
        cell = role.rx[0].cell if role.in_place else role.cell
        member: dict[str, Any] = {"role": role.index, "kind": role.kind, "cell": cell}
        handle: Any
        touched = 0
        if role.kind in {"bridge", "router", "merge"}:
            return member, touched
        if role.kind == "stage":
            handle = self._open_stage(role)
            member["stage"] = handle.address
            member["builtin"] = ":" not in role.stage
            member |= self.calls.get(role.index, {})
            touched = handle.touch_bytes_max
        else:
            handle = self._open_adapter(role, unit)
            member["source" if role.kind == "ingress" else "sink"] = handle.address
        self.handles.append(handle)
        return member, touched

    def _open_stage(self, role: RolePlan) -> Any:
        if is_action(role.stage):
            return self._open_action(role)
        if self._effect(role, "record"):
            from byteord.stages.actions.open import open_recorder

            return open_recorder(role, self.plan.run_id, self._journal())
        if role.is_python:
            from byteord.worker import python_stage

            stage = python_stage.load(
                role,
                code_dirs_of(self.plan, role),
                seed=role_seed(self.plan, role),
                shown=self._shown(role),
            )
            stage.show_progress(self.host.role_address(role.index))
            return stage
        if role.stage.startswith("dataguard_"):
            from byteord.stages.guard.open import open_guard

            return open_guard(role, self.plan, role_payload_bytes(self.plan, role))
        from byteord.stages.load import open_native

        return open_native(
            role,
            code_dirs_of(self.plan, role),
            role_payload_bytes(self.plan, role),
            seed=role_seed(self.plan, role),
            shown=self._shown(role),
        )

    def _shown(self, role: RolePlan) -> tuple[str, ...]:
        """Return where the code of a role was copied from; nothing when it was not."""
        return self.plan.code_dirs if frozen_dir(self.plan, role) else ()

    def _journal(self) -> Any:
        from byteord.stages.actions.journal import ActionJournal

        if self.journal is None:
            directory = self.plan.actions_dir or self.directory
            self.journal = ActionJournal(directory, self.worker.index)
        return self.journal

    def _open_action(self, role: RolePlan) -> Any:
        from byteord.stages.actions.open import open_action

        unit = next(unit.index for unit in self.plan.units if role.index in unit.roles)
        return open_action(
            role,
            self.plan,
            unit=unit,
            control=self.control,
            journal=self._journal(),
            budget=self._budget(),
        )

    def _budget(self) -> Any:
        """Return what is left of the actions that a replay may attempt."""
        if self.plan.replay is None or not self.plan.replay.actions_max:
            return None
        from byteord.stages.actions.budget import ActionBudget

        return ActionBudget(self.directory, self.plan.replay.actions_max)

    def _effect(self, role: RolePlan, mode: str) -> bool:
        return any(each.role == role.index and each.mode == mode for each in self.plan.effects)

    def _target_of(self, role: RolePlan) -> str:
        """Return what an egress would write to, as policy was asked about it."""
        effect = next(each for each in self.plan.effects if each.role == role.index)
        return f"{effect.capability.removeprefix('adapter:')} {effect.target}"

    def _acts(self, role: RolePlan) -> bool:
        """Tell whether a role is an egress that acts on the outside, which takes a lease."""
        return role.kind == "egress" and self._effect(role, "act")

    def _open_adapter(self, role: RolePlan, unit: UnitPlan) -> Any:
        from byteord.adapters.open import OpenContext, Resume, open_sink, open_source

        record = self.control.unit(unit.index)
        restarted = self.control.role(role.index)["restarts"] > 0
        saved = record["source_record" if role.kind == "ingress" else "sink_record"]
        context = OpenContext(
            payload_max=role_payload_bytes(self.plan, role),
            stream_fd=self.stream_fds.get(role.kind, -1),
            read_dirs=self.plan.read_dirs,
            write_dirs=self.plan.write_dirs,
            resume=Resume(*saved) if record["commits"] or restarted else None,
            name=role.name,
        )
        if role.kind == "egress" and self._effect(role, "record"):
            self._journal().write(
                "would", role=role.name, sequence=0, key="", target=self._target_of(role)
            )
            if self.plan.replay is None:
                return open_sink("discard", {}, context)
        if self.plan.replay is not None:
            from byteord.worker.replay import open_replay_end

            whole = not is_graph_unit(self.plan, unit) and any(map(self.calls.get, unit.roles))
            budget = self._budget() if self._acts(role) else None
            if budget is not None:
                target = self._target_of(role)
                self._journal().write(
                    "begin", sync=True, role=role.name, sequence=0, key="", target=target
                )
            return open_replay_end(role, context, self.directory, whole=whole, budget=budget)
        return (open_source if role.kind == "ingress" else open_sink)(
            role.adapter, role.options, context
        )

    def run(self) -> int:
        """Run every thread of the plan to its end; returns the exit code."""
        threads = Threads(
            self.plan,
            self.worker,
            host=self.host,
            control=self.control,
            journals=self.journals,
        )
        return threads.run()


def prepare_process(plan: RunPlan, worker: WorkerPlan) -> Outcome:
    """Name the process, place it, and leave signals of the terminal to the shim."""
    name_thread(f"byteor-w{worker.index}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return enter(plan.tuning, worker.cpus)


def report_tuning(report_fd: int, done: Outcome, *, wait: bool) -> bool:
    """Tell the shim what was refused; with `wait`, return whether the loop may begin."""
    if report_fd < 0:
        return True
    with socket.socket(fileno=report_fd) as channel:
        try:
            channel.send(json.dumps({"refused": done.refused, "seen": done.seen}).encode())
            return not wait or bool(channel.recv(64))
        except OSError:  # the shim has gone: a run that had to be judged does not begin
            return not wait


def run_worker(
    plan: RunPlan,
    worker: WorkerPlan,
    *,
    control_fd: int,
    ring_fds: list[int],
    stream_fds: dict[str, int],
    directory: str,
    report_fd: int = -1,
) -> int:
    """Be the worker: open, run, return the exit code.

    Errors of opening are recorded by role and give EXIT_FAILED.
    """
    done = prepare_process(plan, worker)
    try:
        hosted = Worker(
            plan,
            worker,
            control_fd=control_fd,
            ring_fds=ring_fds,
            stream_fds=stream_fds,
            directory=directory,
        )

        def tune() -> None:
            settle(plan.tuning, hosted.host.mappings(), done)
            begin(plan.tuning, done)

        hosted.open(tune)
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        text = f"{type(error).__name__}: {error}"
        sys.stderr.write(f"worker {worker.index} ({worker.name}): {text}\n")
        sys.stderr.flush()
        return EXIT_FAILED
    if not report_tuning(report_fd, done, wait=plan.tuning.strict):
        return EXIT_OK
    return hosted.run()
