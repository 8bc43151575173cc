"""What a data protection stage counts: the names of its report, always the same, in order.

Pure. Where the numbers lie is `byteord.regions.report`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from byteord.spec.model import Scalar
from byteord.stages.guard.bind import texts_of
from byteord.stages.guard.config import rules_of

COUNTERS = (
    "seen",
    "accepted",
    "rejected",
    "decode_errors",
    "schema_missing",
    "schema_incompatible",
    "forwarded",
    "dropped",
)
"""In the order of `enum guard_count`. `rejected`: all that were not accepted, whatever for."""


def report_names(config: Mapping[str, Scalar]) -> tuple[str, ...]:
    """Return the counters, then `redacted.FIELD.ACTION` of each rule."""
    return (*COUNTERS, *(f"redacted.{rule.name}" for rule in rules_of(texts_of(config))))
