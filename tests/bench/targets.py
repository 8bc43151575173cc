"""What is wanted of each shape, over the anchors or over a peer in the same rounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table of targets.

    `base` is `A_lat`, `A_str`, the name of a peer, or `ns` for a plain figure. `peer_then` is what
    the best peer had, in the same unit, on the day the target was set: with it the row can also be
    judged against the peer as measured today.
    """

    shape: str
    ours: tuple[str, ...]
    """The real run, then the worker's loop alone, then the bare ring: the first found judges."""
    key: str
    base: str
    reach: float
    dream: float
    peers: tuple[str, ...] = ()
    peer_then: float | None = None
    smaller_is_better: bool = False

    def met(self, value: float) -> bool:
        """Tell whether a value in the row's unit reaches the target."""
        return value <= self.reach if self.smaller_is_better else value >= self.reach

    @property
    def wanted_over_peer(self) -> float | None:
        """The target as a multiple of the peer it was set against."""
        return None if self.peer_then is None else self.reach / self.peer_then


BOOST_SINGLE_256K = ("boost.single.256k.48", "boost.single.256k.64")
BOOST_SINGLE_4M = ("boost.single.4m.48", "boost.single.4m.64")
BOOST_BATCH_256K = ("boost.batch16.256k.48", "boost.batch16.256k.64")
BOOST_BATCH_4M = ("boost.batch64.4m.48", "boost.batch64.4m.64")

TARGETS = (
    Target(
        "hand-over p50, 48 bytes in a 64-byte slot",
        ("run.handover", "unit.handover", "byteor.ping"),
        "p50_ns",
        "A_lat",
        1.55,
        1.45,
        ("disruptor.ping", "boost.ping"),
        2.2,
        smaller_is_better=True,
    ),
    Target(
        "hand-over p99, over the anchor's p99",
        ("run.handover", "unit.handover", "byteor.ping"),
        "p99_ns",
        "A_lat p99",
        1.9,
        1.6,
        ("disruptor.ping", "boost.ping"),
        smaller_is_better=True,
    ),
    Target(
        "64 B one by one, 256 KiB ring",
        ("run.single.256k", "unit.single.256k", "byteor.single.256k"),
        "rate",
        "A_str",
        0.6,
        0.72,
        (*BOOST_SINGLE_256K, "disruptor.single.256k"),
        0.31,
    ),
    Target(
        "64 B one by one, 4 MiB ring",
        ("run.single.4m", "unit.single.4m", "byteor.single.4m"),
        "rate",
        "A_str",
        1.5,
        2.5,
        (*BOOST_SINGLE_4M, "disruptor.single.4m"),
        0.5,
    ),
    Target(
        "64 B batches of 16, 256 KiB ring",
        ("run.batch.256k", "unit.batch.256k", "unit.batch16.256k", "byteor.batch16.256k"),
        "rate",
        "A_str",
        0.95,
        2.0,
        (*BOOST_BATCH_256K, "disruptor.batch16.256k"),
        0.84,
    ),
    Target(
        "64 B batches of 64, 4 MiB ring",
        ("run.batch.4m", "unit.batch.4m", "unit.batch64.4m", "byteor.batch64.4m"),
        "rate",
        "A_str",
        0.95,
        2.0,
        (*BOOST_BATCH_4M, "disruptor.batch16.4m"),
        0.84,
    ),
    Target(
        "3 stages on 2 CPUs, one by one",
        ("run.chain3.single",),
        "rate",
        "A_str",
        0.5,
        0.5,
        ("disruptor.chain3.single",),
        0.31,
    ),
    Target(
        "3 stages on 2 CPUs, batches",
        ("run.chain3.batch",),
        "rate",
        "A_str",
        0.7,
        0.7,
        ("disruptor.chain3.batch16",),
        0.31,
    ),
    Target(
        "3 stages on 2 CPUs, fused",
        ("run.chain3.fused", "unit.chain3.fused"),
        "rate",
        "A_str",
        2.0,
        2.3,
        ("disruptor.chain3.batch16",),
        0.31,
    ),
    Target(
        "Python bytes one by one",
        ("client.one",),
        "rate",
        "os.pipe",
        10,
        13,
        ("pyzmq.ipc", "faster-fifo", "mp.Queue"),
        0.73,
    ),
    Target(
        "Python lists of 256",
        ("client.list",),
        "rate",
        "os.pipe.joined",
        8,
        10,
        ("faster-fifo.many",),
    ),
    Target("Python buffers", ("client.buffer",), "rate", "os.pipe.joined", 15, 20),
    Target("Python NumPy column fill and sum", ("client.numpy",), "rate", "os.pipe.joined", 11, 15),
    Target(
        "Python one way, p50",
        ("client.ping",),
        "p50_ns",
        "ns",
        400,
        200,
        ("os.pipe.ping", "pyzmq.ipc.ping", "faster-fifo.ping", "mp.Queue.ping"),
        6100,
        smaller_is_better=True,
    ),
)
