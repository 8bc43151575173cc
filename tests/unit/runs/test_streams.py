"""The daemon's ends of a run's input and output, against the other end of a real socketpair."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from byteord._cext.stages import crc32c
from byteord.errors import DataError, UnavailableError, WrongStateError
from byteord.runs.packets import DATA_BYTES_MAX, WINDOW_BYTES_MAX, PacketType
from byteord.runs.streams import InputStream, OutputStream, stream_pair
from byteord.runs.view import CHUNK_BYTES_MAX, InputChunk, OutputChunk
from tests.unit.runs.support import HEADER, chunks_of, run, stream


class Peer:
    """A worker's end of a stream, driven by the test packet by packet."""

    def __init__(self, sock: socket.socket) -> None:
        """Own the socket."""
        sock.setblocking(False)
        self.sock = sock
        self.loop = asyncio.get_running_loop()

    async def send(
        self, kind: PacketType, epoch: int, offset: int = 0, value: int = 0, data: bytes = b""
    ) -> None:
        """Send one packet."""
        await self.loop.sock_sendall(self.sock, HEADER.pack(kind, epoch, offset, value) + data)

    async def receive(self) -> tuple[int, int, int, int, bytes]:
        """Receive one packet: type, epoch, offset, value, data; raise EOFError at the end."""
        packet = await self.loop.sock_recv(self.sock, 1 << 17)
        if not packet:
            raise EOFError
        return (*HEADER.unpack_from(packet), packet[HEADER.size :])

    async def read_input(self, epoch: int, resume: int = 0) -> bytes:
        """Take the whole input as a source would, acknowledging as it goes."""
        await self.send(PacketType.RESUME, epoch, resume)
        got = b""
        while True:
            kind, seen, offset, value, data = await self.receive()
            assert seen == epoch
            if kind == PacketType.END:
                assert offset == resume + len(got)
                self.crc = value
                return got
            assert kind == PacketType.DATA
            assert offset == resume + len(got)
            got += data
            await self.send(PacketType.ACK, epoch, resume + len(got))


@contextlib.contextmanager
def input_pair() -> Iterator[tuple[InputStream, Peer]]:
    """Give a stream and its worker; close both."""
    ours, theirs = stream_pair()
    fed = InputStream(ours)
    try:
        yield fed, Peer(theirs)
    finally:
        fed.over(None)
        theirs.close()


@contextlib.contextmanager
def output_pair() -> Iterator[tuple[OutputStream, Peer]]:
    """Give a stream and its worker; close both."""
    ours, theirs = stream_pair()
    taken = OutputStream(ours)
    try:
        yield taken, Peer(theirs)
    finally:
        taken.close()
        theirs.close()


async def turns(count: int) -> None:
    """Let the loop go round: whatever could happen without the other side has happened."""
    for _ in range(count):
        await asyncio.sleep(0)


def content(size: int, seed: int = 1) -> bytes:
    """Return seeded bytes."""
    return random.Random(seed).randbytes(size)


def test_input_arrives_whole_and_in_order() -> None:
    """Chunks of any size reach the worker as the same bytes, with length and CRC32C at the end."""

    async def work() -> None:
        data = content(3_000_000)
        sizes = [1, 10, 40_000, 65_512, 65_513, 7, CHUNK_BYTES_MAX, 33, 32_768, 5]
        with input_pair() as (fed, worker):
            reading = asyncio.ensure_future(worker.read_input(epoch=7))
            assert await fed.feed(stream(chunks_of(data, sizes))) == len(data)
            assert await reading == data
            assert worker.crc == crc32c(data, 0)

    run(work())


def test_input_waits_for_a_worker_that_does_not_read() -> None:
    """No more than the window is taken from a client while nothing is committed."""

    async def work() -> None:
        taken = 0

        async def endless() -> AsyncIterator[InputChunk]:
            nonlocal taken
            while True:
                yield InputChunk(bytes(CHUNK_BYTES_MAX), taken)
                taken += CHUNK_BYTES_MAX

        with input_pair() as (fed, worker):
            await worker.send(PacketType.RESUME, 1)
            feeding = asyncio.ensure_future(fed.feed(endless()))
            await turns(1000)
            assert not feeding.done()
            assert fed.accepted_bytes == WINDOW_BYTES_MAX
            feeding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await feeding

    run(work())


def test_input_is_sent_again_from_where_a_restarted_worker_resumes() -> None:
    """A second worker that resumes at the committed offset gets every byte after it."""

    async def work() -> None:
        data = content(1_000_000)
        with input_pair() as (fed, worker):
            feeding = asyncio.ensure_future(fed.feed(stream(chunks_of(data, [300_000, 5, 10]))))
            await worker.send(PacketType.RESUME, 1)
            first = b""
            while len(first) < 200_000:
                _, _, _, _, piece = await worker.receive()
                first += piece
            await worker.send(PacketType.ACK, 1, 100_000)
            await worker.send(PacketType.RESUME, 2, 150_000)
            second, kind, epoch, value = b"", 0, 0, 0
            while (kind, epoch) != (PacketType.END, 2):
                kind, epoch, offset, value, piece = await worker.receive()
                if epoch == 1:
                    continue
                assert kind == PacketType.END or offset == 150_000 + len(second)
                second += piece
            assert second == data[150_000:]
            assert value == crc32c(data, 0)
            assert await feeding == len(data)

    run(work())


def test_a_worker_that_resumes_before_what_it_committed_is_refused() -> None:
    """Bytes that were released cannot be sent again: the worker is told so, not given a gap."""

    async def work() -> None:
        data = content(400_000)
        with input_pair() as (fed, worker):
            feeding = asyncio.ensure_future(fed.feed(stream(chunks_of(data, []))))
            assert await worker.read_input(epoch=1) == data
            await feeding
            await worker.send(PacketType.RESUME, 2, 10)
            kind, epoch, _, _, text = await worker.receive()
            assert (kind, epoch) == (PacketType.FAILED, 2)
            assert b"resumes at byte 10" in text

    run(work())


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([InputChunk(b"abc", 0), InputChunk(b"def", 4)], "INPUT_GAP"),
        ([InputChunk(b"abc", 0), InputChunk(b"", 3, end=True, total_bytes=4)], "INPUT_LENGTH"),
        ([InputChunk(b"abc", 0, end=True, total_bytes=3, crc32c=1)], "INPUT_CRC"),
        ([InputChunk(bytes(CHUNK_BYTES_MAX + 1), 0)], "INPUT_CHUNK_TOO_LARGE"),
        ([InputChunk(b"abc", 0)], "INPUT_SHORT"),
        ([], "INPUT_SHORT"),
    ],
)
def test_input_that_does_not_check_fails_the_run(chunks: list[InputChunk], reason: str) -> None:
    """A gap, a wrong length or CRC, a missing end mark: the client and the worker are both told."""

    async def work() -> None:
        with input_pair() as (fed, worker):
            with pytest.raises(DataError) as caught:
                await fed.feed(stream(chunks))
            assert caught.value.reason == reason
            await worker.send(PacketType.RESUME, 5)
            kind, epoch, _, _, text = await worker.receive()
            assert (kind, epoch) == (PacketType.FAILED, 5)
            assert text.decode() == caught.value.message

    run(work())


def test_a_client_that_goes_away_fails_the_run() -> None:
    """A cancelled call is told to the worker as input that ended before its end mark."""

    async def work() -> None:
        async def stuck() -> AsyncIterator[InputChunk]:
            yield InputChunk(b"abc", 0)
            await asyncio.Event().wait()

        with input_pair() as (fed, worker):
            await worker.send(PacketType.RESUME, 1)
            feeding = asyncio.ensure_future(fed.feed(stuck()))
            assert (await worker.receive())[0] == PacketType.DATA
            feeding.cancel()
            kind, _, _, _, text = await worker.receive()
            assert kind == PacketType.FAILED
            assert text.startswith(b"the client's input ended before its end mark, after 3 bytes")
            with pytest.raises(asyncio.CancelledError):
                await feeding

    run(work())


def test_the_end_of_the_run_reaches_a_client_that_feeds() -> None:
    """Whoever feeds a run that ends is told why, and a run is fed once."""

    async def work() -> None:
        async def stuck() -> AsyncIterator[InputChunk]:
            for piece in range(1000):
                yield InputChunk(bytes(CHUNK_BYTES_MAX), piece * CHUNK_BYTES_MAX)

        with input_pair() as (fed, _worker):
            feeding = asyncio.ensure_future(fed.feed(stuck()))
            await asyncio.sleep(0)
            with pytest.raises(WrongStateError):
                await fed.feed(stuck())
            fed.over(UnavailableError("the run is over"))
            with pytest.raises(UnavailableError, match="the run is over"):
                await feeding

    run(work())


async def write_output(
    worker: Peer, data: bytes, *, epoch: int, start: int = 0, stop: int | None = None
) -> None:
    """Write the output as a sink would, from a committed offset; with its end unless stopped."""
    await worker.send(PacketType.RESUME, epoch, start)
    last = len(data) if stop is None else stop
    for offset in range(start, last, DATA_BYTES_MAX):
        piece = data[offset : min(offset + DATA_BYTES_MAX, last)]
        await worker.send(PacketType.DATA, epoch, offset, 0, piece)
    if stop is None:
        await worker.send(PacketType.END, epoch, len(data), crc32c(data, 0))


async def collect(taken: OutputStream) -> tuple[bytes, OutputChunk]:
    """Take everything; check offsets and sizes on the way."""
    got = b""
    async for chunk in taken.take():
        assert chunk.offset == len(got)
        assert len(chunk.data) <= CHUNK_BYTES_MAX
        got += chunk.data
    return got, chunk


@pytest.mark.parametrize("size", [0, 1, 65_512, 65_513, 5_000_000])
def test_output_arrives_whole_and_in_order(size: int) -> None:
    """The client gets the bytes, each once, in chunks of at most 1 MiB, with length and CRC32C."""

    async def work() -> None:
        data = content(size)
        with output_pair() as (taken, worker):
            writing = asyncio.ensure_future(write_output(worker, data, epoch=3))
            got, end = await collect(taken)
            await writing
            assert got == data
            assert (end.end, end.total_bytes, end.crc32c) == (True, size, crc32c(data, 0))
            assert taken.finished

    run(work())


@pytest.mark.parametrize(("committed", "written"), [(0, 200_000), (100_000, 200_000), (5, 70_000)])
def test_output_after_a_restart_repeats_nothing(committed: int, written: int) -> None:
    """What a restarted worker writes again below what was forwarded is dropped."""

    async def work() -> None:
        data = content(400_000)

        async def writing(worker: Peer) -> None:
            await write_output(worker, data, epoch=1, stop=written)
            await write_output(worker, data, epoch=2, start=committed)

        with output_pair() as (taken, worker):
            task = asyncio.ensure_future(writing(worker))
            got, _ = await collect(taken)
            await task
            assert got == data

    run(work())


def test_output_is_read_only_while_it_is_taken() -> None:
    """Nobody takes: the worker's socket fills up and the daemon holds nothing."""

    async def work() -> None:
        with output_pair() as (taken, worker):
            writing = asyncio.ensure_future(write_output(worker, bytes(4_000_000), epoch=1))
            await turns(1000)
            assert not writing.done()
            got, _ = await collect(taken)
            await writing
            assert len(got) == 4_000_000

    run(work())


@pytest.mark.parametrize("fault", ["gap", "resume", "crc", "length"])
def test_output_that_is_missing_bytes_is_refused(fault: str) -> None:
    """A gap or a wrong end mark is an error by name, never a shorter output."""

    async def work() -> None:
        with output_pair() as (taken, worker):
            await worker.send(PacketType.RESUME, 1, 5 if fault == "resume" else 0)
            await worker.send(PacketType.DATA, 1, 3 if fault == "gap" else 0, 0, b"abc")
            total = 4 if fault == "length" else 3
            await worker.send(PacketType.END, 1, total, 1 if fault == "crc" else crc32c(b"abc", 0))
            with pytest.raises(DataError) as caught:
                await collect(taken)
            assert caught.value.reason in {"OUTPUT_GAP", "OUTPUT_CHECK"}

    run(work())


def test_output_without_an_end_is_short() -> None:
    """A worker that is gone before its end mark gives what it wrote and then an error."""

    async def work() -> None:
        with output_pair() as (taken, worker):
            await worker.send(PacketType.RESUME, 1)
            await worker.send(PacketType.DATA, 1, 0, 0, b"abc")
            worker.sock.close()
            chunks = taken.take()
            assert (await anext(chunks)).data == b"abc"
            with pytest.raises(UnavailableError) as caught:
                await anext(chunks)
            assert caught.value.reason == "OUTPUT_SHORT"

    run(work())


def test_whoever_stops_taking_closes_the_stream() -> None:
    """The egress of a run whose client went away gets EPIPE."""

    async def work() -> None:
        with output_pair() as (taken, worker):
            await worker.send(PacketType.RESUME, 1)
            await worker.send(PacketType.DATA, 1, 0, 0, b"abc")
            chunks = taken.take()
            await anext(chunks)
            await chunks.aclose()
            with pytest.raises(BrokenPipeError):
                await worker.send(PacketType.DATA, 1, 3, 0, b"def")
            assert not taken.finished

    run(work())
