"""Rules of data protection as people write them: `field:action` and `field:action=argument`.

Pure. What a rule does to a value is the native side's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME_BYTES_MAX = 64
TEXT_BYTES_MAX = 256
LENGTH_MAX = 65_535
FORMS = (
    "field:drop, field:replace_with=V, field:hash, field:mask=P:S:C or field:truncate=N; "
    "the name of a field has no colon"
)
_MASK = re.compile(r"([0-9]{1,5}):([0-9]{1,5}):(.)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `text` is the replacement or the masking character."""

    field: str
    action: str
    text: str = ""
    prefix: int = 0
    suffix: int = 0
    length: int = 0

    @property
    def name(self) -> str:
        """Return what the report calls it: the field and the action."""
        return f"{self.field}.{self.action}"


def parse_rule(text: str) -> Rule | None:
    """Return the rule that a text is; None when it is none."""
    field, colon, rest = text.partition(":")
    action, equals, argument = rest.partition("=")
    if not colon or not 0 < len(field.encode()) <= NAME_BYTES_MAX:
        return None
    if action in ("drop", "hash"):
        return None if equals else Rule(field, action)
    if action == "replace_with" and equals and len(argument.encode()) <= TEXT_BYTES_MAX:
        return Rule(field, action, argument)
    if action == "truncate" and argument.isascii() and argument.isdigit():
        length = int(argument) if len(argument) <= len(str(LENGTH_MAX)) else LENGTH_MAX + 1
        return Rule(field, action, length=length) if length <= LENGTH_MAX else None
    mask = _MASK.match(argument) if action == "mask" else None
    if mask is None:
        return None
    prefix, suffix = int(mask[1]), int(mask[2])
    if max(prefix, suffix) > LENGTH_MAX:
        return None
    return Rule(field, action, mask[3], prefix, suffix)
