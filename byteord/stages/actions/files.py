"""Names of the files that actions leave in a run's directory of actions. Pure but for listing."""

from __future__ import annotations

import os
import re

JOURNAL_PREFIX, JOURNAL_SUFFIX = "actions-", ".journal"
LETTERS_PREFIX, LETTERS_SUFFIX = "dead-letters-", ".jsonl"
LETTERS_NAME = LETTERS_PREFIX + "{}" + LETTERS_SUFFIX
_JOURNAL = re.compile(r"actions-(\d+)(?:\.(\d+))?\.journal\Z")


def is_journal(name: str) -> bool:
    """Tell whether a file's name is that of a journal."""
    return _JOURNAL.match(name) is not None


def is_letters(name: str) -> bool:
    """Tell whether a file's name is that of dead letters."""
    return name.startswith(LETTERS_PREFIX) and name.endswith(LETTERS_SUFFIX)


def journal_numbers(directory: str, worker: int) -> list[int]:
    """Return the numbers of a worker's journal files, oldest first; 0 is the one without."""
    found = (_JOURNAL.match(name) for name in os.listdir(directory))
    return sorted(int(each[2] or 0) for each in found if each and int(each[1]) == worker)
