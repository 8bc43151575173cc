"""The known name nearest to a mistyped one.

Pure; used by every finding that says "did you mean".
"""

from __future__ import annotations

from collections.abc import Iterable

_NAME_CHARS_MAX = 64
_PREFIX_CHARS_MIN = 3


def distance(left: str, right: str) -> int:
    """Return the optimal string alignment distance.

    Edits, and swaps of neighbours, from one to the other.
    """
    before: list[int] = []
    last = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that `name` most likely meant, or the empty string if none is near."""
    wanted = name[:_NAME_CHARS_MAX].lower().replace("-", "_")
    best, best_cost = "", 1 + max(1, len(wanted) // 3)
    for candidate in sorted(set(known)):
        plain = candidate.lower().replace("-", "_")
        if abs(len(plain) - len(wanted)) >= best_cost and not _begins(plain, wanted):
            continue
        cost = distance(wanted, plain)
        if cost and _begins(plain, wanted):
            cost = 1
        if cost < best_cost:
            best, best_cost = candidate, cost
    return best


def _begins(left: str, right: str) -> bool:
    """Tell whether one begins with the other, which is long enough to mean something."""
    shorter, longer = sorted((left, right), key=len)
    return len(shorter) >= _PREFIX_CHARS_MIN and longer.startswith(shorter)


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return the advice for a mistyped name: the nearest known one, else `otherwise`."""
    found = nearest(name, known)
    return f'did you mean "{found}"?' if found else otherwise
