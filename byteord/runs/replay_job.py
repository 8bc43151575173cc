"""A replay as the run that it is: a plan with other ends, and what it leaves behind.

Owns what makes a run a replay: where input comes from, that output is digested, that nothing is
restarted, written to a journal of the deployment, or tuned beyond the defaults. What to make of
what is left is `byteord.capture`'s; policy is asked by whoever starts the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byteord._cext import replay as native
from byteord.deployment.actions import ACTING_ADAPTERS
from byteord.deployment.capture import Capture
from byteord.deployment.model import Adapter, Deployment, FailurePolicy, Tuning
from byteord.deployment.plan import (
    CALLS_BYTES,
    CALLS_FILE,
    GONE_BYTES,
    GONE_FILE,
    ReplayPlan,
    RolePlan,
    RunPlan,
)
from byteord.regions.segments import Survey
from byteord.spec.lane_model import MEMORY_SEGMENTS_DEFAULT, Journal, Lane, LaneGraph
from byteord.spec.model import Spec
from byteord.stages.actions.budget import BYTES, COUNT, read_budget

REPLAY, DIGEST = "replay", "digest"
TRACE_BYTES = 4 << 20
_ACTION_EVENTS = frozenset({"would", "begin"})
_ACTIONS_READ_MAX = 100_000
_CALLS = struct.Struct("<5Q")
_GONE = struct.Struct("<3Q")
_JOURNAL_BYTES_MAX = 128 << 20
"""Of a journal in shared memory that is to keep all of a replay."""
_FRAME_BYTES = 64
"""A frame without its payload, and what fills it up."""
_UNDIRECTED = b"\xff" * CALLS_BYTES


@dataclass(frozen=True, slots=True)
class ReplayInput:
    """What one ingress is given: frames of a journal, by its own count."""

    directory: str
    low: int
    high: int
    origin_ns: int = 0
    """Ingress time that is due at once, when speed counts."""


@dataclass(frozen=True, slots=True)
class ReplayOutput:
    """What one egress is held against."""

    marks: Sequence[tuple[int, bytes]] = ()
    """(count, digest as it was live then), by count."""
    expected: str = ""
    """Directory with every message that left live; empty: they were not kept."""


@dataclass(frozen=True, slots=True)
class Called:
    """How the calls of a stage differed from those that were recorded; in the order of the area.

    Sequences are those by which errors of the stage are told.
    """

    strayed: int
    """Calls with other messages."""
    unfailed: int
    """Messages that it failed on live, where it went on, and now did not."""
    unfailed_at: int
    """The first of them."""
    unforeseen: int
    """Messages that it failed on now, and did not live."""
    unforeseen_at: int
    """The first of them."""

    @property
    def fails_otherwise(self) -> bool:
        """Tell whether it failed on other messages than live."""
        return bool(self.unfailed or self.unforeseen)


@dataclass(frozen=True, slots=True)
class Gone:
    """What journals of a replay had let go of before a role read it, in the order of the area."""

    count: int
    first: int
    """Sequence of the first in the lane."""
    behind: int
    """Sequence behind the last of them."""


@dataclass(slots=True)
class Harvest:
    """What a replay left in its run directory."""

    areas: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By egress, as `native.read_area`."""
    trace: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    """Lines of the action journals that begin an attempt, or say what would have been one."""
    attempted: int = 0
    """Actions that were tried, or in a dry run written down by stages."""
    budget_spent: bool = False
    calls: dict[str, Called] = field(default_factory=dict)
    """Of each role that was called as then: what was otherwise all the same."""
    gone: dict[str, Gone] = field(default_factory=dict)
    """Of roles that read journals, and missed there what they had live."""


@dataclass(slots=True)
class ReplayJob:
    """One pass over captured input."""

    inputs: Mapping[str, ReplayInput]
    """By ingress."""
    outputs: Mapping[str, ReplayOutput] = field(default_factory=dict)
    """By egress."""
    run_id: str = ""
    """Of the recorded run: part of idempotency keys; empty: unknown."""
    hash_seed: int | None = None
    """PYTHONHASHSEED of the recorded run; None: unknown."""
    seed: int | None = None
    """Of what its stages drew at random; None: unknown."""
    sequence_base: int = 0
    """What is added to a sequence to have the recorded one."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Directories of recorded choices by role, which are made again."""
    journal_bytes: int = 0
    """What a journal in shared memory needs to keep all of it, see `journal_bytes`."""
    exact: bool = False
    """What is given again is all that came, to the same spec: calls have the same messages."""
    speed: float = 0.0
    execute: bool = False
    actions_max: int = 0
    trace_ns: int = 0
    """Ingress time of the message to follow; 0: none."""
    stops: bool = False
    """At the first difference."""
    streams: str = ""
    """Egress whose output the client takes."""
    code_dirs: tuple[str, ...] | None = None
    """Where the stages' code comes from instead of the daemon's directories."""
    made: RunPlan | None = None
    """The plan as it runs; None until it was admitted."""
    found: Harvest = field(default_factory=Harvest)

    # --- before it runs

    def spec(self, spec: Spec | LaneGraph) -> Spec | LaneGraph:
        """Return the spec to plan by: no journal on disk, and who is told what to miss waits."""
        if not isinstance(spec, LaneGraph):
            return spec
        return replace(spec, lanes=tuple(self._lane(lane) for lane in spec.lanes))

    def _lane(self, lane: Lane) -> Lane:
        journal = self._journal(lane.journal) if lane.journal else None
        lossy = tuple(name for name in lane.lossy if name not in self.choices)
        return replace(lane, journal=journal, lossy=lossy)

    def _journal(self, journal: Journal) -> Journal:
        """Return a journal in shared memory that keeps all of a replay, as far as there is room."""
        segment = journal.segment_bytes
        room = max(_JOURNAL_BYTES_MAX, MEMORY_SEGMENTS_DEFAULT * segment)
        wanted = (-(-self.journal_bytes // segment) + 2) * segment
        kept = journal.retention_bytes or MEMORY_SEGMENTS_DEFAULT * segment
        return replace(
            journal, durable=False, retention_bytes=min(max(wanted, kept), room), retention_s=0
        )

    def deployment(self, deployment: Deployment, spec: Spec | LaneGraph) -> Deployment:
        """Return the deployment to plan by: other ends, nothing restarted."""
        leaving = {each.name for each in spec.egresses}
        ends = {
            each.name: Adapter(DIGEST if each.name in leaving else REPLAY, {})
            for each in spec.endpoints
        }
        failure = deployment.failure
        if failure.policy is FailurePolicy.RESTART:
            failure = replace(failure, policy=FailurePolicy.STOP_PIPELINE)
        return replace(
            deployment,
            adapters=ends,
            failure=replace(failure, restarts_max=0),
            effects=replace(deployment.effects, dry_run=not self.execute),
            journals={},
            capture=Capture(),
            seed=(deployment.seed or 0) if self.seed is None else self.seed,
            tuning=replace(Tuning(), wait=deployment.tuning.wait, fuse=deployment.tuning.fuse),
        )

    def plan(self, plan: RunPlan, deployment: Deployment) -> RunPlan:
        """Return the plan with what each end does; `deployment` is the recorded one."""
        roles = tuple(self._role(role, deployment) for role in plan.roles)
        return replace(
            plan,
            name=f"{plan.name}.replay",
            roles=roles,
            code_dirs=plan.code_dirs if self.code_dirs is None else self.code_dirs,
            replay=ReplayPlan(
                run_id=self.run_id,
                sequence_base=self.sequence_base,
                actions_max=self.actions_max,
                traces=self.trace_ns > 0,
                hash_seed=self.hash_seed,
                choices=dict(self.choices),
                exact=self.exact,
            ),
        )

    def _role(self, role: RolePlan, deployment: Deployment) -> RolePlan:
        if role.kind == "ingress":
            given = self.inputs[role.name]
            options: dict[str, Any] = {
                "directory": given.directory,
                "low": given.low,
                "high": given.high,
                "origin_ns": given.origin_ns,
                "speed": self.speed,
            }
            return replace(role, options=options)
        if role.kind == "egress":
            wanted = self.outputs.get(role.name, ReplayOutput())
            options = {"area": area_file(role.index), "expected": wanted.expected}
            return replace(
                role, options={**options, "stops": self.stops, **self._onward(role, deployment)}
            )
        return role

    def _onward(self, role: RolePlan, deployment: Deployment) -> dict[str, Any]:
        """Where messages go besides the digest: the client, or in execute mode the real thing."""
        adapter = deployment.adapters.get(role.name)
        if role.name == self.streams:
            return {"onward": "stream", "onward_options": dict(adapter.options) if adapter else {}}
        if self.execute and adapter is not None and adapter.kind in ACTING_ADAPTERS:
            return {"onward": adapter.kind, "onward_options": dict(adapter.options)}
        return {"onward": "", "onward_options": {}}

    def prepare(self, directory: str, plan: RunPlan) -> None:
        """Make the files in the run directory that the workers fill. Blocks."""
        self.made = plan
        place = Path(directory)
        for role in plan.roles:
            if role.kind == "egress":
                wanted = self.outputs.get(role.name, ReplayOutput())
                _write(place / area_file(role.index), native.area_bytes(list(wanted.marks)))
        _write(place / COUNT, bytes(BYTES))
        _write(place / CALLS_FILE, _UNDIRECTED * len(plan.roles))
        _write(place / GONE_FILE, bytes(GONE_BYTES * len(plan.roles)))
        if self.trace_ns:
            for worker in plan.workers:
                _write(
                    place / trace_file(worker.index), native.trace_bytes(self.trace_ns, TRACE_BYTES)
                )

    # --- after it ran

    def harvest(self, directory: str, plan: RunPlan) -> None:
        """Read what the workers left, before the run directory goes. Blocks."""
        place = Path(directory)
        for role in plan.roles:
            if role.kind == "egress":
                with contextlib.suppress(OSError, ValueError):
                    data = (place / area_file(role.index)).read_bytes()
                    self.found.areas[role.name] = native.read_area(data)
        if self.trace_ns:
            for worker in plan.workers:
                with contextlib.suppress(OSError, ValueError):
                    data = (place / trace_file(worker.index)).read_bytes()
                    self.found.trace += native.read_trace(data)[0]
        with contextlib.suppress(OSError):
            self.found.calls = _read_calls((place / CALLS_FILE).read_bytes(), plan)
        with contextlib.suppress(OSError):
            self.found.gone = _read_gone((place / GONE_FILE).read_bytes(), plan)
        for path in sorted(Path(plan.actions_dir or directory).glob("actions-*.journal")):
            self._read_actions(path)
        with contextlib.suppress(OSError, struct.error):
            counted = read_budget((place / COUNT).read_bytes())
            self.found.attempted, self.found.budget_spent = counted

    def _read_actions(self, path: Path) -> None:
        with contextlib.suppress(OSError), path.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    if entry["event"] in _ACTION_EVENTS:
                        self.found.actions.append(entry)
                if len(self.found.actions) >= _ACTIONS_READ_MAX:
                    return


def _read_calls(data: bytes, plan: RunPlan) -> dict[str, Called]:
    pairs = zip(plan.roles, _CALLS.iter_unpack(data), strict=True)
    return {
        role.name: Called(*words) for role, words in pairs if _CALLS.pack(*words) != _UNDIRECTED
    }


def _read_gone(data: bytes, plan: RunPlan) -> dict[str, Gone]:
    pairs = zip(plan.roles, _GONE.iter_unpack(data), strict=True)
    return {role.name: Gone(*words) for role, words in pairs if words[0]}


def journal_bytes(surveys: Iterable[Survey]) -> int:
    """Return the bytes of a journal that has all messages that are given again, made two each."""
    return 2 * sum(each.chosen_bytes + _FRAME_BYTES * each.chosen for each in surveys)


def area_file(role: int) -> str:
    """Return the name of an egress's area in the run directory."""
    return f"egress-{role}.digest"


def trace_file(worker: int) -> str:
    """Return the name of a worker's trace in the run directory."""
    return f"trace-{worker}.bin"


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
