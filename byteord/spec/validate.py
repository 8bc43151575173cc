"""Validation of a spec by itself: from its bytes to all findings and, without an error, a spec.

Pure: opens no file and imports no stage code. What depends on the deployment, the daemon's
authority or the host is `byteord.deployment.validate`.
"""

from __future__ import annotations

from byteord.spec import rules
from byteord.spec.document import Document, Source, read
from byteord.spec.findings import Collector, Finding, Path, Severity
from byteord.spec.lane_model import LaneGraph
from byteord.spec.lanegraph.check import LaneGraphCheck
from byteord.spec.model import (
    SLOT_BYTES_DEFAULT,
    SLOT_HEADER_BYTES,
    EndpointKind,
    Spec,
    Stage,
    StageCatalogue,
)
from byteord.spec.ring_check import RingCheck
from byteord.spec.secrets import check_secrets


class SpecCheck:
    """One spec of either model on its way through `syntax`, `schema` and `topology`."""

    def __init__(self, source: Source) -> None:
        """Read the text; the findings of the syntax level stand afterwards."""
        syntax = Collector("spec", {})
        self.document: Document = read(source, syntax)
        self.found = Collector("spec", self.document.places)
        self.found.findings.extend(syntax.findings)
        self._check: RingCheck | LaneGraphCheck | None = None

    @property
    def findings(self) -> list[Finding]:
        """Return what was found so far."""
        return self.found.findings

    def schema(self, stages: StageCatalogue, *, unknown: Severity) -> bool:
        """Check every key and value by itself; tell whether the document could be read."""
        found, tree = self.found, self.document.tree
        if not self.document.readable:
            return False
        found.unknown = unknown
        check_secrets(tree, found)
        is_graph = rules.check_model(tree, found)
        self._check = (LaneGraphCheck if is_graph else RingCheck)(tree, found, stages)
        return True

    def topology(self) -> bool:
        """Check what keys say together; tell whether it ran."""
        if self._check is None:
            return False
        self._check.topology()
        return True

    @property
    def is_read(self) -> bool:
        """Tell whether the document could be read, with or without errors."""
        return self._check is not None

    @property
    def has_errors(self) -> bool:
        """Tell whether any finding is an error."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def graph(self) -> LaneGraphCheck | None:
        """Return the check of a LaneGraph, None for a SingleRing."""
        return self._check if isinstance(self._check, LaneGraphCheck) else None

    def stages(self) -> list[tuple[Path, Stage]]:
        """Return the stages that could be read, each with its place in the document."""
        return self._check.stages() if self._check is not None else []

    def endpoints(self) -> dict[str, EndpointKind]:
        """Return the endpoints that could be read, by name, whatever else is wrong."""
        return self._check.endpoints() if self._check is not None else {}

    def payload_max(self, endpoint: str) -> int:
        """Return the longest message at an endpoint as far as it is known."""
        if self._check is None:
            return SLOT_BYTES_DEFAULT - SLOT_HEADER_BYTES
        return self._check.payload_max(endpoint)

    def stage_payload_max(self, stage: Stage) -> int:
        """Return the longest message that a stage gets."""
        graph = self.graph
        return graph.stage_payload_max(stage.name) if graph is not None else self.payload_max("")

    def build(self) -> Spec | LaneGraph | None:
        """Return the spec, or None while any finding is an error or the levels did not run."""
        if self._check is None or self.has_errors:
            return None
        return self._check.build()
