"""Text from elsewhere made safe for a terminal: messages of stages, names, samples of input."""

from __future__ import annotations


def clean(text: str, *, keep: str = "") -> str:
    """Return `text` with control characters and the like as escapes, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )
