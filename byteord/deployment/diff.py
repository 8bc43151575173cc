"""What changed between two deployments, or two documents whose kind has to be told first."""

from __future__ import annotations

from dataclasses import dataclass

from byteord.deployment.check import DeploymentCheck
from byteord.deployment.keys import DEPLOYMENT_KEYS
from byteord.deployment.model import AdapterCatalogue, Authority, Deployment, Environment
from byteord.errors import InvalidDocumentError
from byteord.spec.diff import Change, diff_kv, takes_of
from byteord.spec.document import Source, read
from byteord.spec.findings import Collector, Finding, Severity
from byteord.spec.lanegraph.keys import ALL_SPEC_KEYS
from byteord.spec.model import StageCatalogue
from byteord.spec.validate import SpecCheck

KINDS = ("spec", "deployment")
_SPEC_ONLY = ("model", "stages", "ring", "endpoints", "name", "lanes", "roles", "plan")


@dataclass(frozen=True, slots=True)
class Diff:
    """The changes from an old document to a new one, or the findings that forbid comparing them."""

    kind: str
    changes: tuple[Change, ...]
    takes: str
    old_sha256: str
    new_sha256: str
    old_findings: tuple[Finding, ...]
    new_findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Tell whether both documents could be read.

        Without it there are no changes to speak of.
        """
        return bool(self.old_sha256 and self.new_sha256)


def diff_deployments(old: Deployment, new: Deployment) -> list[Change]:
    """Return the changes between two deployments."""
    return diff_kv(old.kv, new.kv, DEPLOYMENT_KEYS)


def kind_of(source: Source) -> str:
    """Tell a spec from a deployment by its keys; a text that cannot be read counts as a spec."""
    tree = read(source, Collector("spec", {})).tree
    return "spec" if not tree or any(key in tree for key in _SPEC_ONLY) else "deployment"


def diff(
    old: Source,
    new: Source,
    *,
    authority: Authority,
    stages: StageCatalogue,
    adapters: AdapterCatalogue,
    kind: str = "",
) -> Diff:
    """Return what changed between two documents, after defaults.

    Args:
        old: the one document.
        new: the other.
        authority: what the daemon allows; its environment is the default of a deployment's.
        stages: the stage catalogue.
        adapters: the adapter catalogue.
        kind: `spec` or `deployment`; empty: told from the content.

    Raises:
        InvalidDocumentError: the documents are of different kinds.
    """
    kinds = (kind, kind) if kind else (kind_of(old), kind_of(new))
    if kinds[0] != kinds[1]:
        raise InvalidDocumentError(
            f"{old.name or 'the old document'} is a {kinds[0]} and {new.name or 'the new one'} a "
            f"{kinds[1]}; wanted two of a kind; compare specs with specs, deployments with "
            "deployments",
            reason="DIFF_KINDS_DIFFER",
        )
    read_one = _read_spec if kinds[0] == "spec" else _read_deployment
    before = read_one(old, authority, stages, adapters)
    after = read_one(new, authority, stages, adapters)
    keys = ALL_SPEC_KEYS if kinds[0] == "spec" else DEPLOYMENT_KEYS
    both = before[1] and after[1]
    changes = diff_kv(before[0], after[0], keys) if both else []
    return Diff(
        kinds[0], tuple(changes), takes_of(changes), before[1], after[1], before[2], after[2]
    )


_Read = tuple[bytes, str, tuple[Finding, ...]]


def _unknown(environment: Environment) -> Severity:
    return Severity.WARNING if environment is Environment.DEV else Severity.ERROR


def _read_spec(
    source: Source, authority: Authority, stages: StageCatalogue, adapters: AdapterCatalogue
) -> _Read:
    del adapters
    check = SpecCheck(source)
    check.schema(stages, unknown=_unknown(authority.environment))
    check.topology()
    spec = check.build()
    return (
        (spec.kv, spec.sha256, tuple(check.findings)) if spec else (b"", "", tuple(check.findings))
    )


def _read_deployment(
    source: Source, authority: Authority, stages: StageCatalogue, adapters: AdapterCatalogue
) -> _Read:
    del stages
    check = DeploymentCheck(source, {}, client_input=False, client_output=False)
    decided = check.decide_environment(authority)
    check.schema({}, adapters, unknown=_unknown(decided), payload_max=lambda _: 65_520)
    made = check.build()
    return (
        (made.kv, made.sha256, tuple(check.findings)) if made else (b"", "", tuple(check.findings))
    )
