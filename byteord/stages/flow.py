"""Built-in stages that pick or count messages: identity, sample, rate_limit, dedupe, count."""

from __future__ import annotations

from byteord.spec.model import ConfigKey
from byteord.stages.declared import (
    ENDIANS,
    INTEGER_BYTES,
    Builtin,
    Declared,
    endian_key,
    offset_key,
)
from byteord.stages.reader import Reader

STATE_BYTES_MAX = 256 << 20
COUNT_STATE_BYTES = 24
TABLE_HEADER_BYTES, TABLE_NODE_BYTES = 64, 24


def _identity(_reader: Reader) -> Declared:
    return Declared()


IDENTITY = Builtin("identity", "passes every message on unchanged", (), _identity)

FRACTION_PLACES_MAX = 9


def _sample(reader: Reader) -> Declared:
    if reader.has("every"):
        reader.integer("every", 1, 1, 1 << 62)
        reader.idle(("fraction", "seed", "by", "offset", "length"), "`every` is given")
        return Declared(drops=True, state_bytes=8)
    if not reader.has("fraction"):
        reader.missing("every", "`every` or `fraction`")
    elif not _is_fraction(reader.texts["fraction"]):
        wanted = f"a decimal from 0 to 1 with at most {FRACTION_PLACES_MAX} places"
        reader.problem("TYPE", "fraction", wanted, 'write it like fraction = "0.05"')
    reader.integer("seed", 0, 0, (1 << 63) - 1)
    by = reader.choice("by", "sequence", ("sequence", "content"))
    if by == "sequence":
        reader.idle(("offset", "length"), "they choose the bytes for `by = content`")
    reader.span()
    return Declared(drops=True)


def _is_fraction(text: str) -> bool:
    whole, point, places = text.partition(".")
    if not point:
        return whole in ("0", "1")
    digits = places.isascii() and places.isdigit() and len(places) <= FRACTION_PLACES_MAX
    return digits and (whole == "0" or (whole == "1" and not places.strip("0")))


SAMPLE = Builtin(
    "sample",
    "keeps the first of every N messages, or a fraction chosen the same way in every run",
    (
        ConfigKey("every", "integer", "keep one live message, drop the next `every` - 1"),
        ConfigKey("fraction", "number", 'part of the messages to keep, as "0.05"'),
        ConfigKey("seed", "integer", "another choice of the same fraction", default=0),
        ConfigKey(
            "by",
            "string",
            "choose by sequence, or by content so that equal bytes share their fate",
            default="sequence",
            choices=("sequence", "content"),
        ),
        offset_key("first byte that `by = content` looks at"),
        ConfigKey(
            "length", "integer", "bytes that `by = content` looks at; 0: to the end", default=0
        ),
    ),
    _sample,
)

RATE_MAX = 1_000_000_000
PERIOD_S_MAX = 86_400
BURST_PERIODS_MAX = 8_000_000_000


def _rate_limit(reader: Reader) -> Declared:
    if not reader.has("rate"):
        reader.missing("rate", "messages per `period_s`")
    reader.integer("rate", 1, 1, RATE_MAX)
    period_s = reader.integer("period_s", 1, 1, PERIOD_S_MAX)
    reader.integer("burst", 1, 1, BURST_PERIODS_MAX // period_s)
    return Declared(drops=True, state_bytes=16)


RATE_LIMIT = Builtin(
    "rate_limit",
    "drops what exceeds a rate: a token bucket on ingress time, the same in a replay",
    (
        ConfigKey(
            "rate", "integer", "messages let through per `period_s` in the long run", required=True
        ),
        ConfigKey("period_s", "integer", "seconds that `rate` is for", default=1),
        ConfigKey(
            "burst",
            "integer",
            "messages that a full bucket lets through at once; as many as `rate` by default",
        ),
    ),
    _rate_limit,
)


def _table_bytes(reader: Reader, key: str, nodes: int, length: int) -> int:
    buckets = max(2, 1 << (nodes - 1).bit_length())
    node = TABLE_NODE_BYTES + (length + 7) // 8 * 8
    total = TABLE_HEADER_BYTES + 4 * buckets + nodes * node
    if total > STATE_BYTES_MAX:
        wanted = f"{nodes} keys of {length} bytes in at most {STATE_BYTES_MAX} bytes, not {total}"
        reader.problem(
            "TOO_LARGE",
            key,
            wanted,
            f"lower `{key}` to {STATE_BYTES_MAX // (node + 8)}, or shorten the key",
        )
    return total


def _dedupe(reader: Reader) -> Declared:
    offset, length = reader.span()
    window = reader.integer("window", 1024, 1, 1 << 20)
    return Declared(
        drops=True,
        state_bytes=_table_bytes(reader, "window", window, length or reader.payload_max - offset),
    )


DEDUPE = Builtin(
    "dedupe",
    "drops a message whose key is among the last `window` different keys that it let through",
    (
        offset_key("first byte of the key"),
        ConfigKey(
            "length",
            "integer",
            "bytes of the key, cut where the payload ends; 0: to the end",
            default=0,
        ),
        ConfigKey(
            "window",
            "integer",
            "keys remembered, whole, in shared memory; the oldest leaves first",
            default=1024,
        ),
    ),
    _dedupe,
)

COUNT_FORMATS = ("text", "hex", "integer")


def _count(reader: Reader) -> Declared:
    drops = not reader.boolean("forward", default=False)
    if not reader.has("length"):
        keys = ("offset", "keys_max", "format", "signed", "endian")
        reader.idle(keys, "without `length` there is no key, only a total")
        return Declared(drops=drops, state_bytes=COUNT_STATE_BYTES)
    offset, length = reader.span()
    whole = length or reader.payload_max - offset
    format_ = reader.choice("format", "text", COUNT_FORMATS)
    reader.boolean("signed", default=False)
    reader.choice("endian", "little", ENDIANS)
    if format_ != "integer":
        reader.idle(("signed", "endian"), "they belong to `format = integer`")
    elif whole not in INTEGER_BYTES:
        reader.problem(
            "CHOICE",
            "length",
            "1, 2, 4 or 8 for `format = integer`",
            "set `length` to the field's width",
        )
    keys_max = reader.integer("keys_max", 1024, 1, 1 << 16)
    return Declared(drops=drops, state_bytes=_table_bytes(reader, "keys_max", keys_max, whole))


COUNT = Builtin(
    "count",
    "counts messages, in all and by key; the last message of the input is a JSON object: "
    '{"messages":N,"keys":{"KEY":N,...},"other":N}',
    (
        ConfigKey(
            "length",
            "integer",
            "bytes of the key, cut where the payload ends; 0: to the end; not given: only a total",
        ),
        offset_key("first byte of the key"),
        ConfigKey(
            "keys_max",
            "integer",
            "different keys with a count of their own; the rest is `other`",
            default=1024,
        ),
        ConfigKey(
            "format",
            "string",
            "keys as text (trailing spaces and NULs cut, hex if not UTF-8), hex or integers",
            default="text",
            choices=COUNT_FORMATS,
        ),
        ConfigKey("signed", "boolean", "`format = integer`: whether it has a sign", default=False),
        endian_key("`format = integer`: its byte order"),
        ConfigKey(
            "forward",
            "boolean",
            "pass the counted messages on; else only the summary leaves",
            default=False,
        ),
    ),
    _count,
)
