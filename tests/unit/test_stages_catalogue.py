"""The catalogue: every key documented, every problem found, the native side's own figures."""

from __future__ import annotations

import pytest

from byteord._cext.stages import builtin_names, open_builtin
from byteord.spec.model import ByteRange, Scalar, StateKind
from byteord.stages.catalogue import CATALOGUE
from byteord.stages.reader import canonical_text, parse_bytes

PAYLOAD_MAX = 240
Config = dict[str, Scalar]

VALID: list[tuple[str, Config]] = [
    ("identity", {}),
    ("filter", {"value": 7}),
    ("filter", {"value": -5, "signed": True, "width": 2, "op": "lt", "offset": 238}),
    ("filter", {"values.0": 1, "values.1": 200}),
    ("filter", {"equals": "hex:00ff", "offset": 10, "invert": True}),
    ("filter", {"contains": 537}),
    ("filter", {"prefix": True}),
    ("select", {"ranges.0.offset": 0, "ranges.0.length": 8}),
    ("select", {"ranges.0.length": 8, "ranges.1.offset": 20}),
    ("select", {"ranges.0.offset": 4, "ranges.0.length": 8, "ranges.1.offset": 12}),
    ("sample", {"every": 10}),
    ("sample", {"fraction": "0.25", "seed": 3}),
    ("sample", {"fraction": 1, "by": "content", "offset": 1, "length": 4}),
    ("rate_limit", {"rate": 100}),
    ("rate_limit", {"rate": 1_000_000_000, "period_s": 86400, "burst": 92592}),
    ("crc32c", {"mode": "stamp"}),
    ("crc32c", {"mode": "stamp", "at": 0, "offset": 4}),
    ("crc32c", {"mode": "verify"}),
    ("crc32c", {"mode": "verify", "on_mismatch": "fail", "strip": True}),
    ("dedupe", {}),
    ("dedupe", {"length": 8, "window": 16}),
    ("dedupe", {"window": 1, "offset": 239}),
    ("count", {}),
    ("count", {"length": 4, "keys_max": 3, "format": "integer", "signed": True, "forward": True}),
    ("count", {"length": 0, "keys_max": 100}),
]

WRONG: list[tuple[str, Config, set[tuple[str, str]]]] = [
    ("identity", {"x": 1}, {("x", "UNKNOWN_KEY")}),
    ("filter", {}, {("value", "MISSING")}),
    ("filter", {"value": 256}, {("value", "RANGE")}),
    ("filter", {"value": "T"}, {("value", "TYPE")}),
    ("filter", {"value": 1, "width": 3}, {("width", "CHOICE")}),
    ("filter", {"value": 1, "offset": 240}, {("offset", "RANGE")}),
    ("filter", {"value": 1, "values.0": 1, "op": "eq"}, {("values.0", "CONFLICT")}),
    ("filter", {"op": "in"}, {("values", "MISSING")}),
    ("filter", {"values.0": 1, "values.2": 1}, {("values.1", "MISSING")}),
    ("filter", {"values.00": 1}, {("values.00", "UNKNOWN_KEY")}),
    ("filter", {"contains": "x", "offset": 1}, {("offset", "CONFLICT")}),
    (
        "filter",
        {"contains": "x", "prefix": "y", "op": "eq"},
        {("contains", "CONFLICT"), ("op", "CONFLICT")},
    ),
    ("filter", {"contains": ""}, {("contains", "BYTES")}),
    ("filter", {"contains": "hex:0"}, {("contains", "BYTES")}),
    ("filter", {"equals": "ab", "offset": 239}, {("offset", "RANGE")}),
    ("filter", {"prefix": "x" * 241}, {("prefix", "BYTES")}),
    ("filter", {"contains": "x", "invert": "yes"}, {("invert", "TYPE")}),
    ("select", {}, {("ranges", "MISSING")}),
    ("select", {"ranges.0.length": 8, "ranges.1.offset": 7}, {("ranges.1.offset", "OVERLAP")}),
    ("select", {"ranges.0.offset": 1, "ranges.1.offset": 7}, {("ranges.1.offset", "OVERLAP")}),
    ("select", {"ranges.0.length": 241}, {("ranges.0.length", "RANGE")}),
    ("sample", {}, {("every", "MISSING")}),
    ("sample", {"every": 0}, {("every", "RANGE")}),
    ("sample", {"every": 2, "fraction": "0.5"}, {("fraction", "CONFLICT")}),
    ("sample", {"fraction": "1.5"}, {("fraction", "TYPE")}),
    ("sample", {"fraction": "0.1234567891"}, {("fraction", "TYPE")}),
    ("sample", {"fraction": "0.5", "length": 3}, {("length", "CONFLICT")}),
    ("rate_limit", {}, {("rate", "MISSING")}),
    ("rate_limit", {"rate": 0, "burst": 0}, {("rate", "RANGE"), ("burst", "RANGE")}),
    ("rate_limit", {"rate": 1, "period_s": 86400, "burst": 92593}, {("burst", "RANGE")}),
    ("crc32c", {}, {("mode", "MISSING")}),
    ("crc32c", {"mode": "check"}, {("mode", "CHOICE")}),
    ("crc32c", {"mode": "stamp", "at": 0}, {("at", "OVERLAP")}),
    ("crc32c", {"mode": "stamp", "strip": True}, {("strip", "CONFLICT")}),
    ("crc32c", {"mode": "verify", "at": 0, "offset": 4, "strip": True}, {("strip", "CONFLICT")}),
    ("dedupe", {"window": 0}, {("window", "RANGE")}),
    ("dedupe", {"window": 1 << 20, "length": 240}, {("window", "TOO_LARGE")}),
    ("count", {"offset": 3}, {("offset", "CONFLICT")}),
    ("count", {"length": 3, "format": "integer"}, {("length", "CHOICE")}),
    ("count", {"length": 4, "signed": True}, {("signed", "CONFLICT")}),
]


def _text(config: Config) -> dict[str, str]:
    return {key: canonical_text(value) for key, value in config.items()}


def test_catalogue_and_native_side_know_the_same_stages() -> None:
    """What validation accepts, the worker can open, by name."""
    assert list(CATALOGUE.names()) == builtin_names()
    assert CATALOGUE.info("nothing") is None


@pytest.mark.parametrize("name", builtin_names())
def test_every_key_is_documented(name: str) -> None:
    """The published reference has a sentence for each key, and choices contain the default."""
    info = CATALOGUE.info(name)
    assert info is not None
    assert info.summary
    assert len({key.name for key in info.keys}) == len(info.keys)
    for key in info.keys:
        assert len(key.doc) > 10
        assert key.type in {"string", "integer", "number", "boolean", "bytes"}
        assert not key.choices or key.required or str(key.default) in key.choices


@pytest.mark.parametrize(("name", "config"), VALID)
def test_native_side_does_exactly_what_is_declared(name: str, config: Config) -> None:
    """A valid configuration opens, and flags and state bytes are those of the catalogue."""
    assert CATALOGUE.check(name, config, PAYLOAD_MAX) == []
    info = CATALOGUE.configured(name, config, PAYLOAD_MAX)
    handle = open_builtin(name, _text(config), PAYLOAD_MAX)
    declared = bool(info.mutates) * 1 + info.drops * 2 + info.resizes * 4
    assert (handle.flags, handle.state_bytes, handle.name) == (declared, info.state_bytes, name)
    assert (info.state is StateKind.STATE) == (info.state_bytes > 0)
    assert (handle.touch_bytes_max > 0) == (info.state_bytes > 4096)
    handle.close()
    handle.close()
    assert handle.address == 0


@pytest.mark.parametrize(("name", "config", "wanted"), WRONG)
def test_every_problem_is_found_by_its_code(
    name: str, config: Config, wanted: set[tuple[str, str]]
) -> None:
    """All problems are reported at once, each with key, stable code, wanted and fix."""
    problems = CATALOGUE.check(name, config, PAYLOAD_MAX)
    assert {(each.key, each.code) for each in problems} >= {
        (key, f"STAGE_CONFIG_{code}") for key, code in wanted
    }
    assert {each.key for each in problems} == {key for key, _ in wanted} | (
        {"value"} if ("values.00", "UNKNOWN_KEY") in wanted else set()
    )
    assert all(each.wanted and each.fix and each.seen for each in problems)


def test_unknown_key_names_the_nearest() -> None:
    """A typing error is answered with the key that was meant."""
    (problem,) = CATALOGUE.check("filter", {"contians": "x", "value": 1}, PAYLOAD_MAX)
    assert problem.fix == "did you mean `contains`?"


@pytest.mark.parametrize(
    ("config", "mutates"),
    [
        ({"ranges.0.length": 8}, ()),
        ({"ranges.0.offset": 8}, (ByteRange(0, 0),)),
        ({"ranges.0.offset": 8, "ranges.0.length": 4}, (ByteRange(0, 4),)),
        ({"ranges.0.length": 8, "ranges.1.offset": 9, "ranges.1.length": 3}, (ByteRange(8, 3),)),
        ({"ranges.0.length": 8, "ranges.1.offset": 9}, (ByteRange(8, 0),)),
    ],
)
def test_select_declares_the_bytes_it_moves(config: Config, mutates: tuple[ByteRange, ...]) -> None:
    """Only bytes after the unmoved start are declared as changed."""
    info = CATALOGUE.configured("select", config, PAYLOAD_MAX)
    assert info.mutates == mutates
    assert info.resizes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("T", b"T"), ("hex:", b""), ("hex:0aFF", b"\x0a\xff"), ("hex:0", None), ("hex:zz", None)],
)
def test_bytes_as_text_or_hex(text: str, wanted: bytes | None) -> None:
    """Bytes are given as text or as pairs of hex digits."""
    assert parse_bytes(text) == wanted
