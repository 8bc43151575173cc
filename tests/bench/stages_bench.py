"""What each built-in stage costs: nanoseconds per 64-byte message, in batches of 64.

    python -m tests.bench.stages_bench

No ring, no commit record: `process` alone over a fresh batch in the cache. Two clock reads for each
batch (about 80 ns) are part of the figure, as `identity` shows.
"""

from __future__ import annotations

import random

from byteord._cext.stages import Bench, open_builtin

MESSAGE_BYTES, BATCH, SLOT_BYTES = 64, 64, 128
ROUNDS, REPEATS = 2000, 5

STAGES: list[tuple[str, str, dict[str, str]]] = [
    ("identity", "", {}),
    ("filter", "u8 eq", {"offset": "3", "value": "65"}),
    (
        "filter",
        "i64 big lt",
        {"offset": "8", "width": "8", "signed": "true", "endian": "big", "op": "lt", "value": "0"},
    ),
    ("filter", "contains 15 bytes", {"contains": "Failed password"}),
    (
        "select",
        "two ranges",
        {"ranges.0.offset": "8", "ranges.0.length": "8", "ranges.1.offset": "32"},
    ),
    ("sample", "every 10", {"every": "10"}),
    ("sample", "fraction by content", {"fraction": "0.1", "by": "content"}),
    ("rate_limit", "", {"rate": "1000000"}),
    ("crc32c", "stamp, appended", {"mode": "stamp"}),
    ("dedupe", "8-byte key, window 1024", {"length": "8"}),
    ("dedupe", "8-byte key, all different", {"length": "8", "window": "16", "offset": "16"}),
    ("count", "total", {}),
    ("count", "2-byte key", {"length": "2", "keys_max": "65536"}),
]


def measure(name: str, config: dict[str, str]) -> float:
    """Return the best of a few rounds, in nanoseconds per message."""
    content = random.Random(1)
    payloads: list[bytes | None] = [content.randbytes(MESSAGE_BYTES) for _ in range(BATCH)]
    handle = open_builtin(name, config, SLOT_BYTES - 16)
    best = float("inf")
    for _ in range(REPEATS):
        batch = Bench(payloads, SLOT_BYTES, bytearray(handle.state_bytes))
        best = min(best, batch.measure(handle.address, ROUNDS))
    handle.close()
    return best


def main() -> None:
    """Print the table."""
    print(f"{'stage':12} {'configuration':28} {'ns/message':>10}")
    for name, label, config in STAGES:
        print(f"{name:12} {label:28} {measure(name, config):10.2f}")


if __name__ == "__main__":
    main()
