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

DIAMOND_PEERS = ("disruptor.diamond", "boost.spsc.diamond", "moodycamel.spsc.diamond")
FANOUT_PEERS = ("disruptor.fanout2", "boost.spsc.fanout2", "moodycamel.spsc.fanout2")
PRODUCERS_PEERS = ("disruptor.producers2", "moodycamel.many.producers2", "boost.queue.producers2")
GRAPH_CHAIN_PEERS = ("disruptor.chain3", "boost.spsc.chain3", "moodycamel.spsc.chain3")


def _sizes(peers: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the peers' single and batched candidates; those without batches count singly."""
    single = tuple(f"{peer}.single" for peer in peers)
    return single, (*(f"{peer}.batch16" for peer in peers), *single)


def _pair(
    shape: str, ours: str, peers: tuple[str, ...], reach: tuple[float, float], then: float
) -> tuple[Target, ...]:
    single, batched = _sizes(peers)
    first, second = reach
    return (
        Target(
            f"{shape}, one by one", (f"{ours}.single",), "rate", "A_str", first, first, single, then
        ),
        Target(
            f"{shape}, batches", (f"{ours}.batch",), "rate", "A_str", second, second, batched, then
        ),
    )


GRAPH_TARGETS = (
    *_pair("diamond on a ring", "run.diamond.apart", DIAMOND_PEERS, (0.5, 0.7), 0.33),
    *_pair("diamond on a ring, fused", "run.diamond.fused", DIAMOND_PEERS, (0.5, 0.7), 0.33),
    *_pair("diamond of lanes", "graph.diamond.apart", DIAMOND_PEERS, (0.5, 0.7), 0.33),
    *_pair("diamond of lanes, fused", "graph.diamond.fused", DIAMOND_PEERS, (0.5, 0.7), 0.33),
    *_pair("fan-out 1 to 2", "graph.fanout2.apart", FANOUT_PEERS, (0.5, 1.5), 0.34),
    *_pair("fan-out 1 to 2, fused", "graph.fanout2.fused", FANOUT_PEERS, (0.5, 1.5), 0.34),
    *_pair("2 producers to 1", "graph.producers2.apart", PRODUCERS_PEERS, (1.0, 1.0), 0.49),
    *_pair("2 producers to 1, fused", "graph.producers2.fused", PRODUCERS_PEERS, (1.0, 1.0), 0.49),
    *_pair("3 stages in lanes", "graph.chain3.apart", GRAPH_CHAIN_PEERS, (0.5, 0.7), 0.31),
    *_pair("3 stages in lanes, fused", "graph.chain3.fused", GRAPH_CHAIN_PEERS, (0.5, 2.0), 0.31),
)
"""On two CPUs; `fused` is what `fuse = "auto"` makes of more roles than CPUs, the others are made
to run one process a role."""

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
    *GRAPH_TARGETS,
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
