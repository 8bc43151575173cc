"""Every built-in stage against its model, over random inputs, configurations and batch splits.

The runner moves the state to a fresh instance between batches and takes back every batch by its
touches, so each property also covers restart and undo.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteord._cext.stages import drive, drive_end, open_builtin
from byteord.errors import StageError
from tests.property import stage_models as models
from tests.property.stage_models import PAYLOAD_MAX, SLOT_BYTES, Config, Kept, run_native

CUTS = st.lists(st.integers(0, 60), max_size=5)
WORDS = st.sampled_from(
    [b"", b"A", b"AB", b"BA", b"  ", b"\xff\x80", b"\0\0", b"x" * 20, b"\xc3\xa9"]
)
PAYLOADS: st.SearchStrategy[Kept] = st.lists(
    st.none() | st.lists(WORDS, max_size=5).map(b"".join) | st.binary(max_size=PAYLOAD_MAX),
    max_size=60,
)
FEW_KEYS: st.SearchStrategy[Kept] = st.lists(
    st.none() | st.sampled_from([b"a", b"b", b"c", b"ab", b"b ", b"\xff\0", b"dddd", b"dddde"]),
    min_size=12,
    max_size=60,
)


@st.composite
def integer_filters(draw: st.DrawFn) -> Config:
    """Draw a valid integer test."""
    width, signed = draw(st.sampled_from([1, 2, 4, 8])), draw(st.booleans())
    low = -(1 << (8 * width - 1)) if signed else 0
    high = low + (1 << (8 * width)) - 1
    values = st.integers(low, high) | st.sampled_from([low, high, 0, 65, high // 2])
    config: Config = {
        "width": width,
        "signed": signed,
        "endian": draw(st.sampled_from(["little", "big"])),
        "offset": draw(st.integers(0, 8)),
        "invert": draw(st.booleans()),
    }
    op = draw(st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "in"]))
    if op == "in":
        wanted = draw(st.lists(values, min_size=1, max_size=64))
        return config | {f"values.{index}": value for index, value in enumerate(wanted)}
    return config | {"op": op, "value": draw(values)}


@st.composite
def bytes_filters(draw: st.DrawFn) -> Config:
    """Draw a valid bytes test whose needle is likely to be met."""
    needle = draw(st.lists(WORDS, min_size=1, max_size=3).map(b"".join).filter(bool))
    test = draw(st.sampled_from(["equals", "prefix", "contains"]))
    config: Config = {test: "hex:" + needle.hex(), "invert": draw(st.booleans())}
    return config | ({"offset": draw(st.integers(0, 10))} if test == "equals" else {})


@given(integer_filters() | bytes_filters(), PAYLOADS, CUTS)
def test_filter(config: Config, payloads: Kept, cuts: list[int]) -> None:
    """Filter keeps exactly what the model keeps, whatever the batches."""
    assert run_native("filter", config, payloads, cuts).left == models.filter_model(
        config, payloads
    )


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=60), st.integers(0, 60))
def test_contains_finds_a_needle_at_every_place(needle: bytes, hay: bytes, at: int) -> None:
    """A needle is found wherever it lies, at the very end too, and in front of any other bytes."""
    payload = (hay[:at] + needle + hay[at:])[:PAYLOAD_MAX]
    config: Config = {"contains": "hex:" + needle.hex()}
    payloads: Kept = [payload, hay, payload[:-1]]
    wanted = [each if needle in each else None for each in (payload, hay, payload[:-1])]
    assert run_native("filter", config, payloads, []).left == wanted


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=6),
    st.booleans(),
    PAYLOADS,
    CUTS,
)
def test_select(
    gaps: list[tuple[int, int]], open_end: bool, payloads: Kept, cuts: list[int]
) -> None:
    """Select keeps the ranges in order, cut where the payload ends."""
    ranges, at = [], 0
    for gap, size in gaps:
        ranges.append((at + gap, size))
        at += gap + size
    if open_end:
        ranges[-1] = (ranges[-1][0], 0)
    config: Config = {}
    for index, (offset, size) in enumerate(ranges):
        config |= {f"ranges.{index}.offset": offset, f"ranges.{index}.length": size}
    assert run_native("select", config, payloads, cuts).left == models.select_model(
        ranges, payloads
    )


@given(
    st.integers(1, 6) | st.sampled_from([200, 2000]),
    st.sampled_from([(0, 0), (0, 1), (1, 4)]),
    FEW_KEYS | PAYLOADS,
    CUTS,
)
def test_dedupe(window: int, key: tuple[int, int], payloads: Kept, cuts: list[int]) -> None:
    """Dedupe forgets exactly the oldest key, in small (copied) and large (undo-logged) state."""
    config: Config = {"window": window, "offset": key[0], "length": key[1]}
    assert run_native("dedupe", config, payloads, cuts).left == models.dedupe_model(
        config, payloads
    )


@given(st.integers(1, 9), PAYLOADS, CUTS)
def test_sample_every(every: int, payloads: Kept, cuts: list[int]) -> None:
    """The first of every N live messages is kept, across batches."""
    left = run_native("sample", {"every": every}, payloads, cuts).left
    assert left == models.every_model(every, payloads)


@given(
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)),
    st.integers(0, 9),
    st.sampled_from(["sequence", "content"]),
    PAYLOADS,
    CUTS,
)
def test_sample_fraction(
    parts: tuple[int, int], seed: int, by: str, payloads: Kept, cuts: list[int]
) -> None:
    """A fraction is the same in every run and split, grows with itself, and obeys its key."""
    small, large = sorted(parts)
    config: Config = {"seed": seed, "by": by}
    few, many = (
        run_native("sample", config | {"fraction": _decimal(part)}, payloads, cuts).left
        for part in (small, large)
    )
    whole = run_native("sample", config | {"fraction": _decimal(large)}, payloads, []).left
    assert many == whole
    assert all(b is not None for a, b in zip(few, many, strict=True) if a is not None)
    if by == "content":
        fates: dict[bytes, set[bool]] = {}
        for payload, kept in zip(payloads, many, strict=True):
            if payload is not None:
                fates.setdefault(payload, set()).add(kept is not None)
        assert all(len(fate) == 1 for fate in fates.values())


def _decimal(parts: int) -> str:
    return f"{parts // 10**9}.{parts % 10**9:09d}"


def test_sample_fraction_is_about_that_fraction() -> None:
    """A tenth of ten thousand sequences is a thousand, give or take five standard deviations."""
    payloads: Kept = [b"x"] * 10_000
    left = run_native("sample", {"fraction": "0.1"}, payloads, []).left
    assert 850 < sum(each is not None for each in left) < 1150
    assert run_native("sample", {"fraction": 0}, payloads, []).left == [None] * 10_000
    assert run_native("sample", {"fraction": "1.0"}, payloads, []).left == payloads


@given(
    st.integers(1, 10) | st.integers(1, 10**9),
    st.integers(1, 5) | st.just(86_400),
    st.integers(0, 8),
    st.lists(st.integers(0, 3 * 10**9) | st.integers(0, 1 << 60), min_size=9, max_size=60),
    CUTS,
)
def test_rate_limit(rate: int, period_s: int, burst: int, gaps: list[int], cuts: list[int]) -> None:
    """The bucket follows ingress time to the nanosecond, over any gap, without overflow."""
    config: Config = {"rate": rate, "period_s": period_s}
    config |= {"burst": burst} if burst else {}
    payloads: Kept = [None if index % 7 == 3 else b"m" for index in range(len(gaps))]
    times, now = [], 1
    for gap in gaps:
        now = min(now + gap, (1 << 64) - 1)
        times.append(now)
    left = run_native("rate_limit", config, payloads, cuts, times).left
    assert left == models.rate_model(config, payloads, times)


CRC_CONFIGS: st.SearchStrategy[Config] = st.sampled_from(
    [
        {},
        {"endian": "big"},
        {"offset": 3, "length": 5},
        {"at": 0, "offset": 4},
        {"at": 8, "length": 8, "endian": "big"},
    ]
)


@given(CRC_CONFIGS, st.lists(st.none() | st.binary(min_size=12, max_size=60), max_size=40), CUTS)
def test_crc32c_stamp_then_verify(config: Config, payloads: Kept, cuts: list[int]) -> None:
    """What `stamp` writes is the checksum, and `verify` with the same keys lets it pass."""
    stamped = run_native("crc32c", {**config, "mode": "stamp"}, payloads, cuts).left
    wanted = [each and models.stamp_model(config, each) for each in payloads]
    assert stamped == wanted
    assert run_native("crc32c", {**config, "mode": "verify"}, stamped, cuts).left == stamped
    if "at" not in config:
        strip: Config = {**config, "mode": "verify", "strip": True}
        assert run_native("crc32c", strip, stamped, cuts).left == payloads


@given(CRC_CONFIGS, st.binary(min_size=12, max_size=60), st.integers(0, 10_000))
def test_crc32c_finds_every_changed_bit(config: Config, payload: bytes, flip: int) -> None:
    """One changed bit of what is covered, or of the checksum, is a mismatch: dropped, or named."""
    covered = {"offset": 3, "length": 5} if config.get("offset") == 3 else config
    stamped = bytearray(models.stamp_model(config, payload))
    at = 3 + flip % 5 if covered is not config else flip % len(stamped)
    if "at" in config and config.get("length") == 8 and at >= 12:
        at = 0
    stamped[at] ^= 1 << flip % 8
    texts = {key: str(value) for key, value in config.items()} | {"mode": "verify"}
    handle = open_builtin("crc32c", texts, PAYLOAD_MAX)
    assert drive(handle.address, [bytes(stamped)], SLOT_BYTES) == [None]
    failing = open_builtin("crc32c", texts | {"on_mismatch": "fail"}, PAYLOAD_MAX)
    with pytest.raises(StageError, match="checksum 0x") as caught:
        drive(failing.address, [None, bytes(stamped)], SLOT_BYTES)
    assert caught.value.details["index"] == "1"


@given(
    st.sampled_from(
        [
            {},
            {"length": 0},
            {"length": 1, "keys_max": 3},
            {"length": 2, "format": "integer", "signed": True, "keys_max": 40},
            {"length": 2, "format": "integer", "endian": "big"},
            {"length": 3, "offset": 1, "format": "hex"},
        ]
    ),
    st.booleans(),
    PAYLOADS | FEW_KEYS,
    CUTS,
)
def test_count(config: Config, forward: bool, payloads: Kept, cuts: list[int]) -> None:
    """Counts and their summary are exact, bounded, valid JSON, and survive moving the state."""
    run = run_native("count", config | {"forward": forward}, payloads, cuts)
    assert run.left == (payloads if forward else [None] * len(payloads))
    assert run.end == models.count_model(config, payloads)
    summary = json.loads(run.end)
    if "length" in config:
        assert sum(summary["keys"].values()) + summary["other"] == summary["messages"]


def test_last_message_of_an_earlier_stage() -> None:
    """Stages that look at content treat it like any other; those that pick let it pass."""

    def end(name: str, last: bytes, **config: str) -> bytes:
        handle = open_builtin(name, config, PAYLOAD_MAX)
        return drive_end(handle.address, SLOT_BYTES, bytearray(handle.state_bytes), last=last)

    assert end("filter", b"keep me", prefix="keep") == b"keep me"
    assert end("filter", b"not me", prefix="keep") == b""
    assert end("select", b"abcdef", **{"ranges.0.offset": "2", "ranges.0.length": "2"}) == b"cd"
    assert end("crc32c", b"123456789", mode="stamp") == b"123456789\x83\x92\x06\xe3"
    assert end("crc32c", b"123456789....", mode="verify") == b""
    for name, config in (("sample", {"every": "2"}), ("dedupe", {}), ("rate_limit", {"rate": "1"})):
        assert end(name, b"summary", **config) == b"summary"
        assert end(name, b"", **config) == b""


@pytest.mark.parametrize("name", ["dedupe", "count"])
@given(st.binary(min_size=64, max_size=64), st.integers(0, 4096))
def test_damaged_state_is_an_error_or_harmless(name: str, junk: bytes, at: int) -> None:
    """Whatever stands in the state area, no access leaves it (the sanitizer run would tell)."""
    handle = open_builtin(name, {"length": "4"}, PAYLOAD_MAX)
    state = bytearray(handle.state_bytes)
    payloads: Kept = [bytes([index, 0, 0, 0]) for index in range(40)]
    drive(handle.address, payloads, SLOT_BYTES, state)
    state[at : at + 64] = junk
    with contextlib.suppress(StageError):
        drive(handle.address, payloads * 3, SLOT_BYTES, state)
        drive_end(handle.address, SLOT_BYTES, state)
    handle.close()


@pytest.mark.parametrize("name", ["dedupe", "count", "rate_limit"])
def test_missing_state_area_is_an_error(name: str) -> None:
    """A stage with state never runs without it."""
    handle = open_builtin(name, {"rate": "1"} if name == "rate_limit" else {}, PAYLOAD_MAX)
    with pytest.raises(StageError, match="state area"):
        drive(handle.address, [b"x"], SLOT_BYTES)
