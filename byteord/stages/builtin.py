"""The built-in stages: their keys, what is a problem, and what a configuration makes them do.

One function per stage reads its configuration through a Reader, which keeps the problems, and
returns what the stage declares. The native side (`cext/stage_*.c`) reads the same keys; the tests
hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from byteord.spec.model import ByteRange, ConfigKey, StateKind
from byteord.stages.reader import Reader

ENDIANS = ("little", "big")
INTEGER_BYTES = (1, 2, 4, 8)
STATE_BYTES_MAX = 256 << 20
COUNT_STATE_BYTES = 24
TABLE_HEADER_BYTES, TABLE_NODE_BYTES = 64, 24
CRC_BYTES = 4


@dataclass(frozen=True, slots=True)
class Declared:
    """What a stage does with one configuration."""

    mutates: tuple[ByteRange, ...] = ()
    drops: bool = False
    resizes: bool = False
    state_bytes: int = 0

    @property
    def state(self) -> StateKind:
        """Where it keeps what it remembers."""
        return StateKind.STATE if self.state_bytes else StateKind.STATELESS


@dataclass(frozen=True, slots=True)
class Builtin:
    """One built-in stage: how it is described and how its configuration is read."""

    name: str
    summary: str
    keys: tuple[ConfigKey, ...]
    configure: Callable[[Reader], Declared]


def _offset(doc: str) -> ConfigKey:
    return ConfigKey("offset", "integer", doc, default=0)


def _endian(doc: str) -> ConfigKey:
    return ConfigKey("endian", "string", doc, default="little", choices=ENDIANS)


def _identity(_reader: Reader) -> Declared:
    return Declared()


IDENTITY = Builtin("identity", "passes every message on unchanged", (), _identity)

FILTER_OPS = ("eq", "ne", "lt", "le", "gt", "ge", "in")
FILTER_VALUES_MAX = 64
_FILTER_INTEGER_KEYS = ("width", "signed", "endian", "op", "value")
_FILTER_BYTES_TESTS = ("equals", "prefix", "contains")


def _filter(reader: Reader) -> Declared:
    reader.boolean("invert", default=False)
    bytes_tests = [key for key in _FILTER_BYTES_TESTS if reader.has(key)]
    if bytes_tests:
        _filter_bytes(reader, bytes_tests)
    else:
        _filter_integer(reader)
    return Declared(drops=True)


def _filter_bytes(reader: Reader, tests: list[str]) -> None:
    test = tests[0]
    reader.idle(
        tests[1:], f"one test per filter, and `{test}` is given; chain two filters for both"
    )
    values = [key for key in reader.texts if key.startswith("values.")]
    reader.idle(
        (*_FILTER_INTEGER_KEYS, *values), f"it belongs to an integer test, and `{test}` is given"
    )
    if test != "equals":
        reader.idle(
            ("offset",), f"`{test}` looks at the whole payload; use `equals` for bytes at an offset"
        )
        reader.raw(test)
        return
    reader.integer(
        "offset", 0, 0, reader.payload_max - max(1, min(len(reader.raw(test)), reader.payload_max))
    )


def _filter_integer(reader: Reader) -> None:
    width = int(reader.choice("width", "1", tuple(str(size) for size in INTEGER_BYTES)))
    signed = reader.boolean("signed", default=False)
    reader.choice("endian", "little", ENDIANS)
    reader.integer("offset", 0, 0, reader.payload_max - width)
    values = reader.indices("values", FILTER_VALUES_MAX)
    op = reader.choice("op", "in" if values else "eq", FILTER_OPS)
    low, high = (
        (-(1 << (8 * width - 1)), (1 << (8 * width - 1)) - 1)
        if signed
        else (0, (1 << (8 * width)) - 1)
    )
    if op == "in":
        reader.idle(("value",), "`op` is `in`, which takes `values`")
        if not values:
            reader.missing("values", f"1 to {FILTER_VALUES_MAX} integers")
        for index in values:
            reader.integer(f"values.{index}", 0, low, high)
        return
    reader.idle((f"values.{index}" for index in values), f"`op` is `{op}`, which takes `value`")
    if not reader.has("value"):
        reader.missing("value", "a test: `value`, `values`, `equals`, `prefix` or `contains`")
    reader.integer("value", 0, low, high)


FILTER = Builtin(
    "filter",
    "keeps the messages that match one test and drops the others",
    (
        _offset("first byte of the integer field or of `equals`; a shorter payload does not match"),
        ConfigKey(
            "width",
            "integer",
            "bytes of the integer field",
            default=1,
            choices=tuple(str(n) for n in INTEGER_BYTES),
        ),
        ConfigKey("signed", "boolean", "whether the integer field has a sign", default=False),
        _endian("byte order of the integer field"),
        ConfigKey(
            "op",
            "string",
            "how the field is compared; `in` when `values` is given",
            default="eq",
            choices=FILTER_OPS,
        ),
        ConfigKey("value", "integer", "what the integer field is compared with"),
        ConfigKey("values.*", "integer", f"up to {FILTER_VALUES_MAX} integers for `in`"),
        ConfigKey("equals", "bytes", "bytes that the payload has at `offset`"),
        ConfigKey("prefix", "bytes", "bytes that the payload begins with"),
        ConfigKey("contains", "bytes", "bytes that the payload has anywhere"),
        ConfigKey(
            "invert", "boolean", "keep what does not match, short payloads too", default=False
        ),
    ),
    _filter,
)

SELECT_RANGES_MAX = 64


def _select(reader: Reader) -> Declared:
    after, kept, in_place = 0, 0, 0
    indices = reader.indices("ranges", SELECT_RANGES_MAX)
    if not indices:
        reader.missing("ranges", "at least one range with `offset` and `length`")
    for index in indices:
        if after < 0:
            fix = "give the range before it a `length`, or remove this one"
            reader.problem(
                "OVERLAP",
                f"ranges.{index}.offset",
                "nothing after a range that goes to the end",
                fix,
            )
            break
        offset, length = _select_range(reader, index, after)
        if index == 0 and offset == 0:
            in_place = length or reader.payload_max
        after = offset + length if length else -1
        kept += length
    if len(indices) <= 1 and in_place:
        return Declared(resizes=True)
    changed = ByteRange(in_place, kept - in_place if after >= 0 else 0)
    return Declared(mutates=(changed,), resizes=True)


def _select_range(reader: Reader, index: int, after: int) -> tuple[int, int]:
    key = f"ranges.{index}.offset"
    offset = reader.integer(key, 0, 0, reader.payload_max - 1)
    length = reader.integer(f"ranges.{index}.length", 0, 0, reader.payload_max - offset)
    if offset < after:
        wanted = f"at least {after}: ranges ascend and do not overlap"
        reader.problem(
            "OVERLAP", key, wanted, f"set `{key}` to {after} or more, or reorder the ranges"
        )
    return offset, length


SELECT = Builtin(
    "select",
    "keeps byte ranges of the payload, in order; what lies outside is cut out",
    (
        ConfigKey(
            "ranges.*.offset",
            "integer",
            "first byte of the range; ranges ascend and do not overlap",
            default=0,
        ),
        ConfigKey(
            "ranges.*.length",
            "integer",
            "bytes of the range; 0: to the end of the payload",
            default=0,
        ),
    ),
    _select,
)

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
        _offset("first byte that `by = content` looks at"),
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


def _crc32c(reader: Reader) -> Declared:
    if not reader.has("mode"):
        reader.missing("mode", "`stamp` or `verify`")
    mode = reader.choice("mode", "stamp", ("stamp", "verify"))
    fail = reader.choice("on_mismatch", "drop", ("drop", "fail")) == "fail"
    strip = reader.boolean("strip", default=False)
    reader.choice("endian", "little", ENDIANS)
    offset, length = reader.span()
    at = reader.integer("at", 0, 0, reader.payload_max - CRC_BYTES) if reader.has("at") else -1
    if at >= 0 and at + CRC_BYTES > offset and (length == 0 or at < offset + length):
        wanted = "a place outside the bytes that the checksum covers"
        reader.problem(
            "OVERLAP",
            "at",
            wanted,
            "set `offset` and `length` so that they leave out 4 bytes at `at`",
        )
    if mode == "stamp":
        reader.idle(("on_mismatch", "strip"), "`mode` is `stamp`; they belong to `verify`")
        return Declared(mutates=(ByteRange(at, CRC_BYTES),)) if at >= 0 else Declared(resizes=True)
    if strip and at >= 0:
        reader.idle(("strip",), "only a checksum at the end can be cut off, and `at` is given")
    return Declared(drops=not fail, resizes=strip)


CRC32C = Builtin(
    "crc32c",
    "writes the CRC32C of payload bytes into the payload, or verifies the one it finds",
    (
        ConfigKey(
            "mode",
            "string",
            "`stamp` writes the checksum, `verify` compares it",
            required=True,
            choices=("stamp", "verify"),
        ),
        ConfigKey(
            "at",
            "integer",
            "where the 4 bytes of the checksum lie; not given: at the end, appended by `stamp`",
        ),
        _offset("first byte that the checksum covers"),
        ConfigKey(
            "length",
            "integer",
            "bytes that it covers; 0: to the end (of what precedes an appended one)",
            default=0,
        ),
        _endian("byte order of the checksum"),
        ConfigKey(
            "on_mismatch",
            "string",
            "`verify`: `drop` the message, or `fail`, which stops the run and names it",
            default="drop",
            choices=("drop", "fail"),
        ),
        ConfigKey("strip", "boolean", "`verify`: cut a right checksum off the end", default=False),
    ),
    _crc32c,
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
        _offset("first byte of the key"),
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
        _offset("first byte of the key"),
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
        _endian("`format = integer`: its byte order"),
        ConfigKey(
            "forward",
            "boolean",
            "pass the counted messages on; else only the summary leaves",
            default=False,
        ),
    ),
    _count,
)

BUILTINS = {
    builtin.name: builtin
    for builtin in (COUNT, CRC32C, DEDUPE, FILTER, IDENTITY, RATE_LIMIT, SAMPLE, SELECT)
}
