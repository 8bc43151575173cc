"""Messages that actions could not deliver, read from a run's directory of actions. Blocks.

Owns which of them are still undelivered: a message that was set aside, tried once more and then
done is none. What is not a letter (a line that a crash tore) is passed over.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from byteord.errors import NotFoundError
from byteord.stages.actions.files import is_journal, is_letters
from byteord.stages.actions.journal import DONE

_RUN = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}\Z")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message: where it was, why nothing was done for it, and all of it."""

    role: str
    sequence: int
    key: str
    at_unix_ns: int
    why: str
    target: str
    payload: bytes


def dead_letters(top: str, run_id: str) -> Iterator[DeadLetter]:
    """Yield the undelivered messages of a run, those of each worker in order, each once.

    `top`: the directory that has one for each run. Raises NotFoundError when nothing of it is kept.
    """
    directory = os.path.join(top, run_id)
    if not _RUN.match(run_id) or not os.path.isdir(directory):
        raise NotFoundError(
            f"the run {run_id} left no actions, or they were forgotten with those of old runs",
            reason="ACTIONS_NOT_KEPT",
        )
    names = sorted(os.listdir(directory))
    letters = [os.path.join(directory, name) for name in names if is_letters(name)]
    if not letters:
        return
    over = _done(os.path.join(directory, name) for name in names if is_journal(name))
    for path in letters:
        for letter in _read(path):
            if letter.key not in over:
                over.add(letter.key)
                yield letter


def _done(paths: Iterator[str]) -> set[str]:
    """Return the keys of what was done in the end."""
    keys: set[str] = set()
    for path in paths:
        with open(path, "rb") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    if entry["event"] == DONE:
                        keys.add(str(entry["key"]))
    return keys


def _read(path: str) -> Iterator[DeadLetter]:
    with open(path, "rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                yield DeadLetter(
                    role=str(entry["role"]),
                    sequence=int(entry["sequence"]),
                    key=str(entry["key"]),
                    at_unix_ns=int(entry["unix_ns"]),
                    why=str(entry["why"]),
                    target=str(entry["target"]),
                    payload=base64.b64decode(entry["payload"], validate=True),
                )
