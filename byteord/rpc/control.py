"""What the API's methods do, in terms of the domain: documents in, findings, plans and runs out.

Owns the order of validation and start: nothing starts that was not validated against this daemon's
authority a moment before. It must not know messages of the API or gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from byteord.deployment import validate as validation
from byteord.deployment.describe import describe
from byteord.deployment.diff import Diff, diff
from byteord.deployment.model import AdapterCatalogue, Authority, Deployment, HostFacts
from byteord.deployment.validate import Report
from byteord.errors import DeniedError, InvalidArgumentError, ResourceError, UnavailableError
from byteord.policy.judge import Judged, judge
from byteord.policy.needs import AnySpec, capabilities, needs
from byteord.rpc.facts import CapabilityFacts, capability_facts
from byteord.rpc.status import RefusedDocumentsError, Violation
from byteord.rpc.wanted import StartWanted
from byteord.runs.admission import new_run_id
from byteord.runs.code import code_digests, pins_of
from byteord.runs.dead_letters import DeadLetter, dead_letters
from byteord.runs.files import RunFiles
from byteord.runs.live import LiveRun
from byteord.runs.manager import RunManager
from byteord.runs.plan import make_plan, plan_description
from byteord.runs.state import RunState
from byteord.runs.tap import TapView
from byteord.runs.view import Admission, RunView
from byteord.spec.document import Source
from byteord.spec.dot import to_dot
from byteord.spec.findings import Finding, Severity
from byteord.spec.lane_model import LaneGraph
from byteord.spec.lanegraph.dot import to_dot as lane_graph_dot
from byteord.spec.model import StageCatalogue
from byteord.tuning.forecast import tuning_description


@dataclass(frozen=True, slots=True)
class Catalogues:
    """What this build knows of stages and adapters."""

    stages: StageCatalogue
    adapters: AdapterCatalogue


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that an approval of a run has to say."""

    spec_hash: str
    deployment_hash: str
    code: Mapping[str, str]
    environment: str
    host: str
    principal: str
    judged: tuple[Judged, ...]
    signers_min: int


class Control:
    """The domain behind the API of one daemon."""

    def __init__(
        self,
        authority: Authority,
        manager: RunManager,
        catalogues: Catalogues,
        host: Callable[[], HostFacts],
    ) -> None:
        self.authority = authority
        self.manager = manager
        self.catalogues = catalogues
        self.host = host
        self._going_down = False

    def go_down(self) -> None:
        """From now on nothing is started."""
        self._going_down = True

    def validate(self, spec: Source, deployment: Source | None, level: str) -> Report:
        """Return every finding up to a level (empty: all); raises InvalidArgumentError."""
        wanted = level or validation.LEVELS[-1]
        if wanted not in validation.LEVELS:
            raise InvalidArgumentError(
                f"level: seen {level!r}; wanted one of {', '.join(validation.LEVELS)}, or none "
                "for all",
                reason="LEVEL_UNKNOWN",
            )
        return self._validate(StartWanted(spec, deployment), wanted)

    def admit(self, wanted: StartWanted, level: str = validation.LEVELS[-1]) -> Report:
        """Return the report of documents that may run; raises RefusedDocumentsError for others."""
        report = self._validate(wanted, level)
        refuse(report.findings)
        return report

    def describe(self, wanted: StartWanted) -> tuple[dict[str, Any], Sequence[Finding]]:
        """Return a spec as understood with its plan, and findings that are not errors."""
        report = self._describable(wanted)
        assert report.spec is not None  # noqa: S101  admitted
        assert report.deployment is not None  # noqa: S101  admitted
        host = self.host()
        made = make_plan(
            report.spec,
            report.deployment,
            run_id=new_run_id(),
            single_process=wanted.single_process,
            host=host,
            authority=self.authority,
            client_input=wanted.client_input,
            client_output=wanted.client_output,
        )
        plan = plan_description(made)
        said = describe(report.spec, report.deployment)
        memory = {**said["memory"], "regions_bytes": plan["memory_bytes"]}
        notes = [*said["notes"], *plan["notes"]]
        placed = {key: plan[key] for key in ("mode", "roles", "units", "workers")}
        held = tuning_description(made, host, plan["memory_bytes"]) if wanted.host else {}
        pins = pins_of(report.spec.stages, self.authority.code_dirs, self.authority.code_packages)
        effects = _needed(report.spec, report.deployment)
        more = {"memory": memory, "notes": notes, "pins": pins, **effects}
        return {**said, **placed, **more, **held}, report.findings

    def _describable(self, wanted: StartWanted) -> Report:
        """Return the report of documents that may run, or would once their code is pinned.

        Where pins are demanded `describe` is what tells them.
        """
        report = self._validate(wanted, "policy")
        unpinned = [each for each in report.findings if each.code == "POLICY_DIGEST_MISSING"]
        refuse([each for each in report.findings if each not in unpinned])
        if not unpinned:
            return report
        without = self._validate(wanted, "topology")
        return replace(without, findings=report.findings)

    def dot(self, spec: Source) -> str:
        """Return the topology in DOT; raises RefusedDocumentsError."""
        report = self._validate(StartWanted(spec), "topology")
        refuse([finding for finding in report.findings if finding.document == "spec"])
        assert report.spec is not None  # noqa: S101  it has no error
        if isinstance(report.spec, LaneGraph):
            return lane_graph_dot(report.spec)
        return to_dot(report.spec)

    def diff(self, old: Source, new: Source, kind: str) -> Diff:
        """Return what changed; raises InvalidDocumentError when the two cannot be compared."""
        changes = diff(
            old,
            new,
            authority=self.authority,
            stages=self.catalogues.stages,
            adapters=self.catalogues.adapters,
            kind=kind,
        )
        if not changes.ok:
            raise RefusedDocumentsError(
                [
                    *violations(changes.old_findings, "old"),
                    *violations(changes.new_findings, "new"),
                ]
            )
        return changes

    async def start(self, admission: Admission) -> RunView:
        """Start an admitted run under its id; raises what `RunManager.start` raises."""
        self.check_up()
        return await self.manager.start(admission)

    async def preview(self, admission: Admission) -> RunView:
        """Return the run that would be started, without an id; raises what policy would say."""
        await self.manager.check(admission)
        return RunView(
            id="",
            name=admission.spec.name,
            state=RunState.STARTING,
            spec_sha256=admission.spec.sha256,
            deployment_sha256=admission.deployment.sha256,
            single_process=admission.single_process,
            principal=admission.principal,
        )

    def prepare_approval(self, wanted: StartWanted, principal: str) -> Draft:
        """Return what an approval of a run has to say; raises as `admit`, StageError."""
        report = self.admit(wanted, "policy")
        admission = admission_of(wanted, report, principal)
        code = code_digests(
            admission.spec.stages, self.authority.code_dirs, self.authority.code_packages
        )
        deployment, approvals = admission.deployment, self.manager.governor.approvals
        environment = str(deployment.environment)
        return Draft(
            spec_hash=f"sha256:{admission.spec.sha256}",
            deployment_hash=f"sha256:{deployment.sha256}",
            code=code,
            environment=environment,
            host=approvals.host,
            principal=principal,
            judged=judge(needs(admission.spec, deployment), environment, deployment.effects, None),
            signers_min=approvals.signers_min(environment),
        )

    async def record_stop(self, run_id: str, principal: str, request_id: str) -> None:
        """Write down that somebody stops a run; a run can be stopped all the same if it fails."""
        data = {"run": run_id, "principal": principal, "request_id": request_id}
        record = self.manager.governor.record
        await asyncio.to_thread(record, "run.stop_asked", {**data, "method": "StopRun"})

    async def dead_letters(
        self, run_id: str, principal: str, *, sees: bool
    ) -> Iterator[DeadLetter]:
        """Return the messages that actions of a run could not deliver; that is written down.

        `sees`: the caller may see payloads. Raises DeniedError (PAYLOAD_NOT_GRANTED),
        NotFoundError, ResourceError (AUDIT_NOT_WRITABLE).
        """
        if not sees:
            raise DeniedError(
                f"{principal} may not see payloads; wanted access.payload of the daemon's "
                "configuration to grant it",
                reason="PAYLOAD_NOT_GRANTED",
            )
        known = self.manager.get(run_id).id
        governor = self.manager.governor
        data = {"run": known, "principal": principal, "method": "ReadDeadLetters"}
        await asyncio.to_thread(governor.audit.append, "payload.read", data)
        return dead_letters(governor.actions_dir, known)

    async def tap_view(self, run: LiveRun, principal: str, *, sees: bool, seeks: bool) -> TapView:
        """Return how somebody may see messages of a run as they pass; payloads only once audited.

        `seeks`: only messages with certain bytes are wanted, which tells what they say: DeniedError
        (PAYLOAD_NOT_GRANTED) for somebody who may not see payloads.
        """
        if seeks and not sees:
            raise DeniedError(
                f"{principal} may not see payloads, and a filter by content tells what they say; "
                "wanted access.payload of the daemon's configuration to grant it, or no filter",
                reason="PAYLOAD_NOT_GRANTED",
            )
        digests = not sees or run.plan.environment != "dev"
        if sees and (seeks or not digests):
            data = {"run": run.id, "principal": principal, "method": "TapLane"}
            recorded = await asyncio.to_thread(self.manager.governor.record, "payload.read", data)
            if not recorded and seeks:
                raise ResourceError(
                    "the audit log cannot be written, so no payload is shown: make room for it",
                    reason="AUDIT_NOT_WRITABLE",
                )
            digests = digests or not recorded
        return TapView(digests, run.protection)

    def capabilities(self) -> CapabilityFacts:
        """Return what this daemon can do here; reads facts of the host."""
        return capability_facts(self.catalogues.stages, self.catalogues.adapters, self.host())

    def check_up(self) -> None:
        """Raise UnavailableError once the daemon is on its way down."""
        if self._going_down:
            raise UnavailableError(
                "this daemon is going down and starts nothing; try again when the next one is up",
                reason="GOING_DOWN",
            )

    def _validate(self, wanted: StartWanted, level: str) -> Report:
        return validation.validate(
            wanted.spec,
            wanted.deployment,
            authority=self.authority,
            stages=self.catalogues.stages,
            adapters=self.catalogues.adapters,
            host=self.host() if level == validation.LEVELS[-1] else None,
            overrides=wanted.overrides,
            client_input=wanted.client_input,
            client_output=wanted.client_output,
            files=RunFiles(self.authority.read_dirs),
            level=level,
        )


def _needed(spec: AnySpec, deployment: Deployment) -> dict[str, Any]:
    """Return the capabilities that a run needs, and what policy says of each by itself."""
    wanted = needs(spec, deployment)
    environment = str(deployment.environment)
    judged = judge(wanted, environment, deployment.effects, None)
    rows = [
        {
            "where": each.need.where,
            "capability": each.need.capability,
            "target": each.need.target,
            "decision": str(each.decision.verdict),
            "reason": each.decision.reason,
        }
        for each in judged
    ]
    return {"capabilities": list(capabilities(wanted)), "needs": rows}


def admission_of(wanted: StartWanted, report: Report, principal: str) -> Admission:
    """Return an admitted run as the manager takes it."""
    assert report.spec is not None  # noqa: S101  admitted
    assert report.deployment is not None  # noqa: S101  admitted
    return Admission(
        spec=report.spec,
        deployment=report.deployment,
        single_process=wanted.single_process,
        client_input=wanted.client_input,
        client_output=wanted.client_output,
        principal=principal,
        approval=wanted.approval,
    )


def refuse(findings: Sequence[Finding]) -> None:
    """Raise RefusedDocumentsError if any finding is an error."""
    found = violations(findings)
    if found:
        raise RefusedDocumentsError(found)


def violations(findings: Sequence[Finding], document: str = "") -> list[Violation]:
    """Return the errors among findings; `document` names theirs where two are of a kind."""
    return [
        Violation(
            finding.code,
            ".".join(part for part in (document or finding.document, finding.path) if part),
            finding.seen,
            finding.wanted,
            finding.fix,
        )
        for finding in findings
        if finding.severity is Severity.ERROR
    ]
