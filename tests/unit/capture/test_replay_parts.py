"""What a replay says: verdicts with their reasons, payloads as they may be seen, steps."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from byteord.capture.divergence import first_to_differ, last_hand, steps_of
from byteord.capture.guarding import guarding_of
from byteord.capture.recorded import LiveEgress, Recorded
from byteord.capture.shown import ShownPayload, Viewer, first_byte, first_field
from byteord.capture.verdict import (
    Conditions,
    Verdict,
    egress_of,
    overall,
    reasons_of,
)
from byteord.regions.segments import Range, Survey
from tests.support.guard import REGISTRY, config_of

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


@pytest.mark.parametrize("allowed", [False, True])
def test_a_field_under_a_rule_is_never_shown(*, allowed: bool) -> None:
    """Nor its digest or that of the whole; of what fits no schema nothing is told at all."""
    rules = guarding_of(
        [("dataguard_fused", config_of(("user:mask=0:0:*",)))],
        [REGISTRY.decode()],
        rules={},
        slot_bytes=1024,
        key=bytes(32),
    )
    assert rules is not None
    viewer = Viewer(allowed=allowed, guarded=True, guard=rules.open())
    message = {"type": "login", "version": 3, "user": HIDDEN, "note": "yes"}
    payload = json.dumps(message).encode()
    seen = viewer.show(payload)
    left = json.dumps({**message, "user": "*" * len(HIDDEN)}, separators=(",", ":")).encode()
    assert seen.sha256 == viewer.digest(payload) == hashlib.sha256(left).hexdigest()
    assert (seen.data, seen.shown) == ((left, "redacted") if allowed else (b"", "digest"))
    assert not viewer.quotes
    nested = json.dumps({**message, "rows": [{"user": HIDDEN}]}).encode()
    for opaque in (payload[:-1], nested, b"user=" + HIDDEN.encode(), b"\x81\xa4user\xa6s3cr3t"):
        assert viewer.show(opaque) == ShownPayload(0, "", b"", "withheld")
        assert viewer.digest(opaque) == ""
    assert Viewer(allowed=True, guarded=True).show(payload).shown == "withheld"


def test_without_rules_a_payload_is_shown_or_digested() -> None:
    """By the grant alone."""
    digest = hashlib.sha256(b"abc").hexdigest()
    assert Viewer(allowed=True).show(b"abc") == ShownPayload(3, digest, b"abc", "")
    assert Viewer(allowed=False).show(b"abc") == ShownPayload(3, digest, b"", "digest")


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
