"""Every code of the contract: provoked, placed and worded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from byteord.spec import validate as spec_validate
from byteord.spec.codes import CODES, LEVEL_OF
from byteord.spec.findings import Severity
from tests.unit.spec.case import Case
from tests.unit.spec.cases import CASES
from tests.unit.spec.documents import check, found

SOURCES = Path(spec_validate.__file__).parents[1]


def _name(case: Case) -> str:
    return f"{case.code}-{case.path}"


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_case_gives_its_finding(case: Case) -> None:
    """A document with a mistake gets the finding of that mistake, at its key, line and column."""
    report = check(case.spec, case.deployment, **case.context)
    hits = found(report, case.code)
    assert hits, [str(finding) for finding in report.findings]
    at_path = [hit for hit in hits if hit.path == case.path]
    assert at_path, [hit.path for hit in hits]
    finding = at_path[0]
    assert finding.severity is case.severity
    assert case.words in f"{finding.seen} {finding.wanted} {finding.fix}", str(finding)
    assert case.line in (None, finding.line), str(finding)
    assert case.column in (None, finding.column), str(finding)
    assert report.ok is not any(item.severity is Severity.ERROR for item in report.findings)


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_findings_say_seen_wanted_and_fix(case: Case) -> None:
    """Every finding names what was seen, what was wanted and the next step, in one short line."""
    for finding in check(case.spec, case.deployment, **case.context).findings:
        assert finding.seen, finding
        assert finding.wanted, finding
        assert finding.fix, finding
        assert "\n" not in str(finding)
        assert finding.document in ("spec", "deployment", "host")


def test_every_declared_code_is_provoked() -> None:
    """No code is published that no document can provoke."""
    assert {code.name for code in CODES} == {case.code for case in CASES}


def test_every_code_in_the_sources_is_declared() -> None:
    """No finding carries a code that the published list does not have."""
    pattern = re.compile(
        r'"((?:DOCUMENT|KEY|VALUE|SECRET|SPEC|DEPLOYMENT|POLICY|HOST)_[A-Z0-9_]+)"'
    )
    used = {
        code
        for folder in ("spec", "deployment")
        for file in (SOURCES / folder).rglob("*.py")
        if not file.name.startswith("config")
        for code in pattern.findall(file.read_text())
    }
    assert used <= LEVEL_OF.keys(), used - LEVEL_OF.keys()


def test_a_level_finds_nothing_of_a_later_one() -> None:
    """Stopping after a level leaves out every finding of the levels behind it."""
    order = ("syntax", "schema", "topology", "policy", "host")
    for case in {case.code: case for case in CASES}.values():
        for index, level in enumerate(order):
            context = {**case.context, "level": level}
            for finding in check(case.spec, case.deployment, **context).findings:
                if finding.code in LEVEL_OF:
                    assert order.index(LEVEL_OF[finding.code]) <= index, (level, finding)
