"""Any single change of a log of 1,000 records is found by its verification."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteor.trust.audit_log import Segment, parse_record, read_log, render_record, verify_log
from byteord.policy import audit
from byteord.policy.audit import AuditLog

RECORDS = 1000


class Log:
    """A log of 1,000 records, covered by a last checkpoint, and what an auditor has of its host."""

    def __init__(self, directory: Path) -> None:
        """Write it."""
        made = AuditLog(str(directory))
        made.open()
        for index in range(RECORDS - 1 - RECORDS // audit.CHECKPOINT_RECORDS - 1):
            made.append("run.admitted", {"run": f"r{index}", "principal": f"uid:{index % 7}"})
        made.close()
        head = made.last_checkpoint()
        assert head is not None
        self.head, self.public = head, made.key.public
        self.lines = [line for part in read_log(made.directory) for line in part.lines]
        assert len(self.lines) == RECORDS

    def problems(self, lines: list[bytes]) -> int:
        """Return how many problems a log of these lines has."""
        part = Segment("audit-000000000000.jsonl", lines)
        return len(verify_log([part], self.public, [self.head]).problems)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """Provide the log; its writes are not synced, which this test is not about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _: None)
        yield Log(tmp_path_factory.mktemp("audit"))


FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
AT = st.integers(0, RECORDS - 1)


def test_the_log_itself_is_right(log: Log) -> None:
    """Nothing is found where nothing was done."""
    assert log.problems(log.lines) == 0


@FEW
@given(at=AT, offset=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_any_changed_byte_is_found(log: Log, at: int, offset: int, byte: int) -> None:
    """Whichever byte of whichever line."""
    line = bytearray(log.lines[at])
    offset %= len(line)
    if line[offset] == byte:
        byte = (byte + 1) % 256
    line[offset] = byte
    assert log.problems([*log.lines[:at], bytes(line), *log.lines[at + 1 :]])


@FEW
@given(at=AT, what=st.sampled_from(["at", "kind", "prev", "data", "seq"]))
def test_any_field_rewritten_in_good_form_is_found(log: Log, at: int, what: str) -> None:
    """Also when the line is a well-formed record afterwards."""
    record = parse_record(log.lines[at])
    changed: dict[str, Any] = {
        "at": "2020-01-01T00:00:00.000000Z", "kind": "other", "prev": "1" * 64,
        "data": {"run": "other"}, "seq": record.sequence + 1,
    }  # fmt: skip
    fields: dict[str, Any] = {
        "seq": record.sequence, "at": record.at, "kind": record.kind, "prev": record.prev,
        "data": record.data,
    }  # fmt: skip
    fields[what] = changed[what]
    line = render_record(
        fields["seq"], fields["at"], fields["kind"], fields["prev"], fields["data"]
    )
    assert log.problems([*log.lines[:at], line, *log.lines[at + 1 :]])


@FEW
@given(at=AT)
def test_any_removed_or_repeated_record_is_found(log: Log, at: int) -> None:
    """A record that is not there, or there twice."""
    assert log.problems([*log.lines[:at], *log.lines[at + 1 :]])
    assert log.problems([*log.lines[: at + 1], *log.lines[at:]])


@FEW
@given(first=AT, second=AT)
def test_any_two_exchanged_records_are_found(log: Log, first: int, second: int) -> None:
    """Order is part of the log."""
    if first == second:
        second = (second + 1) % RECORDS
    lines = list(log.lines)
    lines[first], lines[second] = lines[second], lines[first]
    assert log.problems(lines)


@FEW
@given(end=AT)
def test_any_truncation_is_found(log: Log, end: int) -> None:
    """Rewound to any earlier state: the kept checkpoint is not in it."""
    assert log.problems(log.lines[:end])


@FEW
@given(at=st.integers(1, RECORDS - 1))
def test_a_chain_computed_anew_is_found(log: Log, at: int) -> None:
    """Whoever changes a record and all hashes after it cannot sign the checkpoints."""
    lines, prev = list(log.lines[:at]), parse_record(log.lines[at - 1]).hash
    for index, line in enumerate(log.lines[at:]):
        record = parse_record(line)
        data = {"run": "forged"} if index == 0 else record.data
        if record.kind == "checkpoint":
            data = {**data, "head": prev}
        forged = render_record(record.sequence, record.at, record.kind, prev, data)
        prev = parse_record(forged).hash
        lines.append(forged)
    assert log.problems(lines)
