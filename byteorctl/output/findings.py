"""Findings of validation as lines for people."""

from __future__ import annotations

from byteorctl.errors import Plain
from byteorctl.output.clean import clean


def finding_line(finding: Plain) -> str:
    """Return `error CODE key.path (line 12): seen ..., wanted ...; fix`, without empty parts."""
    head = [finding.get("severity") or "error", finding.get("code", "")]
    head.append(finding.get("path") or finding.get("document") or "")
    if finding.get("line"):
        column = f", column {finding['column']}" if finding.get("column") else ""
        head.append(f"(line {finding['line']}{column})")
    said = [f"{word} {finding[word]}" for word in ("seen", "wanted") if finding.get(word)]
    parts = [part for part in (", ".join(said), finding.get("fix", "")) if part]
    return clean(f"{' '.join(part for part in head if part)}: {'; '.join(parts)}")


def summary(findings: list[Plain]) -> str:
    """Return for example `2 errors, 1 warning`; empty when there is none."""
    counts = []
    for severity in ("error", "warning", "note"):
        number = sum(finding.get("severity") == severity for finding in findings)
        if number:
            counts.append(f"{number} {severity}{'s' if number > 1 else ''}")
    return ", ".join(counts)
