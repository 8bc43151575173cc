"""Documents and findings: messages of the API to values of the domain and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from byteor.v1 import documents_pb2 as pb
from byteord.deployment.diff import Diff
from byteord.deployment.validate import Report
from byteord.errors import InvalidArgumentError
from byteord.rpc.wanted import StartWanted
from byteord.spec.diff import Change
from byteord.spec.document import Source
from byteord.spec.findings import Finding, Level, Severity

FORMATS = {
    pb.DOCUMENT_FORMAT_UNSPECIFIED: "",
    pb.DOCUMENT_FORMAT_TOML: "toml",
    pb.DOCUMENT_FORMAT_KV: "kv",
}
KINDS = {
    pb.DIFF_KIND_UNSPECIFIED: "",
    pb.DIFF_KIND_SPEC: "spec",
    pb.DIFF_KIND_DEPLOYMENT: "deployment",
}
SEVERITIES = {
    Severity.NOTE: pb.SEVERITY_NOTE,
    Severity.WARNING: pb.SEVERITY_WARNING,
    Severity.ERROR: pb.SEVERITY_ERROR,
}


def source_from_proto(document: pb.Document) -> Source:
    """Return a document; raises InvalidArgumentError for a format that does not exist."""
    if document.format not in FORMATS:
        raise InvalidArgumentError(
            f"format: seen {document.format}; wanted a DocumentFormat that this API version has",
            reason="FORMAT_UNKNOWN",
        )
    return Source(document.name, document.content, FORMATS[document.format])


def source_to_proto(source: Source) -> pb.Document:
    """Return the message of a document."""
    form = next(number for number, name in FORMATS.items() if name == source.format)
    return pb.Document(name=source.name, content=source.content, format=form)


def required_source(message: Any, field: str) -> Source:
    """Return the document in a field; raises InvalidArgumentError when it is absent."""
    if not message.HasField(field):
        raise InvalidArgumentError(
            f"{field}: seen no document; wanted one", reason="DOCUMENT_MISSING"
        )
    return source_from_proto(getattr(message, field))


def optional_source(message: Any, field: str) -> Source | None:
    """Return the document in a field, or None when it is absent."""
    return source_from_proto(getattr(message, field)) if message.HasField(field) else None


def wanted_from_describe(request: pb.DescribeRequest) -> StartWanted:
    """Return the run that a DescribeRequest asks about."""
    return StartWanted(
        spec=required_source(request, "spec"),
        deployment=optional_source(request, "deployment"),
        single_process=request.single_process,
        host=request.host,
    )


def diff_kind_from_proto(kind: int) -> str:
    """Return `spec`, `deployment` or empty; raises InvalidArgumentError for another kind."""
    for number, name in KINDS.items():
        if number == kind:
            return name
    raise InvalidArgumentError(
        f"kind: seen {kind}; wanted a DiffKind of this API version", reason="KIND_UNKNOWN"
    )


def findings_to_proto(findings: Iterable[Finding]) -> list[pb.Finding]:
    """Return the messages of findings, in their order."""
    return [finding_to_proto(finding) for finding in findings]


def finding_to_proto(finding: Finding) -> pb.Finding:
    """Return the message of a finding."""
    return pb.Finding(
        code=finding.code,
        severity=SEVERITIES[finding.severity],
        document=finding.document,
        path=finding.path,
        seen=finding.seen,
        wanted=finding.wanted,
        fix=finding.fix,
        line=finding.line,
        column=finding.column,
    )


def finding_from_proto(finding: pb.Finding) -> Finding:
    """Return the value of a message that `finding_to_proto` made."""
    severity = next(mine for mine, theirs in SEVERITIES.items() if theirs == finding.severity)
    return Finding(
        code=finding.code,
        severity=severity,
        document=finding.document,
        path=finding.path,
        seen=finding.seen,
        wanted=finding.wanted,
        fix=finding.fix,
        line=finding.line,
        column=finding.column,
    )


def level_to_proto(level: Level) -> pb.Level:
    """Return the message of a level."""
    return pb.Level(name=level.name, ran=level.ran, not_checked=level.not_checked)


def report_to_proto(report: Report) -> pb.ValidateResponse:
    """Return the answer to Validate."""
    return pb.ValidateResponse(
        ok=report.ok,
        findings=findings_to_proto(report.findings),
        levels=[level_to_proto(level) for level in report.levels],
        spec_sha256=report.spec.sha256 if report.spec else "",
        deployment_sha256=report.deployment.sha256 if report.deployment else "",
        spec_kv=report.spec_kv,
        environment=report.environment.value,
    )


def description_to_proto(
    description: Mapping[str, Any], findings: Iterable[Finding]
) -> pb.DescribeResponse:
    """Return the answer to Describe."""
    return pb.DescribeResponse(
        description_json=json.dumps(description, separators=(",", ":")),
        findings=findings_to_proto(findings),
    )


def change_to_proto(change: Change) -> pb.Change:
    """Return the message of a change; an absent side stays absent."""
    return pb.Change(path=change.path, old=change.old, new=change.new, takes=change.takes)


def diff_to_proto(diff: Diff) -> pb.DiffResponse:
    """Return the answer to Diff."""
    return pb.DiffResponse(
        changes=[change_to_proto(change) for change in diff.changes],
        takes=diff.takes,
        old_sha256=diff.old_sha256,
        new_sha256=diff.new_sha256,
    )
