"""Pages of a list that changes: a token names the last run that was seen, not a position."""

from __future__ import annotations

import re
from collections.abc import Sequence

from byteord.errors import InvalidArgumentError
from byteord.runs.view import RunView

PAGE_RUNS_DEFAULT = 100
PAGE_RUNS_MAX = 1000
_TOKEN = re.compile(r"([0-9]{1,20})/([0-9A-Za-z._-]{1,128})\Z")


def page_of(
    runs: Sequence[RunView], page_size: int, page_token: str
) -> tuple[Sequence[RunView], str]:
    """Return a page of runs (sorted newest first) and the token of the next, empty at the end.

    Raises InvalidArgumentError for a token that no answer had.
    """
    size = min(page_size or PAGE_RUNS_DEFAULT, PAGE_RUNS_MAX)
    if page_token:
        after = _parse(page_token)
        runs = [run for run in runs if (run.created_unix_ns, run.id) < after]
    page = runs[:size]
    if len(page) == len(runs):
        return page, ""
    return page, f"{page[-1].created_unix_ns}/{page[-1].id}"


def _parse(token: str) -> tuple[int, str]:
    match = _TOKEN.match(token)
    if match is None:
        raise InvalidArgumentError(
            f"page_token: seen {token[:64]!r}; wanted next_page_token of an answer, or none",
            reason="PAGE_TOKEN_INVALID",
        )
    return int(match[1]), match[2]
