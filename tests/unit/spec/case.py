"""One document that provokes a code, and small documents to make such from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from byteord.deployment.model import Authority, Environment
from byteord.spec.document import Source
from byteord.spec.findings import Severity
from tests.unit.spec.documents import (
    DEPLOYMENT,
    SPEC,
    stages_spec,
)

KEEP = 'name = "a"\nstage = "keep"\nconfig.value = 1'
LOOK = 'name = "{0}"\nstage = "look"'
PYTHON = 'name = "p"\nstage = "python:mod:Cls"'
SCRUB = 'name = "{0}"\nstage = "scrub"\nconfig.at = {1}'
PIN = f'digest = "sha256:{"0" * 64}"'


@dataclass(frozen=True)
class Case:
    """One document that provokes one code."""

    code: str
    path: str
    words: str
    """What the finding must say somewhere."""
    spec: str | bytes | Source = SPEC
    deployment: str | bytes | None = None
    line: int | None = None
    """Line and column, where the case is about them."""
    column: int | None = None
    severity: Severity = Severity.ERROR
    context: dict[str, Any] = field(default_factory=dict)


def ring(text: str) -> str:
    """Return the small spec with this ring table."""
    return f"{SPEC}\n[ring]\n{text}\n"


def two(first: str, second: str) -> str:
    """Return a spec with two stages."""
    return stages_spec(first, second)


def deployed(text: str) -> str:
    """Return the small deployment with more text."""
    return f"{DEPLOYMENT}\n{text}\n"


IN_STAGING = {"authority": Authority(environment=Environment.STAGING, code_dirs=("/code",))}
