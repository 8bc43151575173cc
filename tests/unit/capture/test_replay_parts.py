"""What a replay says: verdicts with their reasons, payloads as they may be seen, steps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from byteord.capture.divergence import first_to_differ, last_hand, steps_of
from byteord.capture.recorded import LiveEgress, Recorded
from byteord.capture.shown import Viewer, first_byte, first_field
from byteord.capture.verdict import (
    Conditions,
    Verdict,
    egress_of,
    overall,
    reasons_of,
)
from byteord.regions.segments import Range, Survey

DIGEST = "ab" * 32
HIDDEN = "s3cr3t-value"


def _survey(**changes: Any) -> Survey:
    values: dict[str, Any] = {
        "frames": 10, "first": 0, "last": 9, "missing": 0, "gaps": (), "low": 0, "high": 10,
        "low_sequence": 0, "high_sequence": 10, "chosen": 10, "chosen_bytes": 100, "chosen_ns": 1,
        "chosen_missing": 0, "limited": False,
    }  # fmt: skip
    return Survey(**{**values, **changes})


def _source(conditions: dict[str, Any] | None = None, **facts: Any) -> Recorded:
    live = {"out": LiveEgress(10, DIGEST)}
    return Recorded(
        "capture", "/c", {}, live, facts={"conditions": conditions or {}, "keep": "all", **facts}
    )


@pytest.mark.parametrize(
    ("source", "survey", "wanted", "how", "codes"),
    [
        (_source(), _survey(), Range(), Conditions(), []),
        (_source(keep="sample"), _survey(), Range(), Conditions(), ["sampled"]),
        (_source(), _survey(chosen_missing=3, gaps=((4, 3),)), Range(), Conditions(), ["gap"]),
        (_source(), _survey(low_sequence=5), Range(), Conditions(), ["gap"]),
        (_source(), _survey(), Range(last=3), Conditions(), ["partial_range"]),
        (_source({"python": "3.9"}), _survey(), Range(), Conditions(here={"python": "3.11"}),
         ["interpreter"]),
        (_source({"cpu_flags": ["a"]}), _survey(), Range(), Conditions(here={"cpu_flags": ["b"]}),
         ["cpu_features"]),
        (_source({"packages": {"x": "1"}}), _survey(), Range(),
         Conditions(here={"packages": {"x": "2"}}), ["packages"]),
        (_source({"code": {"s": "1"}}), _survey(), Range(), Conditions(code={"s": "2"}),
         ["code_changed"]),
        (_source({"code": {"s": "1"}}), _survey(), Range(),
         Conditions(spec_changed=True, code={"s": "2"}), []),
        (_source(), _survey(), Range(), Conditions(nondeterministic=["s"]),
         ["nondeterministic_stage"]),
        (_source(), _survey(), Range(), Conditions(recorded=["s"]), ["stage_recorded"]),
        (_source(), _survey(), Range(), Conditions(free=["m"]), ["choices_missing"]),
    ],
)  # fmt: skip
def test_what_forbids_to_compare_has_its_code(
    source: Recorded, survey: Survey, wanted: Range, how: Conditions, codes: list[str]
) -> None:
    """Each condition of the promise that does not hold is one reason, and nothing else is."""
    reasons = reasons_of(source, {"in": survey}, wanted, how)
    assert [each.code for each in reasons] == codes
    area = {"count": 10, "bytes": 1, "sha256": DIGEST, "diverged": "", "marks": []}
    egress = egress_of("out", area, source.live["out"], comparable=not reasons, whole=True)
    assert overall([egress], reasons) is (Verdict.NOT_COMPARABLE if codes else Verdict.EQUAL)


def test_a_count_that_differs_is_a_difference_only_where_the_run_was_whole() -> None:
    """Fewer messages than live, or more: of a run that was stopped that says nothing."""
    for count, how in ((9, "missing"), (11, "extra")):
        area = {"count": count, "bytes": 1, "sha256": DIGEST, "diverged": "", "marks": []}
        whole = egress_of("out", area, LiveEgress(10, DIGEST), comparable=True, whole=True)
        assert whole.verdict is Verdict.DIFFERENT
        assert whole.diverged is not None
        assert (whole.diverged.how, whole.diverged.index) == (how, min(count, 10))
        cut = egress_of("out", area, LiveEgress(10, DIGEST), comparable=True, whole=False)
        assert cut.verdict is Verdict.EQUAL


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("inside_list", [False, True])
def test_a_field_under_a_rule_is_never_shown(depth: int, *, inside_list: bool) -> None:
    """Wherever it stands in a message; what cannot be told apart is not shown at all."""
    node: Any = {"user": HIDDEN, "kept": "yes"}
    if inside_list:
        node = {"rows": [node, {"user": {"deep": HIDDEN}}]}
    for level in range(depth):
        node = {f"level{level}": node}
    payload = json.dumps(node).encode()
    seen = Viewer(allowed=True, fields={"user"}).show(payload)
    assert HIDDEN.encode() not in seen.data
    assert seen.shown == "redacted"
    assert b"yes" in seen.data
    for opaque in (payload[:-1], b"user=" + HIDDEN.encode(), b"\x81\xa4user\xa6" + b"s3cr3t"):
        hidden = Viewer(allowed=True, fields={"user"}).show(opaque)
        assert (hidden.data, hidden.shown) == (b"", "digest")
    assert Viewer(allowed=False).show(payload).data == b""


def test_the_first_byte_and_field_that_differ() -> None:
    """Offsets by byte; paths where both are objects, also of what only one of them has."""
    assert first_byte(b"abcd", b"abXd") == 2
    assert first_byte(b"ab", b"abc") == 2
    assert first_field(b'{"a":{"b":1,"c":2}}', b'{"a":{"b":1,"c":3}}') == "a.c"
    assert first_field(b'{"a":1}', b'{"a":1,"z":0}') == "z"
    assert first_field(b"[1]", b'{"a":1}') == ""


def test_steps_follow_the_last_time_that_a_batch_was_done() -> None:
    """Dropped, changed, failed; a batch that was done again counts once; later stages are left."""

    def record(role: int, phase: str, payload: bytes, *, dropped: bool = False) -> dict[str, Any]:
        return {
            "role": role, "phase": phase, "payload": payload, "sequence": 7, "type": 0,
            "dropped": dropped, "end": False,
        }  # fmt: skip

    roles = [("in", ""), ("first", "identity"), ("second", "python:m:C")]
    trace = [
        record(1, "before", b"a"), record(1, "after", b"a"), record(2, "before", b"a"),
        record(2, "after", b"wrong"), record(2, "before", b"a"), record(2, "after", b"b"),
    ]  # fmt: skip
    now = steps_of(trace, roles)
    assert [(each.role, each.outcome, each.after) for each in now] == [
        ("first", "passed", b"a"), ("second", "changed", b"b"),
    ]  # fmt: skip
    assert last_hand(now) == "second"
    then = steps_of([*trace[:-1], record(2, "after", b"c")], roles)
    assert first_to_differ(now, then) == "second"
    assert first_to_differ(now, now) == ""
    gone = steps_of([*trace[:2], record(2, "after", b"a", dropped=True)], roles)
    assert [each.role for each in gone] == ["first"]
    failed = steps_of(trace[:3], roles)
    assert failed[-1].outcome == "failed"
