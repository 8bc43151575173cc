"""All checks of a spec and its deployment, level by level, with every finding.

Owns the order of the levels and what each says it did not check. Pure: opens no file, imports no
stage or adapter code; the host is what the caller measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from byteord.deployment import authority_rules, host_rules
from byteord.deployment.check import DeploymentCheck
from byteord.deployment.model import (
    AdapterCatalogue,
    Authority,
    Deployment,
    DocumentFiles,
    Environment,
    HostFacts,
)
from byteord.spec.document import Source
from byteord.spec.findings import Collector, Finding, Level, Severity
from byteord.spec.lane_model import LaneGraph
from byteord.spec.model import SLOT_BYTES_MAX, Spec, StageCatalogue
from byteord.spec.validate import SpecCheck

LEVELS = ("syntax", "schema", "topology", "policy", "host")

_NOT_CHECKED = {
    "syntax": "what the keys mean",
    "schema": "how keys fit together; configuration of python:, cabi: and numba: stages, which "
    "their own code reads",
    "topology": "what this daemon allows and this host has",
    "policy": "whether files and code exist and may be read, which opening them shows; whether an "
    "approval covers the side effects, which starting the run shows; confinement",
    "host": "whether ports are free and peers answer, which opening them shows; tuning beyond "
    "CPUs and memory",
}
_DOCUMENTS = ("spec", "deployment", "host")


@dataclass(frozen=True, slots=True)
class Report:
    """What validation found and, when nothing is an error, the documents it read."""

    findings: tuple[Finding, ...]
    levels: tuple[Level, ...]
    spec: Spec | LaneGraph | None
    """The spec, when it has no error, whatever the deployment has."""
    deployment: Deployment | None
    """The effective deployment (defaults and flags applied), when it has no error and the spec
    could be read."""
    environment: Environment

    @property
    def ok(self) -> bool:
        """Tell whether no finding is an error."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def spec_kv(self) -> bytes:
        """Return the canonical spec, empty when there is none."""
        return self.spec.kv if self.spec is not None else b""


def validate(  # noqa: PLR0913 - the whole context of a run
    spec: Source,
    deployment: Source | None,
    *,
    authority: Authority,
    stages: StageCatalogue,
    adapters: AdapterCatalogue,
    host: HostFacts | None = None,
    overrides: Mapping[str, str] | None = None,
    client_input: bool = False,
    client_output: bool = False,
    files: DocumentFiles | None = None,
    level: str = "host",
) -> Report:
    """Return every finding of a spec and its deployment up to a level.

    Args:
        spec: the spec as written.
        deployment: the deployment as written; None stands for one with every default: the
            daemon's environment, `stdin` and `stdout` as adapters.
        authority: what the daemon allows.
        stages: the stage catalogue.
        adapters: the adapter catalogue.
        host: what was measured of the host; None leaves the level `host` out.
        overrides: dotted keys of the deployment and values in KV form, as given by `--set`.
        client_input: the client streams the input: the ingress becomes a `stream` in the framing of
            its adapter.
        client_output: the same for the egress.
        files: reads the files that the deployment names, which its hash covers; None leaves them
            out.
        level: last level to run, one of `LEVELS`.

    Raises:
        ValueError: `level` is none of `LEVELS`.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level!r} is none of {', '.join(LEVELS)}")
    run = _Run(
        SpecCheck(spec),
        DeploymentCheck(
            deployment, overrides or {}, client_input=client_input, client_output=client_output
        ),
        authority,
        host,
        files,
    )
    return run.report(stages, adapters, LEVELS.index(level))


class _Run:
    """One validation on its way through the levels."""

    def __init__(
        self,
        spec: SpecCheck,
        deployment: DeploymentCheck,
        authority: Authority,
        host: HostFacts | None,
        files: DocumentFiles | None,
    ) -> None:
        self._files = files
        self._spec, self._deployment = spec, deployment
        self._authority, self._host = authority, host
        self._on_host = Collector("host", {})
        self._unsized: dict[str, str] = {}
        self._environment = deployment.decide_environment(authority)

    def report(self, stages: StageCatalogue, adapters: AdapterCatalogue, last: int) -> Report:
        steps = (
            lambda: True,
            lambda: self._schema(stages, adapters),
            self._topology,
            lambda: self._policy(adapters),
            self._host_level,
        )
        levels: list[Level] = []
        for index, name in enumerate(LEVELS):
            ran = index <= last and steps[index]()
            levels.append(Level(name, ran, self._not_checked(name, ran=ran, asked=index <= last)))
        findings = [*self._spec.findings, *self._deployment.findings, *self._on_host.findings]
        findings.sort(key=lambda item: (_DOCUMENTS.index(item.document), item.line, item.column))
        topology_ran = levels[LEVELS.index("topology")].ran
        return Report(
            findings=tuple(findings),
            levels=tuple(levels),
            spec=self._spec.build() if topology_ran else None,
            deployment=self._deployment.build() if topology_ran else None,
            environment=self._environment,
        )

    def _not_checked(self, name: str, *, ran: bool, asked: bool) -> str:
        if ran:
            also = self._unsized.get(name)
            return f"{also}; {_NOT_CHECKED[name]}" if also else _NOT_CHECKED[name]
        if not asked:
            return "anything: it was not asked for"
        if name == "host" and self._host is None:
            return "anything: nothing was measured of the host"
        return "anything: an earlier level found errors that it cannot look past"

    def _schema(self, stages: StageCatalogue, adapters: AdapterCatalogue) -> bool:
        unknown = Severity.WARNING if self._environment is Environment.DEV else Severity.ERROR
        ran = self._spec.schema(stages, unknown=unknown)
        also = self._deployment.schema(
            self._spec.endpoints(), adapters, unknown=unknown, payload_max=self._spec.payload_max
        )
        self._deployment.read_redact(stages, self._payload_max())
        return ran and also

    def _payload_max(self) -> int:
        """Return the longest message that enters or leaves."""
        return max(map(self._spec.payload_max, self._spec.endpoints()), default=SLOT_BYTES_MAX)

    def _topology(self) -> bool:
        ran = self._spec.topology()
        graph = self._spec.graph
        draft = graph.draft if graph is not None else None
        spec = self._spec.build() if graph is None else None
        shards = spec.ring.shards if isinstance(spec, Spec) else 1
        return self._deployment.topology(self._spec.endpoints(), draft, shards=shards) and ran

    def _policy(self, adapters: AdapterCatalogue) -> bool:
        if not self._spec.is_read or self._deployment.typed is None:
            return False
        spec, deployment = self._spec.build(), self._deployment.build()
        authority_rules.check_code(
            self._spec.stages(),
            self._authority,
            self._spec.found,
            self._environment,
            narrower=self._deployment.url_prefixes(),
        )
        graph = self._spec.graph
        if graph is not None and self._environment is not Environment.DEV:
            graph.check_gated(str(self._environment))
        authority_rules.check_journals(
            self._deployment.typed["journals"], self._authority, self._deployment.found
        )
        authority_rules.check_capture(
            self._deployment.typed["capture"], self._authority, self._deployment.found
        )
        self._deployment.check_environment(self._authority.environment)
        self._deployment.check_effects()
        authority_rules.check_lease_lost(
            self._deployment.typed["effects"]["on_lease_lost"],
            self._deployment.adapters,
            self._spec.endpoints(),
            self._deployment.found,
        )
        if self._files is not None:
            self._check_files(self._files)
            spec, deployment = self._spec.build(), self._deployment.build()
        authority_rules.check_adapters(
            self._deployment.adapters,
            self._spec.endpoints(),
            adapters,
            self._authority,
            self._deployment.found,
        )
        if spec is None or deployment is None:
            self._unsized["policy"] = "the ceilings of the daemon, since the documents have errors"
            return True
        authority_rules.check_ceilings(spec, deployment, self._authority, self._deployment.found)
        return True

    def _check_files(self, files: DocumentFiles) -> None:
        self._deployment.read_files(files)
        if self._deployment.has_errors:
            return
        self._deployment.check_redact(files, self._payload_max())
        dataguard = self._deployment.dataguard()
        for path, stage in self._spec.stages():
            payload_max = self._spec.stage_payload_max(stage)
            for problem in files.misfits(stage, dataguard, payload_max):
                self._spec.found.add(
                    problem.code,
                    (*path, "config", *problem.key.split(".")),
                    seen=problem.seen,
                    wanted=problem.wanted,
                    fix=problem.fix,
                )

    def _host_level(self) -> bool:
        typed = self._deployment.typed
        if self._host is None or not self._spec.is_read or typed is None:
            return False
        host_rules.check_confinement(
            self._spec.stages(), self._environment, self._host, self._spec.found
        )
        host_rules.check_cpus(typed["tuning"]["pin"], self._host, self._deployment.found)
        spec, deployment = self._spec.build(), self._deployment.build()
        if spec is None or deployment is None:
            self._unsized["host"] = "memory and spinning, since the documents have errors"
            return True
        host_rules.check_spinning(spec, deployment, self._host, self._deployment.found)
        host_rules.check_memory(spec, deployment, self._host, self._on_host)
        return True
