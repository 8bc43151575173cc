"""Who may run at the same time: the order that `depends_on` gives the stages of a ring.

Pure functions over indices and byte ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from byteord.spec.model import ByteRange


def ancestors(depends: Sequence[Sequence[int]]) -> list[frozenset[int]]:
    """Return for each stage all the stages that are done with a message before it.

    References go to earlier stages.
    """
    found: list[frozenset[int]] = []
    for index, direct in enumerate(depends):
        before = {ref for ref in direct if 0 <= ref < index}
        found.append(frozenset(before.union(*(found[ref] for ref in before))))
    return found


def concurrent(depends: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """Yield every pair of stages, earlier first, that may hold one message at the same time."""
    before = ancestors(depends)
    for later in range(len(depends)):
        for earlier in range(later):
            if earlier not in before[later]:
                yield earlier, later


def overlap(
    left: Sequence[ByteRange], right: Sequence[ByteRange]
) -> tuple[ByteRange, ByteRange] | None:
    """Return the first two ranges that share a byte, or None."""
    for a in left:
        for b in right:
            a_end = a.offset + a.length if a.length else float("inf")
            b_end = b.offset + b.length if b.length else float("inf")
            if a.offset < b_end and b.offset < a_end:
                return a, b
    return None


def range_text(item: ByteRange) -> str:
    """Return a byte range as people write it."""
    return (
        f"bytes {item.offset} to {item.offset + item.length - 1}"
        if item.length
        else f"bytes from {item.offset}"
    )
