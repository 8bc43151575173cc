"""The daemon's ends of the two socketpairs through which a client feeds and takes a run.

Owns back-pressure: input waits for room in a window of 8 MiB, output is read only while somebody
takes it. Bytes pass opaque and in order; `packets` keeps the books. Everything happens on one event
loop, without a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from byteord.errors import ByteorError, DataError, UnavailableError, WrongStateError
from byteord.runs.packets import (
    DATA_BYTES_MAX,
    HEADER,
    PACKET_BYTES_MAX,
    InputWindow,
    OutputOrder,
    PacketType,
)
from byteord.runs.view import CHUNK_BYTES_MAX, InputChunk, OutputChunk

_SEND_PACKETS_MAX = 32
"""Packets sent in one turn of the loop, so that a fast ingress does not keep others waiting."""
_SOCKET_BYTES = 1 << 20


def stream_pair() -> tuple[socket.socket, socket.socket]:
    """Return (daemon's end, worker's end) of a packet stream; the daemon's end does not block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    for end in (ours, theirs):
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
    return ours, theirs


class InputStream:
    """Feeds one ingress.

    Takes a client's chunks, survives restarts of the worker, fails the run if the client goes.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Own the daemon's end and begin to listen for the worker."""
        self.attached = False
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._window = InputWindow()
        self._changed = asyncio.Event()
        self._over: ByteorError | None = None
        self._writing = False
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def accepted_bytes(self) -> int:
        """Bytes taken from the client."""
        return self._window.received

    async def feed(self, chunks: AsyncIterator[InputChunk]) -> int:
        """Feed the whole input and return its length once the end mark is on its way.

        Raises DataError for input that does not check, and whatever ended the run before its input
        did. If `chunks` stops short of its end mark, or fails, the worker is told and the run
        fails.
        """
        if self.attached:
            raise WrongStateError(
                "the input of this run is being fed, or was: a run is fed once",
                reason="INPUT_TAKEN",
            )
        self.attached = True
        try:
            async for chunk in chunks:
                await self._until(lambda: self._window.room)
                self._window.add(chunk)
                self._pump()
                if chunk.end:
                    break
            self._check_ended()
            await self._until(lambda: self._window.end_sent)
        except BaseException as error:
            self.fail(_why_short(error, self._window.received))
            raise
        return self._window.received

    def fail(self, text: str) -> None:
        """Make the ingress fail with this text."""
        self._window.fail(text)
        self._pump()

    def over(self, error: ByteorError | None) -> None:
        """The run has ended: a client that still feeds it gets `error`. Closes the socket."""
        self._over = error or WrongStateError(
            "the run has ended before its input did", reason="RUN_ENDED"
        )
        self._detach()
        self._changed.set()

    def _check_ended(self) -> None:
        if self._window.ended:
            return
        raise DataError(
            f"the client's input ended before its end mark, after {self._window.received} bytes",
            reason="INPUT_SHORT",
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._over is not None:
                raise self._over
            self._changed.clear()
            await self._changed.wait()
        if self._over is not None and not self._window.end_sent:
            raise self._over

    def _detach(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()

    def _readable(self) -> None:
        try:
            while packet := self._sock.recv(PACKET_BYTES_MAX):
                self._heard(packet)
        except BlockingIOError:
            self._pump()
        except OSError:
            self._detach()
        else:
            self._detach()
        self._changed.set()

    def _heard(self, packet: bytes) -> None:
        if len(packet) < HEADER.size:
            return
        kind, epoch, offset, _ = HEADER.unpack_from(packet)
        if kind == PacketType.RESUME:
            try:
                self._window.resume(epoch, offset)
            except UnavailableError as error:
                self._window.fail(error.message)
        elif kind == PacketType.ACK:
            self._window.ack(epoch, offset)

    def _pump(self) -> None:
        """Send what can be sent now; come back when the socket has room, or in the next turn."""
        for _ in range(_SEND_PACKETS_MAX):
            packet = self._window.next_packet()
            if packet is None or self._sock.fileno() < 0:
                self._want_write(wanted=False)
                return
            try:
                self._sock.sendmsg([packet.header, packet.data])
            except BlockingIOError:
                break
            except OSError:
                self._want_write(wanted=False)
                return
            self._window.sent(packet)
            self._changed.set()
        self._want_write(wanted=True)

    def _want_write(self, *, wanted: bool) -> None:
        if wanted == self._writing or self._sock.fileno() < 0:
            return
        self._writing = wanted
        if wanted:
            self._loop.add_writer(self._sock.fileno(), self._pump)
        else:
            self._loop.remove_writer(self._sock.fileno())


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _why_short(error: BaseException, received: int) -> str:
    if isinstance(error, ByteorError):
        return error.message
    short = f"the client's input ended before its end mark, after {received} bytes"
    return f"{short}: the client went away"


class OutputStream:
    """Hands over one egress.

    In order, each byte once, read from the worker only as fast as it is taken.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Own the daemon's end; nothing is read before somebody takes."""
        self.attached = False
        self.finished = False
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._order = OutputOrder()
        self._header = bytearray(HEADER.size)
        self._buffer = bytearray(CHUNK_BYTES_MAX)
        self._filled = 0

    async def take(self) -> AsyncGenerator[OutputChunk, None]:
        """Yield the output to its end mark.

        Raises DataError if bytes are missing or do not check, UnavailableError when the run went
        away before the end. Whoever stops early closes the stream for good: the egress then fails.
        """
        if self.attached:
            raise WrongStateError(
                "the output of this run is being taken, or was: it is taken once",
                reason="OUTPUT_TAKEN",
            )
        self.attached = True
        try:
            while not self._order.ended:
                more = self._collect()
                if self._filled:
                    yield self._chunk()
                elif not more:
                    raise UnavailableError(
                        "the run went away before the end of its output, after "
                        f"{self._order.forwarded} bytes",
                        reason="OUTPUT_SHORT",
                    )
                elif not self._order.ended:
                    await self._readable()
            self.finished = True
            total = self._order.forwarded
            yield OutputChunk(b"", total, end=True, total_bytes=total, crc32c=self._order.crc)
        finally:
            self.close()

    def close(self) -> None:
        """Give the socket up: an egress that still writes gets EPIPE. Idempotent."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _chunk(self) -> OutputChunk:
        data = bytes(memoryview(self._buffer)[: self._filled])
        self._filled = 0
        return OutputChunk(data, self._order.forwarded - len(data))

    async def _readable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_reader(self._sock.fileno(), _settle, ready)
        try:
            await ready
        finally:
            if self._sock.fileno() >= 0:
                self._loop.remove_reader(self._sock.fileno())

    def _collect(self) -> bool:
        """Read until the buffer is full, the end, or nothing is there.

        Return False once the other side is gone.
        """
        view = memoryview(self._buffer)
        while not self._order.ended and self._filled + DATA_BYTES_MAX <= CHUNK_BYTES_MAX:
            try:
                got, _, flags, _ = self._sock.recvmsg_into([self._header, view[self._filled :]])
            except BlockingIOError:
                return True
            except OSError:
                return False
            if got < HEADER.size or flags & socket.MSG_TRUNC:
                return False
            self._heard(view[self._filled : self._filled + got - HEADER.size])
        return True

    def _heard(self, data: memoryview) -> None:
        kind, epoch, offset, value = HEADER.unpack(self._header)
        if kind == PacketType.RESUME:
            self._order.resume(epoch, offset)
        elif kind == PacketType.DATA:
            self._keep(data, self._order.data(epoch, offset, len(data)))
        elif kind == PacketType.END:
            self._order.end(epoch, offset, value)

    def _keep(self, data: memoryview, known: int) -> None:
        fresh = data[known:]
        if known and fresh:
            fresh = memoryview(bytes(fresh))
            self._buffer[self._filled : self._filled + len(fresh)] = fresh
        self._order.forward(fresh)
        self._filled += len(fresh)
