"""The list of built-in stages."""

from __future__ import annotations

from byteord.stages.content import CRC32C, FILTER, SELECT
from byteord.stages.flow import COUNT, DEDUPE, IDENTITY, RATE_LIMIT, SAMPLE
from byteord.stages.guard.config import CHECK, FUSED, REDACT

BUILTINS = {
    builtin.name: builtin
    for builtin in (
        CHECK,
        COUNT,
        CRC32C,
        DEDUPE,
        FILTER,
        FUSED,
        IDENTITY,
        RATE_LIMIT,
        REDACT,
        SAMPLE,
        SELECT,
    )
}
