"""Sending 64-byte messages from one Python process to another: the standard library and PyPI.

A link is made before the two processes are forked. Its sender and receiver are loops over `count`
messages, each written the way its own documentation does it; the receiver returns how many bytes it
saw, so that nothing can be skipped.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.bench.native import BenchError

MESSAGE_BYTES = 64
JOINED = 256
PIPE_BYTES = 1 << 20
MESSAGES = tuple(index.to_bytes(8, "little") * (MESSAGE_BYTES // 8) for index in range(JOINED))


class Link(Protocol):
    """One way; `sender` and `receiver` are called in the process that uses them."""

    name: str

    def sender(self) -> Callable[[int], None]:
        """Return a function that sends that many messages."""
        ...

    def receiver(self) -> Callable[[int], int]:
        """Return a function that receives that many messages and returns their bytes."""
        ...

    def close(self) -> None:
        """Release what the link holds, in the parent."""
        ...


def messages(count: int) -> Iterator[bytes]:
    """Yield `count` messages of MESSAGE_BYTES, all distinct within JOINED."""
    return islice(cycle(MESSAGES), count)


class OneByOne:
    """A link whose unit is one message: subclasses give the calls that put and get one."""

    name = ""

    def open_put(self) -> Callable[[bytes], object]:
        """Return the call that sends one message."""
        raise NotImplementedError

    def open_get(self) -> Callable[[], bytes]:
        """Return the call that receives one message."""
        raise NotImplementedError

    def sender(self) -> Callable[[int], None]:
        """Send one message for each call."""
        put = self.open_put()

        def send(count: int) -> None:
            for message in messages(count):
                put(message)

        return send

    def receiver(self) -> Callable[[int], int]:
        """Receive one message for each call."""
        get = self.open_get()

        def receive(count: int) -> int:
            total = 0
            for _ in range(count):
                total += len(get())
            return total

        return receive

    def close(self) -> None:
        """Release nothing."""


class OsPipe(OneByOne):
    """`os.pipe`, one write and one read for each message; writes this small are atomic."""

    name = "os.pipe"

    def __init__(self) -> None:
        """Make the pipe, as large as an unprivileged process may."""
        self.read_end, self.write_end = os.pipe()
        with suppress(OSError):  # the default size then; the shape is the same
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def open_put(self) -> Callable[[bytes], object]:
        """Write."""
        return partial(os.write, self.write_end)

    def open_get(self) -> Callable[[], bytes]:
        """Read."""
        return partial(os.read, self.read_end, MESSAGE_BYTES)

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_end)
        os.close(self.write_end)


class JoinedPipe(OsPipe):
    """`os.pipe` with 256 messages joined into one write, split again by the reader."""

    name = "os.pipe.joined"

    def sender(self) -> Callable[[int], None]:
        """Join, then write whole."""
        write, end = os.write, self.write_end

        def send(count: int) -> None:
            for start in range(0, count, JOINED):
                view = memoryview(b"".join(MESSAGES[: min(JOINED, count - start)]))
                while view:
                    view = view[write(end, view) :]

        return send

    def receiver(self) -> Callable[[int], int]:
        """Read as much as one joined write, and cut it into messages."""
        read, end = os.read, self.read_end

        def receive(count: int) -> int:
            total, rest, wanted = 0, b"", count * MESSAGE_BYTES
            while total < wanted:
                rest += read(end, min(JOINED * MESSAGE_BYTES, wanted - total - len(rest)))
                whole = len(rest) - len(rest) % MESSAGE_BYTES
                cut = [rest[at : at + MESSAGE_BYTES] for at in range(0, whole, MESSAGE_BYTES)]
                total += len(cut) * MESSAGE_BYTES
                rest = rest[whole:]
            return total

        return receive


class BufferPipe(OsPipe):
    """`os.pipe` with buffers of 256 messages that nobody cuts: no queue, bytes only."""

    name = "os.pipe.buffer"

    def sender(self) -> Callable[[int], None]:
        """Write buffers."""
        write, end, whole = os.write, self.write_end, b"".join(MESSAGES)

        def send(count: int) -> None:
            for start in range(0, count, JOINED):
                view = memoryview(whole)[: min(JOINED, count - start) * MESSAGE_BYTES]
                while view:
                    view = view[write(end, view) :]

        return send

    def receiver(self) -> Callable[[int], int]:
        """Read into one buffer, again and again."""
        read, end, into = os.readv, self.read_end, bytearray(JOINED * MESSAGE_BYTES)

        def receive(count: int) -> int:
            total, wanted = 0, count * MESSAGE_BYTES
            while total < wanted:
                total += read(end, [memoryview(into)[: wanted - total]])
            return total

        return receive


class ZmqIpc(OneByOne):
    """pyzmq PUSH and PULL over an ipc socket."""

    name = "pyzmq.ipc"

    def __init__(self) -> None:
        """Choose the socket's path; the sockets are made after the fork."""
        self.zmq: Any = import_module("zmq")
        self.directory = tempfile.TemporaryDirectory(prefix="byteor-bench-")
        self.address = f"ipc://{Path(self.directory.name) / 'socket'}"

    def open_put(self) -> Callable[[bytes], object]:
        """Connect a PUSH socket."""
        socket = self.zmq.Context().socket(self.zmq.PUSH)
        socket.connect(self.address)
        put: Callable[[bytes], object] = socket.send
        return put

    def open_get(self) -> Callable[[], bytes]:
        """Bind a PULL socket."""
        socket = self.zmq.Context().socket(self.zmq.PULL)
        socket.bind(self.address)
        get: Callable[[], bytes] = socket.recv
        return get

    def close(self) -> None:
        """Remove the socket's directory."""
        self.directory.cleanup()


class QueueLink(OneByOne):
    """Anything with `put` and `get` of the multiprocessing kind."""

    def __init__(self, name: str, queue: Any) -> None:
        """Take the queue, made before the fork."""
        self.name = name
        self.queue = queue

    def open_put(self) -> Callable[[bytes], object]:
        """Put."""
        put: Callable[[bytes], object] = self.queue.put
        return put

    def open_get(self) -> Callable[[], bytes]:
        """Get."""
        get: Callable[[], bytes] = self.queue.get
        return get

    def close(self) -> None:
        """Close the queue."""
        self.queue.close()


class FasterFifoMany(QueueLink):
    """faster-fifo with `put_many` and `get_many`, 256 messages at a time."""

    def sender(self) -> Callable[[int], None]:
        """Put many."""
        put_many = self.queue.put_many

        def send(count: int) -> None:
            for start in range(0, count, JOINED):
                put_many(MESSAGES[: min(JOINED, count - start)], timeout=10)

        return send

    def receiver(self) -> Callable[[int], int]:
        """Get what is there."""
        get_many = self.queue.get_many

        def receive(count: int) -> int:
            total = 0
            while total < count * MESSAGE_BYTES:
                total += sum(map(len, get_many(max_messages_to_get=JOINED, timeout=10)))
            return total

        return receive


def faster_fifo_queue() -> Any:
    """Return a faster-fifo queue of 1 MiB."""
    return import_module("faster_fifo").Queue(PIPE_BYTES)


LINKS: dict[str, Callable[[], Link]] = {
    "os.pipe": OsPipe,
    "os.pipe.joined": JoinedPipe,
    "os.pipe.buffer": BufferPipe,
    "pyzmq.ipc": ZmqIpc,
    "faster-fifo": lambda: QueueLink("faster-fifo", faster_fifo_queue()),
    "faster-fifo.many": lambda: FasterFifoMany("faster-fifo.many", faster_fifo_queue()),
    "mp.Queue": lambda: QueueLink("mp.Queue", multiprocessing.get_context("fork").Queue()),
}
PINGS: dict[str, Callable[[], OneByOne]] = {
    "os.pipe": OsPipe,
    "pyzmq.ipc": ZmqIpc,
    "faster-fifo": lambda: QueueLink("faster-fifo", faster_fifo_queue()),
    "mp.Queue": lambda: QueueLink("mp.Queue", multiprocessing.get_context("fork").Queue()),
}
LinkT = TypeVar("LinkT", bound=Link)


@contextmanager
def opened(name: str, factory: Callable[[], LinkT]) -> Iterator[LinkT]:
    """Make a link and close it again; BenchError when its package is missing."""
    try:
        link = factory()
    except ImportError as error:
        message = f"{name}: {error.name} is not installed; `pip install byteor[bench]` brings it"
        raise BenchError(message) from error
    try:
        yield link
    finally:
        link.close()
