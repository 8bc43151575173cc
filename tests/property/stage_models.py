"""Plain-Python models of the built-in stages, and a runner for the native ones.

A model maps (payloads, times) of a whole input to what is left of it, with no notion of batches.
"""

from __future__ import annotations

import itertools
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from byteord._cext.stages import Bench, crc32c_portable, drive_end, open_builtin
from byteord.spec.model import Scalar
from byteord.stages.catalogue import CATALOGUE
from byteord.stages.reader import canonical_text, parse_bytes

SLOT_BYTES = 128
PAYLOAD_MAX = SLOT_BYTES - 16
Config = dict[str, Scalar]
Kept = list[bytes | None]
TouchLog = list[tuple[int, bytes]]


@dataclass
class NativeRun:
    """What the native stage made of an input: messages left, the end message, its state."""

    left: Kept = field(default_factory=list)
    end: bytes = b""
    state: bytearray = field(default_factory=bytearray)


def run_native(
    name: str,
    config: Config,
    payloads: Kept,
    cuts: Sequence[int],
    times: Sequence[int] | None = None,
) -> NativeRun:
    """Drive a stage in batches cut at `cuts`, with a fresh instance on a copied state for each.

    Checks on the way what the worker relies on: the configuration is valid, touches cover every
    change of a large state and stay within what was declared.
    """
    assert CATALOGUE.check(name, config, PAYLOAD_MAX) == []
    texts = {key: canonical_text(value) for key, value in config.items()}
    edges = sorted({0, len(payloads), *(cut % (len(payloads) + 1) for cut in cuts)})
    run = NativeRun()
    for first, last in itertools.pairwise(edges):
        handle = open_builtin(name, texts, PAYLOAD_MAX)
        state = bytearray(run.state or bytearray(handle.state_bytes))
        before, touches = bytes(state), TouchLog()
        piece = payloads[first:last]
        part = None if times is None else times[first:last]
        batch = Bench(piece, SLOT_BYTES, state, first, part, touches)
        run.left += batch.process(handle.address)
        if handle.touch_bytes_max:
            _check_undo(before, state, touches, handle.touch_bytes_max * len(piece))
        run.state = state
        handle.close()
    handle = open_builtin(name, texts, PAYLOAD_MAX)
    run.state = run.state or bytearray(handle.state_bytes)
    run.end = drive_end(handle.address, SLOT_BYTES, run.state)
    handle.close()
    return run


def _check_undo(before: bytes, after: bytearray, touches: TouchLog, allowed: int) -> None:
    undone = bytearray(after)
    for offset, old in reversed(touches):
        undone[offset : offset + len(old)] = old
    assert undone == before
    assert sum(len(old) for _, old in touches) <= allowed
    assert all(len(old) >= 8 for _, old in touches)


def _range(payload: bytes, config: Config) -> bytes:
    offset, length = int(config.get("offset", 0)), int(config.get("length", 0))
    return payload[offset : offset + length] if length else payload[offset:]


def _keep(payloads: Kept, keeps: Callable[[bytes], bool]) -> Kept:
    return [payload if payload is not None and keeps(payload) else None for payload in payloads]


def filter_model(config: Config, payloads: Kept) -> Kept:
    """Keep what matches, or with `invert` what does not."""
    return _keep(payloads, lambda each: _matches(config, each) != config.get("invert", False))


def _matches(config: Config, payload: bytes) -> bool:
    for key in ("contains", "prefix", "equals"):
        if key in config:
            wanted = parse_bytes(str(config[key])) or b""
            at = int(config.get("offset", 0))
            return {
                "contains": wanted in payload,
                "prefix": payload.startswith(wanted),
                "equals": payload[at : at + len(wanted)] == wanted,
            }[key]
    width, at = int(config.get("width", 1)), int(config.get("offset", 0))
    if at + width > len(payload):
        return False
    big = config.get("endian", "little") == "big"
    signed = bool(config.get("signed", False))
    seen = int.from_bytes(payload[at : at + width], "big" if big else "little", signed=signed)
    values = [value for key, value in config.items() if key.startswith("values.")]
    wanted_value = int(config.get("value", 0))
    return {
        "eq": seen == wanted_value,
        "ne": seen != wanted_value,
        "lt": seen < wanted_value,
        "le": seen <= wanted_value,
        "gt": seen > wanted_value,
        "ge": seen >= wanted_value,
        "in": seen in values,
    }[str(config.get("op", "in" if values else "eq"))]


def select_model(ranges: Sequence[tuple[int, int]], payloads: Kept) -> Kept:
    """Join the ranges, each cut where the payload ends."""

    def cut(payload: bytes) -> bytes:
        return b"".join(payload[at : at + size] if size else payload[at:] for at, size in ranges)

    return [payload if payload is None else cut(payload) for payload in payloads]


def dedupe_model(config: Config, payloads: Kept) -> Kept:
    """Remember the last `window` keys let through."""
    window: deque[bytes] = deque(maxlen=int(config.get("window", 1024)))

    def keeps(payload: bytes) -> bool:
        key = _range(payload, config)
        known = key in window
        if not known:
            window.append(key)
        return not known

    return _keep(payloads, keeps)


def every_model(every: int, payloads: Kept) -> Kept:
    """Keep the first live message of every `every`."""
    seen = -1

    def keeps(_payload: bytes) -> bool:
        nonlocal seen
        seen += 1
        return seen % every == 0

    return _keep(payloads, keeps)


def rate_model(config: Config, payloads: Kept, times: Sequence[int]) -> Kept:
    """Fill the bucket by exact fractions of a token, held in units of 1e-9 of a period."""
    rate, period = int(config["rate"]), int(config.get("period_s", 1))
    cost = 10**9 * period
    full = int(config.get("burst", min(rate, 8 * 10**9 // period))) * cost
    tokens, last = full, 0
    left: Kept = []
    for payload, time in zip(payloads, times, strict=True):
        if payload is None:
            left.append(None)
            continue
        if time > last:
            tokens, last = min(full, tokens + (time - last) * rate), time
        passes = tokens >= cost
        tokens -= cost if passes else 0
        left.append(payload if passes else None)
    return left


def stamp_model(config: Config, payload: bytes) -> bytes:
    """Return the payload with its checksum in place or appended."""
    order = "big" if config.get("endian") == "big" else "little"
    crc = crc32c_portable(_range(payload, config)).to_bytes(4, order)  # type: ignore[arg-type]
    if "at" not in config:
        return payload + crc
    at = int(config["at"])
    return payload[:at] + crc + payload[at + 4 :]


def count_model(config: Config, payloads: Kept) -> bytes:
    """Return the summary, as Python's own JSON would write it."""
    live = [payload for payload in payloads if payload is not None]
    summary: dict[str, object] = {"messages": len(live)}
    if "length" not in config:
        return _json(summary)
    counts: OrderedDict[bytes, int] = OrderedDict()
    other = 0
    for payload in live:
        key = _range(payload, config)
        key = key.rstrip(b" \0") if config.get("format", "text") == "text" else key
        if key in counts or len(counts) < int(config.get("keys_max", 1024)):
            counts[key] = counts.get(key, 0) + 1
        else:
            other += 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    shown: dict[str, int] = {}
    for index, (key, count) in enumerate(ranked):
        longer = {**shown, _count_key(config, key): count}
        head = _json({"messages": len(live), "keys": longer})[:-2]
        if len(head) + 31 > PAYLOAD_MAX:
            other += sum(count for _, count in ranked[index:])
            break
        shown = longer
    return _json({"messages": len(live), "keys": shown, "other": other})


def _count_key(config: Config, key: bytes) -> str:
    format_ = config.get("format", "text")
    if format_ == "integer" and len(key) == int(config["length"]):
        order = "big" if config.get("endian") == "big" else "little"
        signed = bool(config.get("signed", False))
        return str(int.from_bytes(key, order, signed=signed))  # type: ignore[arg-type]
    if format_ == "text":
        try:
            return key.decode()
        except UnicodeDecodeError:
            pass
    return "hex:" + key.hex()


def _json(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for plain, escaped in (
        ("\\b", "08"),
        ("\\t", "09"),
        ("\\n", "0a"),
        ("\\f", "0c"),
        ("\\r", "0d"),
    ):
        text = text.replace(plain, "\\u00" + escaped)
    return text.encode()
