"""What a record of the audit log costs beside the bare write and fdatasync of as many bytes."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from byteord.policy import audit
from byteord.policy.audit import AuditLog

ROUNDS = 60
RECORD = {
    "run": "0123456789a-abcdef",
    "principal": "uid:1000",
    "spec_hash": f"sha256:{'a' * 64}",
    "deployment_hash": f"sha256:{'b' * 64}",
}


def test_a_record_costs_little_more_than_its_sync(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both sides in turn, on files whose space was taken; the median ratio of the rounds."""
    log = AuditLog(str(tmp_path / "audit"))
    log.open()
    bare = os.open(tmp_path / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    audit._reserve(bare, audit.SEGMENT_BYTES)
    line = b"x" * 420 + b"\n"
    ours, theirs = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter_ns()
        log.append("run.admitted", RECORD)
        middle = time.perf_counter_ns()
        os.write(bare, line)
        os.fdatasync(bare)
        theirs.append(time.perf_counter_ns() - middle)
        ours.append(middle - begin)
    os.close(bare)
    log.close()
    record, sync = statistics.median(ours) / 1000, statistics.median(theirs) / 1000
    with capsys.disabled():
        print(f"\naudit append {record:.0f} us, bare write and fdatasync {sync:.0f} us")
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    assert ratio < 10 or record - sync < 1000, f"ratio {ratio:.1f}"
