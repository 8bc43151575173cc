"""The audits of a daemon's replays: one file each, which is there from the first step on.

Owns their directory: that an id is taken once, that an audit is whole or not there, how many are
kept, and what becomes of those whose replay ended with an earlier daemon. Blocks on files: not for
the event loop. It must not know what a replay is.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from byteord.errors import AlreadyExistsError, ResourceError

AUDITS_MAX = 1000
_KEPT, _BEGUN = ".json", ".begun"


class ReplayAudits:
    """Audits in one directory, the oldest given up when there are too many."""

    def __init__(self, directory: str) -> None:
        """Nothing is made before the first replay."""
        self._directory = directory

    def claim(self, replay_id: str, facts: dict[str, Any]) -> None:
        """Take the id of a replay, and keep what is known of it, so that it is started once.

        Raises AlreadyExistsError, and ResourceError (AUDIT_NOT_WRITABLE): a replay that leaves
        nothing behind does not happen.
        """
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            self._make_room()
            if os.path.exists(self._path(replay_id, _KEPT)):
                raise FileExistsError  # noqa: TRY301  as if its claim were still there
            _write_new(self._path(replay_id, _BEGUN), json.dumps(facts).encode())
        except FileExistsError:
            raise AlreadyExistsError(
                f"the replay {replay_id} was started before; its audit is in the daemon's state "
                "directory; take a new id for another",
                reason="REQUEST_ID_REUSED",
            ) from None
        except OSError as error:
            raise ResourceError(
                f"{self._directory}: {error.strerror}; a replay without an audit does not happen",
                reason="AUDIT_NOT_WRITABLE",
            ) from error

    def keep(self, replay_id: str, document: bytes) -> None:
        """Write an audit in place of its claim; what cannot be written stays claimed."""
        path = self._path(replay_id, _KEPT)
        with contextlib.suppress(OSError):
            _write_synced(path, document)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(replay_id, _BEGUN))

    def left(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (id, facts) of what was claimed and never kept: its daemon ended before."""
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._directory)):
                replay_id, suffix = os.path.splitext(name)
                if suffix == _BEGUN:
                    yield replay_id, _read(os.path.join(self._directory, name))

    def _path(self, replay_id: str, suffix: str) -> str:
        return os.path.join(self._directory, f"{replay_id}{suffix}")

    def _make_room(self) -> None:
        names = [name for name in os.listdir(self._directory) if name.endswith(_KEPT)]
        names.sort(key=lambda name: os.path.getmtime(os.path.join(self._directory, name)))
        for name in names[: max(0, len(names) - AUDITS_MAX + 1)]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, name))


def _read(path: str) -> dict[str, Any]:
    """Return the facts of a claim; of one that was torn, none."""
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
        facts = json.loads(file.read())
        return facts if isinstance(facts, dict) else {}
    return {}


def _write_new(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _write_synced(path: str, data: bytes) -> None:
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)
