"""Runs that have ended.

The last 100, with the last snapshot of each, across restarts of the daemon. One JSON file a run in
the state directory, written beside its place and renamed into it. Without a directory (a private
daemon) everything is kept in memory. A file that cannot be read is left alone and reported, never
trusted in part.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from byteord.capture.files import RunDocuments
from byteord.runs.view import RunView

RUNS_MAX = 100
FILE_VERSION = 1
_FILE_BYTES_MAX = 64 << 20
_NO_DOCUMENTS = RunDocuments()


@dataclass(frozen=True, slots=True)
class _File:
    version: int
    view: RunView
    snapshot: msgspec.Raw
    spec_kv: str = ""
    deployment_kv: str = ""


@dataclass(frozen=True, slots=True)
class _Head:
    version: int
    view: RunView


AnyFile = TypeVar("AnyFile", _File, _Head)


class History:
    """The ended runs, oldest first.

    Views stay in memory; snapshots too only where there is no directory.
    """

    def __init__(
        self, directory: str | None, *, runs_max: int = RUNS_MAX, look: bool = False
    ) -> None:
        """Read what is there; make the directory (0700) if it is missing.

        `look`: it is another daemon's, and nothing in it is changed.
        """
        self.unreadable: list[str] = []
        """Files that are not histories of this version, with what is wrong."""
        self._directory = directory
        self._look = look
        self._runs_max = runs_max
        self._views: OrderedDict[str, RunView] = OrderedDict()
        self._snapshots: dict[str, bytes] = {}
        self._documents: dict[str, RunDocuments] = {}
        self._lock = threading.Lock()
        if directory is not None:
            if not look:
                os.makedirs(directory, mode=0o700, exist_ok=True)
            self._read_all(directory)

    def views(self) -> list[RunView]:
        """Return the ended runs, oldest first."""
        with self._lock:
            return list(self._views.values())

    def get(self, run_id: str) -> RunView | None:
        """Return an ended run, or None."""
        return self._views.get(run_id)

    def snapshot(self, run_id: str) -> bytes | None:
        """Return the last snapshot of an ended run (JSON), or None."""
        if self._directory is None:
            return self._snapshots.get(run_id)
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return bytes(_decode(self._path(self._directory, run_id)).snapshot)
        return None

    def documents(self, run_id: str) -> RunDocuments:
        """Return the frozen documents of an ended run; empty ones where they were not kept."""
        if self._directory is None:
            return self._documents.get(run_id, RunDocuments())
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            file = _decode(self._path(self._directory, run_id))
            return RunDocuments(file.spec_kv.encode(), file.deployment_kv.encode())
        return RunDocuments()

    def add(self, view: RunView, snapshot: bytes, documents: RunDocuments = _NO_DOCUMENTS) -> None:
        """Keep an ended run and forget the oldest beyond the bound.

        Raises OSError if it cannot be written. It is remembered in memory either way. Writes a file
        and waits for the disk: not for the event loop.
        """
        with self._lock:
            self._views[view.id] = view
            if self._directory is None:
                self._snapshots[view.id] = snapshot
                self._documents[view.id] = documents
            while len(self._views) > self._runs_max:
                self._forget(next(iter(self._views)))
        if self._directory is not None:
            _write(self._path(self._directory, view.id), view, snapshot, documents)

    def _forget(self, run_id: str) -> None:
        del self._views[run_id]
        self._snapshots.pop(run_id, None)
        self._documents.pop(run_id, None)
        if self._directory is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(self._directory, run_id))

    def _read_all(self, directory: str) -> None:
        found = []
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if name.startswith("."):
                if not self._look:
                    os.unlink(path)
            elif name.endswith(".json"):
                try:
                    found.append(_decode_head(path))
                except (OSError, msgspec.MsgspecError) as error:
                    self.unreadable.append(f"{path}: {error}")
        for view in sorted(found, key=lambda each: (each.ended_unix_ns, each.id)):
            self._views[view.id] = view
        while len(self._views) > self._runs_max and not self._look:
            self._forget(next(iter(self._views)))

    @staticmethod
    def _path(directory: str, run_id: str) -> str:
        return os.path.join(directory, f"{run_id}.json")


def _write(path: str, view: RunView, snapshot: bytes, documents: RunDocuments) -> None:
    """Write a file that is whole or not there; `.`-names are leftovers of a crash."""
    kvs = (documents.spec_kv.decode("ascii"), documents.deployment_kv.decode("ascii"))
    data = msgspec.json.encode(_File(FILE_VERSION, view, msgspec.Raw(snapshot), *kvs))
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        data = file.read(_FILE_BYTES_MAX + 1)
    if len(data) > _FILE_BYTES_MAX:
        raise msgspec.ValidationError(f"larger than {_FILE_BYTES_MAX} bytes")
    return data


def _decode(path: str) -> _File:
    return _checked(path, msgspec.json.decode(_read(path), type=_File))


def _decode_head(path: str) -> RunView:
    return _checked(path, msgspec.json.decode(_read(path), type=_Head)).view


def _checked(path: str, file: AnyFile) -> AnyFile:
    if file.version != FILE_VERSION:
        raise msgspec.ValidationError(f"version {file.version}, wanted {FILE_VERSION}")
    if f"{file.view.id}.json" != os.path.basename(path) or not file.view.ended:
        raise msgspec.ValidationError(f"holds the run {file.view.id!r} in state {file.view.state}")
    return file
