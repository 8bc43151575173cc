"""Built-in stages that look at or change what a message says: filter, select, crc32c."""

from __future__ import annotations

from byteord.spec.model import ByteRange, ConfigKey
from byteord.stages.declared import (
    ENDIANS,
    INTEGER_BYTES,
    Builtin,
    Declared,
    endian_key,
    offset_key,
)
from byteord.stages.reader import Reader

CRC_BYTES = 4
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
        offset_key(
            "first byte of the integer field or of `equals`; a shorter payload does not match"
        ),
        ConfigKey(
            "width",
            "integer",
            "bytes of the integer field",
            default=1,
            choices=tuple(str(n) for n in INTEGER_BYTES),
        ),
        ConfigKey("signed", "boolean", "whether the integer field has a sign", default=False),
        endian_key("byte order of the integer field"),
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
        offset_key("first byte that the checksum covers"),
        ConfigKey(
            "length",
            "integer",
            "bytes that it covers; 0: to the end (of what precedes an appended one)",
            default=0,
        ),
        endian_key("byte order of the checksum"),
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
