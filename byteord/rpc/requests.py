"""Request ids: a retried mutation gets the first one's answer, also after a restart.

A request id belongs to its principal, its method and the digest of the request. It is written and
synced before the effect, its answer after it; both survive the daemon. The file is a journal of
JSON lines, each with its CRC32 in front; a torn last line is the trace of a crash and is dropped,
any other damage is refused.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from byteord.errors import DataError, InvalidArgumentError, ResourceError

KEEP_S = 24 * 3600
_SLACK_LINES = 1024
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(slots=True)
class Entry:
    """One request: pending while `answer` is None."""

    principal: str
    request_id: str
    method: str
    digest: str
    effect_id: str
    """Name chosen for the effect before it happens, by which it is recognised after a crash."""
    at_unix_s: int
    answer: bytes | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What the entry is found by."""
        return self.principal, self.request_id


@dataclass(frozen=True, slots=True)
class Request:
    """A mutation as it came in."""

    principal: str
    request_id: str
    method: str
    body: bytes
    """Deterministic serialization, without the id."""


Effect = Callable[[str], Awaitable[bytes]]
"""Carries out a mutation under the given effect id; returns the serialized answer."""


def check_request_id(text: str) -> str:
    """Return a request id in its one form; raise InvalidArgumentError if it is not a UUID."""
    lowered = text.lower()
    if not _UUID.match(lowered):
        raise InvalidArgumentError(
            f"request_id: seen {text[:64]!r}; wanted a UUID, the same for every retry of one "
            "request",
            reason="REQUEST_ID_INVALID",
        )
    return lowered


class RequestStore:
    """The bounded, durable store. One event loop uses it; `open` and `close` bracket that."""

    def __init__(self, path: str, entries_max: int) -> None:
        self._path = path
        self._entries_max = entries_max
        self._entries: dict[tuple[str, str], Entry] = {}
        self._running: dict[tuple[str, str], asyncio.Task[bytes]] = {}
        self._writing = asyncio.Lock()
        self._lines = 0
        self._descriptor = -1

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that is kept, oldest first."""
        return tuple(self._entries.values())

    def open(self) -> None:
        """Read what an earlier daemon left; raises DataError if it cannot be trusted."""
        self._entries = _read(self._path)
        self._forget_old()
        self._rewrite()

    def pending(self) -> tuple[Entry, ...]:
        """Return requests whose effect may or may not have happened when the last daemon ended."""
        return tuple(entry for entry in self._entries.values() if entry.answer is None)

    async def settle(self, entry: Entry, answer: bytes | None) -> None:
        """Say what became of a pending request: its answer, or None when it had no effect."""
        await self._record(entry, answer)

    async def perform(self, request: Request, effect: Effect, effect_id: str) -> bytes:
        """Return the answer of a request; carry out `effect` unless it was carried out before.

        The effect is not cancelled with the call: a client that gave up finds its outcome by asking
        again.

        Raises:
            InvalidArgumentError: the id was used for another request (`REQUEST_ID_REUSED`).
            ResourceError: the store is full (`REQUEST_IDS_FULL`) or its disk is
            (`REQUEST_STORE_NOT_WRITABLE`).
        """
        digest = hashlib.sha256(request.body).hexdigest()
        known = self._entries.get((request.principal, request.request_id))
        if known is not None:
            _check_same(known, request, digest)
            if known.answer is not None:
                return known.answer
            task = self._running.get(known.key)
            if task is not None:
                return await asyncio.shield(task)
        self._make_room(known)
        entry = Entry(
            request.principal,
            request.request_id,
            request.method,
            digest,
            known.effect_id if known else effect_id,
            int(time.time()),
        )
        self._entries[entry.key] = entry
        task = asyncio.create_task(self._carry_out(entry, effect))
        self._running[entry.key] = task
        task.add_done_callback(lambda done: self._done(entry, done))
        return await asyncio.shield(task)

    async def close(self, timeout_s: float) -> None:
        """Wait for the effects under way, then close the file.

        What takes longer stays pending in the file: the next daemon finds out what became of it.
        """
        running = list(self._running.values())
        if running:
            await asyncio.wait(running, timeout=timeout_s)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    async def _carry_out(self, entry: Entry, effect: Effect) -> bytes:
        try:
            await self._append(entry)
            answer = await effect(entry.effect_id)
        except Exception:
            with contextlib.suppress(ResourceError):
                await self._record(entry, None)
            raise
        await self._record(entry, answer)
        return answer

    def _done(self, entry: Entry, task: asyncio.Task[bytes]) -> None:
        self._running.pop(entry.key, None)
        if not task.cancelled():
            task.exception()  # seen: a caller that went away leaves nobody to ask

    async def _record(self, entry: Entry, answer: bytes | None) -> None:
        if answer is None:
            self._entries.pop(entry.key, None)
        else:
            entry.answer = answer
        await self._append(entry, gone=answer is None)

    def _make_room(self, known: Entry | None) -> None:
        if len(self._entries) >= self._entries_max:
            self._forget_old()
        if known is None and len(self._entries) >= self._entries_max:
            oldest = next(iter(self._entries.values()))
            wait_s = max(1, oldest.at_unix_s + KEEP_S - int(time.time()))
            raise ResourceError(
                f"request ids: {len(self._entries)} are kept and this daemon keeps "
                f"{self._entries_max}; the oldest goes "
                f"in {wait_s} s; wait, or raise ceilings.request_ids_max",
                reason="REQUEST_IDS_FULL",
            )

    def _forget_old(self) -> None:
        horizon = time.time() - KEEP_S
        old = [
            key
            for key, entry in self._entries.items()
            if entry.at_unix_s < horizon and key not in self._running
        ]
        for key in old:
            del self._entries[key]

    async def _append(self, entry: Entry, *, gone: bool = False) -> None:
        """Write one line and sync it; rewrite the file when it has grown out of proportion."""
        line = _line(entry, gone=gone)
        async with self._writing:
            try:
                await asyncio.to_thread(_write_synced, self._descriptor, line)
                self._lines += 1
                if self._lines > 2 * len(self._entries) + _SLACK_LINES:
                    await asyncio.to_thread(self._rewrite)
            except OSError as error:
                raise ResourceError(
                    f"request store {self._path}: {error.strerror}; wanted to write down a "
                    "request before acting on it; "
                    "make room there, then try again",
                    reason="REQUEST_STORE_NOT_WRITABLE",
                ) from error

    def _rewrite(self) -> None:
        """Replace the file by one with a line an entry; a crash leaves the old or the new one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        entries = list(self._entries.values())
        fresh = f"{self._path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(fresh, flags, 0o600)
        _write_synced(self._descriptor, b"".join(_line(entry) for entry in entries))
        os.replace(fresh, self._path)
        directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._lines = len(entries)


def _check_same(known: Entry, request: Request, digest: str) -> None:
    if (known.method, known.digest) != (request.method, digest):
        raise InvalidArgumentError(
            f"request_id {request.request_id}: seen again with another request; it belongs to a "
            f"{known.method} with "
            "other contents; a new request needs a new UUID",
            reason="REQUEST_ID_REUSED",
        )


def _line(entry: Entry, *, gone: bool = False) -> bytes:
    answer = None if entry.answer is None else base64.b64encode(entry.answer).decode()
    raw: dict[str, Any] = {
        "principal": entry.principal,
        "id": entry.request_id,
        "method": entry.method,
        "digest": entry.digest,
        "effect": entry.effect_id,
        "at": entry.at_unix_s,
        "answer": answer,
        "gone": gone,
    }
    text = json.dumps(raw, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _write_synced(descriptor: int, data: bytes) -> None:
    """Append `data` whole and sync it, or leave the file as it was."""
    before = os.fstat(descriptor).st_size
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        os.fdatasync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def _read(path: str) -> dict[tuple[str, str], Entry]:
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return {}
    entries: dict[tuple[str, str], Entry] = {}
    lines.pop()  # what follows the last newline: nothing, or what a crash left of a line
    for number, line in enumerate(lines, 1):
        entry, gone = _parse(path, number, line)
        entries.pop(entry.key, None)
        if not gone:
            entries[entry.key] = entry
    return entries


def _parse(path: str, number: int, line: bytes) -> tuple[Entry, bool]:
    crc, _, text = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(text):
        raise DataError(
            f"request store {path}: line {number} does not match its checksum; without it a "
            "retried request could "
            "take effect twice; restore the file, or move it away if no client will retry a "
            "request of the last day",
            reason="REQUEST_STORE_DAMAGED",
        )
    raw = json.loads(text)
    answer = None if raw["answer"] is None else base64.b64decode(raw["answer"])
    entry = Entry(
        raw["principal"], raw["id"], raw["method"], raw["digest"], raw["effect"], raw["at"], answer
    )
    return entry, raw["gone"]
