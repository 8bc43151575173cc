"""Summary of the trades in a stream of market-by-order records.

Record, 56 bytes, little endian: length in words u8, type u8, publisher u16, instrument u32, event
time u64 (ns), order id u64, price i64 (units of 1e-9) at 24, size u32 at 32, flags u8, channel u8,
action char at 38 (A add, C cancel, M modify, T trade, F fill), side char, receive time u64 (ns),
sending delta i32 (ns), venue sequence u32.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

RECORD = np.dtype(
    {"names": ["price", "size"], "formats": ["<i8", "<u4"], "offsets": [24, 32], "itemsize": 56}
)
FIGURES = np.dtype([("trades", "<i8"), ("size", "<i8"), ("cents", "<i8")])
PRICE_UNITS_PER_CENT = 10_000_000


class Summary:
    """Counts trades, adds up their size, and keeps what the volume-weighted price needs.

    Sums are integers (price in cents times size), so the result does not depend on how the stream
    was cut into batches.
    """

    def __init__(self, ctx: Any) -> None:
        """Keep the way to the state, which starts at zero and survives a crash of the worker."""
        self.state = ctx.state

    def process(self, batch: Any) -> None:
        """Add a batch of trades to the figures and let none of them through."""
        trades = batch.as_array(RECORD)
        sizes = trades["size"].astype(np.int64)
        figures = self.state(FIGURES)
        figures["trades"] += len(trades)
        figures["size"] += sizes.sum()
        figures["cents"] += (trades["price"] // PRICE_UNITS_PER_CENT * sizes).sum()
        batch.keep(np.zeros(len(trades), dtype=bool))

    def end(self, batch: Any) -> bytes:  # noqa: ARG002 - the end of the input has no messages
        """Return the last message, the summary as one JSON object."""
        trades, size, cents = self.state(FIGURES)[0].tolist()
        vwap = round(cents / size / 100, 4) if size else None
        return json.dumps({"trades": trades, "size": size, "vwap": vwap}).encode()
