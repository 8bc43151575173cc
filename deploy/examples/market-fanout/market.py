"""Trades and the best prices of a book, from a stream of market-by-order records.

Record, 56 bytes, little endian: length in words u8, type u8, publisher u16, instrument u32, event
time u64 (ns), order id u64 at 16, price i64 (units of 1e-9) at 24, size u32 at 32, flags u8,
channel u8, action char at 38 (A add, C cancel, M modify, T trade, F fill, R clear), side char at 39
(A ask, B bid), receive time u64 (ns), sending delta i32 (ns), venue sequence u32.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

ORDER = struct.Struct("<16xQqI2xcc16x")
"""Order id, price, size, action and side of a record."""
SUMS = np.dtype([("trades", "<i8"), ("size", "<i8"), ("cents", "<i8")])
ENTRY = np.dtype([("id", "<u8"), ("price", "<i8"), ("size", "<u4"), ("side", "S1"), ("pad", "V3")])
UNITS_PER_CENT = 10_000_000
ASK, BID = b"A", b"B"


class Vwap:
    """Turns each trade into a line with the volume-weighted average price so far.

    Sums are integers (price in cents times size), so the lines do not depend on how the stream was
    cut into batches.
    """

    def __init__(self, ctx: Any) -> None:
        """Keep the way to the sums, which start at zero and survive a crash of the worker."""
        self.state = ctx.state

    def process(self, batch: Any) -> None:
        """Replace every trade of a batch by its line."""
        sums = self.state(SUMS)
        trades, total, cents = sums[0].tolist()
        for index, record in enumerate(batch):
            _, price, size, _, _ = ORDER.unpack(record)
            trades, total = trades + 1, total + size
            cents += price // UNITS_PER_CENT * size
            line = {"trade": price / 1e9, "size": size, "trades": trades, "total": total}
            batch.replace(
                index, json.dumps({**line, "vwap": round(cents / total / 100, 4)}).encode()
            )
        sums[0] = (trades, total, cents)


class Book:
    """Keeps every resting order, and says so when the best bid or the best ask changes.

    The orders in shared memory are the truth. The dictionaries beside them only find things fast
    and are made anew when they were not there for the last change of it (after a crash, or when a
    batch was taken back).
    """

    def __init__(self, ctx: Any) -> None:
        """Begin without orders; they are read from the state at the first batch."""
        self.state = ctx.state
        self.calls = -1

    def process(self, batch: Any) -> None:
        """Take every record into the book; let through what changes the best prices, as a line."""
        entries = self.state(ENTRY)
        header = entries[0]
        if self.calls != int(header["id"]):
            self._index(entries)
        before = (self._best(BID), self._best(ASK))
        for index, record in enumerate(batch):
            self._apply(entries, ORDER.unpack(record))
            best = (self._best(BID), self._best(ASK))
            if best == before:
                batch.drop(index)
                continue
            before = best
            bid, ask = (price / 1e9 if price is not None else None for price in best)
            batch.replace(index, json.dumps({"bid": bid, "ask": ask}).encode())
        self.calls = int(header["id"]) + 1
        header["id"] = self.calls

    def _index(self, entries: Any) -> None:
        """Read the orders that rest in the state."""
        self.places: dict[int, int] = {}
        self.levels: dict[bytes, dict[int, int]] = {BID: {}, ASK: {}}
        self.best: dict[bytes, int | None] = {BID: None, ASK: None}
        resting = np.flatnonzero(entries["size"][1:]) + 1
        for place in resting.tolist():
            order, price, size, side, _ = entries[place].tolist()
            self.places[order] = place
            self._add(side, price, size)
        taken = set(resting.tolist())
        self.free = [place for place in range(len(entries) - 1, 0, -1) if place not in taken]

    def _apply(self, entries: Any, record: tuple[int, int, int, bytes, bytes]) -> None:
        order, price, size, action, side = record
        if action == b"A":
            self._rest(entries, order, (side, price, size))
        elif action == b"M":
            self._take(entries, order, None)
            self._rest(entries, order, (side, price, size))
        elif action == b"C":
            self._take(entries, order, size)
        elif action == b"R":
            for known in list(self.places):
                self._take(entries, known, None)

    def _rest(self, entries: Any, order: int, level: tuple[bytes, int, int]) -> None:
        """Let an order rest; one that is there already goes first."""
        side, price, size = level
        if side not in self.levels or not size:
            return
        self._take(entries, order, None)
        if not self.free:
            raise ValueError(f"more than {len(entries) - 1} resting orders: raise state_bytes")
        place = self.free.pop()
        self.places[order] = place
        entries[place] = (order, price, size, side, b"")
        self._add(side, price, size)

    def _take(self, entries: Any, order: int, size: int | None) -> None:
        """Take this much of an order away, or all of it."""
        place = self.places.get(order)
        if place is None:
            return
        _, price, rests, side, _ = entries[place].tolist()
        gone = rests if size is None else min(size, rests)
        entries[place]["size"] = rests - gone
        if gone == rests:
            del self.places[order]
            self.free.append(place)
        self._add(side, price, -gone)

    def _add(self, side: bytes, price: int, size: int) -> None:
        """Change what rests at a price, and the best price with it."""
        levels = self.levels[side]
        levels[price] = levels.get(price, 0) + size
        pick = max if side == BID else min
        best = self.best[side]
        if levels[price] > 0:
            self.best[side] = price if best is None else pick(best, price)
            return
        del levels[price]
        if price == best:
            self.best[side] = pick(levels, default=None)

    def _best(self, side: bytes) -> int | None:
        return self.best[side]
