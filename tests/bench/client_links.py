"""byteor's own way between two Python processes: `byteord.client` over a ring of its own.

One message in a call, lists of 256, buffers, NumPy columns in place. The ring has no telemetry; its
slots carry stamps, times and gating cells as in a run. Payloads are those of the other links.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from byteord import client
from tests.bench.python_links import JOINED, MESSAGE_BYTES, MESSAGES, Link, OneByOne

SLOT_BYTES = 128
CAPACITY = 4096
RECORD = np.dtype([("sequence", "<u8"), ("rest", "V56")])


class ClientLink(OneByOne):
    """`publish` and `take`, one `bytes` in each call."""

    def __init__(self, name: str, wait: str = "spin") -> None:
        """Create the ring; sessions are opened by the side that uses them."""
        self.name = name
        self._wait = wait
        self._directory = tempfile.mkdtemp(prefix="byteor-bench-", dir="/dev/shm")
        self._path = str(Path(self._directory) / "ring")
        self._held = ExitStack()
        client.create_ring(self._path, capacity=CAPACITY, slot_bytes=SLOT_BYTES)

    def publisher(self) -> Any:
        """Return the ring's publisher; its lock is held until this process ends."""
        return self._held.enter_context(client.open_ring(self._path, "publisher", wait=self._wait))

    def consumer(self) -> Any:
        """Return the ring's consumer; its lock is held until this process ends."""
        return self._held.enter_context(client.open_ring(self._path, "consumer", wait=self._wait))

    def open_put(self) -> Callable[[bytes], object]:
        """Publish."""
        put: Callable[[bytes], object] = self.publisher().publish
        return put

    def open_get(self) -> Callable[[], bytes]:
        """Take."""
        get: Callable[[], bytes] = self.consumer().take
        return get

    def close(self) -> None:
        """Remove the ring."""
        shutil.rmtree(self._directory)


class ClientLists(ClientLink):
    """`publish_many` and `take_many`, lists of 256 `bytes`."""

    def sender(self) -> Callable[[int], None]:
        """Publish lists."""
        publish_many, whole = self.publisher().publish_many, list(MESSAGES)

        def send(count: int) -> None:
            for start in range(0, count, JOINED):
                publish_many(whole if count - start >= JOINED else whole[: count - start])

        return send

    def receiver(self) -> Callable[[int], int]:
        """Take lists."""
        take_many = self.consumer().take_many

        def receive(count: int) -> int:
            left = count
            while left:
                left -= len(take_many(JOINED))
            return count * MESSAGE_BYTES

        return receive


class ClientBuffers(ClientLink):
    """`publish_buffer` of 256 messages, and batches whose payloads are looked at in place."""

    def sender(self) -> Callable[[int], None]:
        """Publish buffers."""
        publish_buffer, whole = self.publisher().publish_buffer, b"".join(MESSAGES)

        def send(count: int) -> None:
            for start in range(0, count, JOINED):
                bytes_ = min(JOINED, count - start) * MESSAGE_BYTES
                publish_buffer(whole if bytes_ == len(whole) else whole[:bytes_], MESSAGE_BYTES)

        return send

    def receiver(self) -> Callable[[int], int]:
        """Look at the first and the last payload of each batch."""
        consumer = self.consumer()

        def receive(count: int) -> int:
            total, left = 0, count
            while left:
                with consumer.batch(JOINED) as batch:
                    found = len(batch)
                    ends = len(batch.payload(0)) + len(batch.payload(found - 1))
                    total += ends * found // 2
                    left -= found
            return total

        return receive


class ClientNumpy(ClientLink):
    """A column filled in claimed slots, and summed in place on the other side."""

    def sender(self) -> Callable[[int], None]:
        """Fill the sequence column of claimed slots."""
        publisher, numbers = self.publisher(), np.arange(JOINED, dtype="<u8")

        def send(count: int) -> None:
            left = count
            while left:
                with publisher.batch(min(left, JOINED), MESSAGE_BYTES) as batch:
                    found = len(batch)
                    batch.as_array(RECORD)["sequence"] = numbers[:found]
                    left -= found

        return send

    def receiver(self) -> Callable[[int], int]:
        """Sum the sequence column of each batch."""
        consumer = self.consumer()

        def receive(count: int) -> int:
            total, left = 0, count
            while left:
                with consumer.batch(JOINED) as batch:
                    total += int(batch.as_array(RECORD)["sequence"].sum())
                    left -= len(batch)
            return count * MESSAGE_BYTES if total or count < 2 else 0

        return receive


CLIENT_LINKS: dict[str, Callable[[], Link]] = {
    "client.one": lambda: ClientLink("client.one"),
    "client.one.backoff": lambda: ClientLink("client.one.backoff", "backoff"),
    "client.list": lambda: ClientLists("client.list"),
    "client.buffer": lambda: ClientBuffers("client.buffer"),
    "client.numpy": lambda: ClientNumpy("client.numpy"),
}
CLIENT_PINGS: dict[str, Callable[[], OneByOne]] = {"client": lambda: ClientLink("client.ping")}
