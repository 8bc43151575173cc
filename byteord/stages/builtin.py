"""The list of built-in stages."""

from __future__ import annotations

from byteord.stages.content import CRC32C, FILTER, SELECT
from byteord.stages.flow import COUNT, DEDUPE, IDENTITY, RATE_LIMIT, SAMPLE

BUILTINS = {
    builtin.name: builtin
    for builtin in (COUNT, CRC32C, DEDUPE, FILTER, IDENTITY, RATE_LIMIT, SAMPLE, SELECT)
}
