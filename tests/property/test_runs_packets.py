"""The books of input and output against models, in any order of events that a run can produce."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from byteord._cext.stages import crc32c
from byteord.runs.packets import DATA_BYTES_MAX, InputWindow, OutputOrder, PacketType
from byteord.runs.view import InputChunk

HEADER = struct.Struct("<IIQQ")
CONTENT = bytes(range(256)) * 2048

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.sampled_from([0, 1, 100, 32_767, 32_768, 65_512, 100_000])),
        st.tuples(st.just("pump"), st.integers(1, 8)),
        st.tuples(st.just("ack"), st.floats(0, 1)),
        st.tuples(st.just("restart"), st.floats(0, 1)),
    ),
    max_size=40,
)


class Ingress:
    """A source: keeps what it took since it resumed, and what of it is committed."""

    def __init__(self, window: InputWindow) -> None:
        """Resume at the first byte."""
        self.window = window
        self.epoch = 1
        self.got = bytearray()
        self.committed = 0
        self.end: tuple[int, int] | None = None
        window.resume(1, 0)

    def pump(self) -> bool:
        """Take one packet; check that it continues what was taken."""
        packet = self.window.next_packet()
        if packet is None:
            return False
        kind, epoch, offset, value = HEADER.unpack(packet.header)
        assert epoch == self.epoch
        assert offset == len(self.got)
        if kind == PacketType.DATA:
            assert 0 < len(packet.data) <= DATA_BYTES_MAX
            self.got += packet.data
        else:
            assert kind == PacketType.END
            self.end = (offset, value)
        self.window.sent(packet)
        return True

    def ack(self, share: float) -> None:
        """Commit a part of what was taken."""
        self.committed += int(share * (len(self.got) - self.committed))
        self.window.ack(self.epoch, self.committed)

    def restart(self, share: float) -> None:
        """Die; the last commits may not have been acknowledged yet."""
        self.committed += int(share * (len(self.got) - self.committed))
        del self.got[self.committed :]
        self.epoch += 1
        self.end = None
        self.window.resume(self.epoch, self.committed)


@given(ACTIONS)
def test_input_survives_any_order_of_feeding_acknowledging_and_restarting(
    actions: list[tuple[str, float]],
) -> None:
    """The ingress ends up with exactly the bytes fed, and the end mark is of the whole."""
    window = InputWindow()
    ingress = Ingress(window)
    fed = 0
    for action, amount in actions:
        if action == "feed":
            piece = CONTENT[fed : fed + int(amount)]
            window.add(InputChunk(piece, fed))
            fed += len(piece)
        elif action == "pump":
            for _ in range(int(amount)):
                ingress.pump()
        elif action == "ack":
            ingress.ack(amount)
        else:
            ingress.restart(amount)
        assert window.received == fed
        assert window.buffered <= fed - ingress.committed + DATA_BYTES_MAX
    whole = CONTENT[:fed]
    crc = crc32c(whole, 0)
    window.add(InputChunk(b"", fed, end=True, total_bytes=fed, crc32c=crc))
    while ingress.pump():
        pass
    assert bytes(ingress.got) == whole
    assert ingress.end == (fed, crc)


@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1)), min_size=1, max_size=20))
def test_output_repeats_nothing_and_loses_nothing(lives: list[tuple[int, float]]) -> None:
    """Whatever part of its output a restarted egress writes again, each byte goes out once."""
    order = OutputOrder()
    got = bytearray()
    committed = 0

    def write(epoch: int, start: int, stop: int) -> None:
        order.resume(epoch, start)
        for offset in range(start, stop, 700):
            piece = memoryview(CONTENT)[offset : min(offset + 700, stop)]
            fresh = piece[order.data(epoch, offset, len(piece)) :]
            order.forward(fresh)
            got.extend(fresh)

    for epoch, (length, share) in enumerate(lives, start=1):
        write(epoch, committed, committed + length)
        assert order.data(epoch - 1, 0, 5) == 5
        committed += int(share * length)
    last = max(len(got), committed)
    write(99, committed, last)
    order.end(99, last, crc32c(CONTENT[:last], 0))
    assert order.ended
    assert bytes(got) == CONTENT[:last]
