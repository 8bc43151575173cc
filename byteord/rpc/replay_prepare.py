"""Getting a replay ready: what is replayed, by which documents, whether it may be.

Owns the order of these steps and the messages when one does not work out. Blocks on files: not for
the event loop. Nothing runs yet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from byteord.capture.files import flat_of
from byteord.capture.recorded import CAPTURE, Recorded, read_recorded
from byteord.capture.shown import Viewer
from byteord.capture.verdict import Conditions, marks_of
from byteord.deployment import validate as validation
from byteord.deployment.model import Authority, Deployment
from byteord.errors import DeniedError, InvalidArgumentError, NotFoundError
from byteord.regions.segments import Range, Survey
from byteord.rpc.control import Control, refuse
from byteord.rpc.replay_bundle import check_withheld, code_place, stand_in
from byteord.rpc.replay_calls import CalledAsThen, MayRead, recorded_seeds, what_may_be_read
from byteord.rpc.replay_hold import Place, narrowed
from byteord.rpc.replay_range import begins_at_the_first, surveys_of
from byteord.rpc.replay_viewer import check_output, viewer_of
from byteord.rpc.replay_wanted import ReplayWanted
from byteord.runs.choices import free_roles
from byteord.runs.files import RunFiles
from byteord.runs.replay_job import ReplayInput, ReplayJob, ReplayOutput
from byteord.spec.document import Source
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import Spec
from byteord.spec.stage_key import parse_key

AnySpec = Spec | LaneGraph
_DIGEST_KEYS = (b"dataguard.digests.", b"actions.ca_digest=")


@dataclass(slots=True)
class Facts:
    """What is known of a replay so far: for its audit, however far it came."""

    spec_sha256: str = ""
    environment: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A replay that is ready to be admitted."""

    recorded: Recorded
    wanted: Range
    spec: AnySpec
    deployment: Deployment
    surveys: Mapping[str, Survey]
    """By ingress."""
    job: ReplayJob
    viewer: Viewer
    reads: MayRead = field(default_factory=MayRead)
    step_payload: bytes | None = None

    @property
    def begins(self) -> bool:
        """Tell whether the first messages that came in are given again, so that places agree."""
        return begins_at_the_first(self.wanted, self.recorded, self.surveys)

    @property
    def selected(self) -> int:
        """Messages that are given again."""
        return sum(given.high - given.low for given in self.job.inputs.values())

    @property
    def spec_changed(self) -> bool:
        """Tell whether the spec is another than the recorded one."""
        then = self.recorded.facts.get("spec_sha256")
        return then is not None and then != self.spec.sha256

    def conditions(
        self, code: Mapping[str, str], here: Mapping[str, Any], job: ReplayJob, *, cut: bool
    ) -> Conditions:
        """Return how it is run, for the verdict; `cut` as for `CalledAsThen`."""
        own = [each for each in self.spec.stages if not parse_key(each.stage).is_builtin]
        users = [each for each in own if not parse_key(each.stage).is_action]
        recorded = [each.name for each in users if each.effects != () and not self.job.execute]
        sure = [each.name for each in users if each.deterministic and each.name not in recorded]
        called = CalledAsThen(self.recorded.facts, job, spec_changed=self.spec_changed, cut=cut)
        clock = [name for name in sure if name in self.reads.clock and not called.clock(name)]
        drawn = self.reads.seed if job.seed is None else frozenset()
        return Conditions(
            spec_changed=self.spec_changed,
            code=code,
            here=here,
            nondeterministic=[
                each.name for each in users if not each.deterministic and each.name not in recorded
            ],
            recorded=recorded,
            free=free_roles(job.made, job.choices) if job.made is not None else (),
            clock=clock,
            seed=[name for name in sure if name in drawn],
            calls=[name for name in sure if name not in clock and called.otherwise(name)],
        )


def prepare(
    control: Control, wanted: ReplayWanted, place: Place, facts: Facts, *, sees: bool
) -> Prepared:
    """Return a replay that may be admitted; fills `facts` as it goes.

    Raises NotFoundError, DataError, InvalidArgumentError, RefusedDocumentsError, DeniedError.
    """
    authority = control.authority
    if authority.replay_policy == "disabled":
        text = "this daemon replays nothing: replay.policy of its configuration is disabled"
        raise DeniedError(text, reason="POLICY_DENIED")
    recorded = read_recorded(place.directory)
    if not recorded.code_dir:
        recorded = replace(recorded, code_dir=code_place(place.directory))
    facts.source = {"journal_path": place.named, "last_n": wanted.range.last or None}
    facts.environment = str(recorded.facts.get("environment", authority.environment))
    spec, deployment = _documents(control, wanted, recorded)
    facts.spec_sha256, facts.environment = spec.sha256, str(deployment.environment)
    limits = _limits(authority, wanted)
    facts.limits = {**limits, "input_reached": False, "actions_reached": False}
    surveys = surveys_of(wanted, recorded, spec, limits["input_bytes_max"])
    facts.limits["input_reached"] = any(each.limited for each in surveys.values())
    viewer = viewer_of(recorded, spec, deployment, allowed=sees and wanted.payloads)
    facts.source |= _input_facts(recorded, surveys, viewer)
    if wanted.execute:
        _check_execute(authority, recorded, spec, deployment, surveys)
    job = _job(wanted, recorded, spec, surveys, limits["actions_max"])
    if wanted.client_output:
        check_output(viewer, [each.name for each in spec.egresses], sees=sees)
    dirs = authority.code_dirs if job.code_dirs is None else job.code_dirs
    reads = what_may_be_read(spec.stages, dirs, authority.code_packages)
    recorded = narrowed(place, recorded, job.inputs)
    prepared = Prepared(recorded, wanted.range, spec, deployment, surveys, job, viewer, reads)
    return _with_step(prepared, wanted)


def run_place(control: Control, run_id: str, lane: str, snapshot: Mapping[str, Any]) -> str:
    """Return where the capture of a run of this daemon lies, or the journal of one of its lanes."""
    if lane:
        for row in (snapshot.get("plan") or {}).get("lanes") or ():
            journal = row.get("journal") or {}
            if row.get("name") == lane and journal.get("durable"):
                return str(journal["directory"])
        raise NotFoundError(
            f"the run {run_id} has no durable journal lane {lane!r}; wanted one whose lane says "
            "durable = true",
            reason="NO_CAPTURE",
        )
    documents = control.manager.documents(run_id)
    flat = flat_of(documents.deployment_kv) if documents.deployment_kv else {}
    base = flat.get("capture.directory")
    if not isinstance(base, str):
        raise NotFoundError(
            f"the run {run_id} was not captured: its deployment has no [capture]; add one and run "
            "it again, or replay a journal lane (--lane)",
            reason="NO_CAPTURE",
        )
    for root in ("", *control.authority.write_dirs):
        path = os.path.join(root, base, run_id)
        if os.path.isabs(path) and os.path.exists(os.path.join(path, CAPTURE)):
            return path
    raise NotFoundError(
        f"the capture of the run {run_id} is not in {base}: it was moved, or retention took it",
        reason="NO_CAPTURE",
    )


def _documents(
    control: Control, wanted: ReplayWanted, recorded: Recorded
) -> tuple[AnySpec, Deployment]:
    spec, deployment = _spec_source(wanted, recorded), wanted.deployment
    if deployment is None and recorded.deployment_kv:
        kept = [
            line
            for line in recorded.deployment_kv.splitlines(keepends=True)
            if not line.startswith(_DIGEST_KEYS)
        ]
        deployment = Source("deployment.kv", b"".join(kept), "kv")
    if deployment is None and recorded.kind == "capture":
        if wanted.execute:
            raise DeniedError(
                "the source has no deployment of its own, and an approval covers where effects go; "
                "give it (--deployment)",
                reason="REPLAY_NO_DEPLOYMENT",
            )
        deployment = stand_in(recorded)
    authority = control.authority
    if code := _code(wanted, recorded):
        authority = replace(authority, code_dirs=code)
    ends = _client_ends(recorded)
    if not wanted.execute:
        first = _validate(control, spec, deployment, authority, ends=ends, level="topology")
        assert first.spec is not None  # noqa: S101  no finding is an error
        authority = _untouched(authority, first.spec)
    report = _validate(control, spec, deployment, authority, ends=ends, level="policy")
    assert report.spec is not None  # noqa: S101  no finding is an error
    assert report.deployment is not None  # noqa: S101  no finding is an error
    return report.spec, report.deployment


def _client_ends(recorded: Recorded) -> tuple[bool, bool]:
    """Return whether the client of the recorded run fed it and took its output.

    The effective deployment says so, and its hash, which an approval names, covers that.
    """
    flat = flat_of(recorded.deployment_kv) if recorded.deployment_kv else {}
    streams = {key.split(".")[1] for key, value in flat.items() if _is_stream(key, value)}
    return bool(streams & set(recorded.inputs)), bool(streams & set(recorded.live))


def _is_stream(key: str, value: object) -> bool:
    return key.startswith("adapters.") and key.endswith(".kind") and value == "stream"


def _validate(
    control: Control,
    spec: Source,
    deployment: Source | None,
    authority: Authority,
    *,
    ends: tuple[bool, bool],
    level: str,
) -> validation.Report:
    report = validation.validate(
        spec,
        deployment,
        authority=authority,
        stages=control.catalogues.stages,
        adapters=control.catalogues.adapters,
        files=RunFiles(control.authority.read_dirs),
        client_input=ends[0],
        client_output=ends[1],
        level=level,
    )
    refuse(report.findings)
    return report


def _spec_source(wanted: ReplayWanted, recorded: Recorded) -> Source:
    check_withheld(recorded, wanted.spec)
    if wanted.spec is not None:
        return wanted.spec
    if not recorded.spec_kv:
        raise InvalidArgumentError(
            "spec: seen none; a journal does not carry the spec that reads it: give one (--spec)",
            reason="INVALID_ARGUMENT",
        )
    return Source("spec.kv", recorded.spec_kv, "kv")


def _untouched(authority: Authority, spec: AnySpec) -> Authority:
    """Return an authority for documents of a dry replay, which touches nothing outside.

    Code still comes from the daemon's directories alone.
    """
    actions = [key for each in spec.stages if (key := parse_key(each.stage)).is_action]
    return replace(
        authority,
        read_dirs=("/",),
        write_dirs=("/",),
        listen=("*:*", "unix:/"),
        connect=("*:*", "unix:/"),
        url_prefixes=tuple(
            key.module.partition("?")[0] for key in actions if key.kind == "http_post"
        ),
        exec_allowed=tuple(key.module for key in actions if key.kind == "exec"),
    )


def _limits(authority: Authority, wanted: ReplayWanted) -> dict[str, int]:
    return {
        "actions_max": min(
            wanted.actions_max or authority.replay_actions_max, authority.replay_actions_max
        ),
        "input_bytes_max": min(
            wanted.input_bytes_max or authority.replay_input_bytes_max,
            authority.replay_input_bytes_max,
        ),
    }


def _input_facts(
    recorded: Recorded, surveys: Mapping[str, Survey], viewer: Viewer
) -> dict[str, Any]:
    samples: list[str] = []
    for name, survey in surveys.items():
        recording = recorded.inputs.get(name) or recorded.inputs[""]
        for own in range(survey.low, min(survey.low + 8, survey.high)):
            found = recording.segments.find(own=own)
            if found is not None:
                samples.append(viewer.digest(found[4]))
    return {
        "journal_lane": ",".join(surveys),
        "scanned_records": sum(each.frames for each in surveys.values()),
        "selected_records": sum(each.chosen for each in surveys.values()),
        "selected_bytes": sum(each.chosen_bytes for each in surveys.values()),
        "sample_sha256": samples,
        "run": recorded.run_id or None,
        "seed": recorded_seeds(recorded.facts)[1],
    }


def _check_execute(
    authority: Authority,
    recorded: Recorded,
    spec: AnySpec,
    deployment: Deployment,
    surveys: Mapping[str, Survey],
) -> None:
    """Refuse a replay that acts where it could not do so as what was recorded."""
    if authority.replay_policy != "execute":
        raise DeniedError(
            f"replay.policy of this daemon is {authority.replay_policy}; wanted execute, in its "
            "configuration, for a replay that acts; without --execute it runs dry",
            reason="REPLAY_DRY_ONLY",
        )
    then = recorded.facts.get("environment")
    if then is not None and then != str(deployment.environment):
        raise DeniedError(
            f"environment: the run was recorded in {then}, the deployment says "
            f"{deployment.environment}; a replay acts only where the run did",
            reason="REPLAY_ENVIRONMENT",
        )
    if not recorded.run_id:
        raise DeniedError(
            "a journal does not say which run wrote it, so the original idempotency keys are not "
            "known; a replay acts only from a capture",
            reason="REPLAY_KEYS_UNKNOWN",
        )
    simple = isinstance(spec, Spec) and spec.ring.shards == 1
    whole = all(not each.chosen_missing for each in surveys.values())
    begins = all(each.low_sequence == 0 for each in surveys.values())
    if not whole or (not simple and not begins):
        raise DeniedError(
            "the messages given again have gaps, so that sequences, and with them the original "
            "idempotency keys, are not known; give a range without gaps"
            + ("" if simple else ", from the first message on"),
            reason="REPLAY_KEYS_UNKNOWN",
        )


def _job(
    wanted: ReplayWanted,
    recorded: Recorded,
    spec: AnySpec,
    surveys: Mapping[str, Survey],
    actions_max: int,
) -> ReplayJob:
    origin = min((each.chosen_ns for each in surveys.values() if each.chosen), default=0)
    simple = isinstance(spec, Spec) and spec.ring.shards == 1
    only = next(iter(surveys.values())) if simple else None
    comparable = begins_at_the_first(wanted.range, recorded, surveys)
    seeds = recorded_seeds(recorded.facts)
    return ReplayJob(
        inputs={
            name: ReplayInput(
                (recorded.inputs.get(name) or recorded.inputs[""]).directory,
                survey.low,
                survey.high,
                origin,
            )
            for name, survey in surveys.items()
        },
        outputs={
            name: ReplayOutput(marks_of(live), live.messages)
            for name, live in recorded.live.items()
            if comparable
        },
        run_id=recorded.run_id,
        hash_seed=seeds[0],
        seed=seeds[1],
        sequence_base=only.low_sequence if only is not None else 0,
        choices=recorded.whole_choices if comparable else {},
        exact=_is_same(recorded, spec, surveys),
        speed=wanted.speed,
        execute=wanted.execute,
        actions_max=actions_max,
        stops=wanted.until_divergence,
        streams=_streamed(wanted, spec),
        code_dirs=_code(wanted, recorded),
    )


def _is_same(recorded: Recorded, spec: AnySpec, surveys: Mapping[str, Survey]) -> bool:
    """Tell whether the recorded spec is given its input from the first message on, without gaps."""
    whole = all(not each.low_sequence and not each.chosen_missing for each in surveys.values())
    return whole and recorded.facts.get("spec_sha256") == spec.sha256


def _streamed(wanted: ReplayWanted, spec: AnySpec) -> str:
    if not wanted.client_output:
        return ""
    if len(spec.egresses) != 1:
        names = ", ".join(each.name for each in spec.egresses)
        raise InvalidArgumentError(
            f"output: the spec has several egresses ({names}); wanted one, for --output",
            reason="INVALID_ARGUMENT",
        )
    return spec.egresses[0].name


def _code(wanted: ReplayWanted, recorded: Recorded) -> tuple[str, ...] | None:
    if not wanted.trust_code:
        return None
    if wanted.execute:
        raise DeniedError(
            "code that a source carries runs confined and dry only; leave out --execute",
            reason="REPLAY_CODE_UNTRUSTED",
        )
    if not recorded.code_dir:
        raise NotFoundError(
            "the source carries no code: its deployment does not allow that; leave out "
            "--trust-code, and have the stages' code where the daemon takes code from",
            reason="NO_CODE",
        )
    return (recorded.code_dir,)


def _with_step(prepared: Prepared, wanted: ReplayWanted) -> Prepared:
    """Return the replay as `--step` wants it: everything up to that message, which is followed."""
    if wanted.step is None:
        return prepared
    job, recorded = prepared.job, prepared.recorded
    names = list(job.inputs)
    name = wanted.ingress or names[0]
    if name not in job.inputs or (len(names) > 1 and not wanted.ingress):
        raise InvalidArgumentError(
            f"step: seen ingress {wanted.ingress or 'none'!r}; wanted one of {', '.join(names)}",
            reason="INVALID_ARGUMENT",
        )
    recording = recorded.inputs.get(name) or recorded.inputs[""]
    by = {"rx": wanted.step} if recorded.by_rx else {"own": wanted.step}
    found = recording.segments.find(**by)
    given = job.inputs[name]
    if found is None or not given.low <= found[0] < given.high:
        survey = prepared.surveys[name]
        raise NotFoundError(
            f"step: no message {wanted.step} of ingress {name} in what is selected; wanted one "
            f"from {survey.low_sequence} to {max(survey.high_sequence - 1, 0)}",
            reason="NO_SEQUENCE",
        )
    job.inputs = {**job.inputs, name: replace(given, high=found[0] + 1)}
    job.trace_ns = found[2]
    return replace(prepared, step_payload=found[4])
