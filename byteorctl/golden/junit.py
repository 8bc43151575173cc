"""The verdicts as JUnit XML, which continuous integration systems read."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from byteorctl.golden.verdict import Verdict
from byteorctl.output.clean import clean


def to_junit(suite: str, verdicts: Sequence[Verdict]) -> bytes:
    """Return one `testsuite` with a `testcase` per verdict."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    seconds = sum(verdict.seconds for verdict in verdicts)
    root = ET.Element(
        "testsuite",
        name=clean(suite),
        tests=str(len(verdicts)),
        failures=str(len(failed)),
        errors="0",
        time=f"{seconds:.3f}",
    )
    for verdict in verdicts:
        element = ET.SubElement(
            root,
            "testcase",
            classname=clean(suite),
            name=clean(verdict.case.name),
            time=f"{verdict.seconds:.3f}",
        )
        if verdict.problems:
            first = clean(verdict.problems[0].partition("\n")[0])
            text = clean("\n".join(verdict.problems), keep="\n\t")
            ET.SubElement(element, "failure", message=first).text = text
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"
