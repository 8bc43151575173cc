"""The audit log as its daemon writes it: chain, checkpoints, rotation, recovery, full disks."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byteor.trust.audit_log import (
    Verdict,
    parse_record,
    read_checkpoint,
    read_log,
    segment_files,
    verify_log,
)
from byteord.errors import ResourceError
from byteord.policy import audit, files
from byteord.policy.audit import AuditLog
from byteord.policy.denials import WINDOW_S, WRITTEN_MAX, Denials
from byteord.runs.action_digests import ActionDigests, forget_oldest, keep_files


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    """Provide an open log."""
    made = AuditLog(str(tmp_path / "audit"))
    made.open()
    assert made.problem == ""
    yield made
    made.close()


def verified(made: AuditLog) -> Verdict:
    """Return what a verification with the host's public key and kept checkpoint finds."""
    head = made.last_checkpoint()
    kept = [head] if head else []
    return verify_log(read_log(made.directory), made.key.public, kept)


def reopened(made: AuditLog) -> AuditLog:
    """Return the log as the next daemon opens it."""
    again = AuditLog(made.directory)
    again.open()
    return again


def kinds(made: AuditLog) -> list[str]:
    """Return the kinds of all records, in order."""
    return [parse_record(line).kind for part in read_log(made.directory) for line in part.lines]


def test_a_record_is_on_the_disk_when_append_returns(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each append ends with a sync of the file that it wrote to."""
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    assert log.append("run.admitted", {"run": "r1"}) == 1
    assert len(synced) == 1
    assert kinds(log) == ["log.begun", "run.admitted"]


def test_the_key_of_the_host_is_made_once_and_kept_private(log: AuditLog) -> None:
    """The private key has mode 0600, the public one lies beside it, a restart finds both."""
    path = Path(log.directory, "host.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    log.close()
    assert reopened(log).key == log.key


def test_a_key_that_others_can_read_is_not_used(log: AuditLog) -> None:
    """Such a log signs nothing: effects stop, and the reason names the file."""
    log.close()
    Path(log.directory, "host.key").chmod(0o644)
    assert "host.key" in reopened(log).problem


def test_256_records_or_closing_make_a_checkpoint(log: AuditLog) -> None:
    """A checkpoint covers what came before it; the tail is what came after."""
    for index in range(300):
        log.append("x", {"n": index})
    found = verified(log)
    assert (found.ok, found.checkpoints, found.covered) == (True, 1, 255)
    assert found.tail == found.records - 257
    assert found.tail_since
    log.close()
    found = verified(log)
    assert (found.ok, found.tail, found.covered) == (True, 0, found.last - 1)


def test_time_makes_a_checkpoint(log: AuditLog) -> None:
    """A tick a minute after the last one covers the tail and the journals' digests."""
    log.append("x", {})
    log._since -= audit.CHECKPOINT_S
    made = log.tick({"r1/w0": {"bytes": 10, "sha256": "a" * 64}})
    assert made is not None
    assert made["actions"]["r1/w0"]["bytes"] == 10
    assert log.tick({}) is None
    assert verified(log).tail == 0


def test_the_next_daemon_continues_the_chain(log: AuditLog) -> None:
    """Records of several lives are one log."""
    log.append("x", {"life": 1})
    log.close()
    second = reopened(log)
    second.append("x", {"life": 2})
    found = verified(second)
    assert (found.ok, found.first) == (True, 0)
    assert kinds(second) == ["log.begun", "x", "checkpoint", "x"]


def test_a_torn_last_line_is_cut_and_told(log: AuditLog) -> None:
    """What a crash left of a write had no effect yet; everything else damaged is refused."""
    log.append("x", {})
    [path] = segment_files(log.directory)
    with open(path, "ab") as file:
        file.write(b'{"at":"2026')
    second = reopened(log)
    assert second.problem == ""
    assert kinds(second)[-1] == "log.recovered"
    assert verified(second).ok


def test_a_changed_log_is_not_continued(log: AuditLog) -> None:
    """The daemon says so and writes nothing more: no side effect can be recorded."""
    log.append("x", {"who": "mallory"})
    log.append("x", {})
    log.close()
    [path] = segment_files(log.directory)
    changed = Path(path).read_bytes().replace(b"mallory", b"malnory")
    Path(path).write_bytes(changed)
    second = reopened(log)
    assert "audit verify" in second.problem
    with pytest.raises(ResourceError) as caught:
        second.append("x", {})
    assert caught.value.reason == "AUDIT_NOT_WRITABLE"
    assert Path(path).read_bytes() == changed


def test_a_log_that_was_set_back_is_not_continued(log: AuditLog) -> None:
    """An older state of the files does not match the checkpoint that head.json keeps."""
    [path] = segment_files(log.directory)
    before = Path(path).read_bytes()
    log.append("x", {})
    log.checkpoint({})
    log.close()
    Path(path).write_bytes(before)
    assert "ends at 0" in reopened(log).problem
    os.unlink(path)
    assert "segments are gone" in reopened(log).problem


def test_rotation_carries_the_chain(tmp_path: Path) -> None:
    """A new segment repeats the last checkpoint; with the older ones away the rest still holds."""
    made = AuditLog(str(tmp_path / "audit"), segment_bytes=200_000)
    made.open()
    for index in range(400):
        made.append("x", {"n": index, "pad": "p" * 400})
    made.close()
    names = segment_files(made.directory)
    assert len(names) > 1
    assert verified(made).ok
    os.unlink(names[0])
    found = verified(made)
    assert found.ok
    assert found.first > 0
    os.unlink(names[-1])
    assert [each.code for each in verified(made).problems] == ["AUDIT_REWOUND"]


class _Full:
    """A file system without room, switched on and off."""

    on = False


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> _Full:
    """Provide a switch that makes every write of the log fail with ENOSPC."""
    switch, real = _Full(), files.write_all

    def write_all(descriptor: int, data: bytes) -> None:
        if switch.on:
            raise OSError(28, "No space left on device")
        real(descriptor, data)

    monkeypatch.setattr(files, "write_all", write_all)
    return switch


def test_what_cannot_be_written_does_not_happen(log: AuditLog, full: _Full) -> None:
    """A failed write raises, sets the problem, leaves the file whole, and heals by a tick."""
    full.on = True
    with pytest.raises(ResourceError) as caught:
        log.append("x", {})
    assert caught.value.reason == "AUDIT_NOT_WRITABLE"
    assert "No space left" in log.problem
    assert log.tick({}) is None
    assert log.problem
    full.on = False
    log.tick({})
    assert log.problem == ""
    log.append("x", {})
    log.close()
    assert kinds(log) == ["log.begun", "log.writable", "x", "checkpoint"]
    assert verified(log).ok


def test_space_for_decisions_is_taken_beforehand(log: AuditLog) -> None:
    """A segment has its blocks before it is used, so that a full disk does not silence it."""
    [path] = segment_files(log.directory)
    assert os.stat(path).st_blocks * 512 >= audit.SEGMENT_BYTES
    assert os.stat(path).st_size < 1000


def test_without_room_for_another_segment_effects_stop_before_records_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem is set while there is still room to write decisions down."""
    made = AuditLog(str(tmp_path / "audit"), segment_bytes=200_000)
    made.open()
    monkeypatch.setattr(audit, "_reserve", _no_room)
    while not made.problem:
        made.append("x", {"pad": "p" * 4000})
    before = made.records
    made.append("denied", {"reason": "AUDIT_NOT_WRITABLE"})
    assert made.records > before
    assert "another segment" in made.problem


def _no_room(descriptor: int, size: int) -> None:
    raise OSError(28, f"no {size} bytes for {descriptor}")


def test_nobody_fills_the_log_by_being_refused() -> None:
    """Some denials of a principal are written, the others counted into one record a minute."""
    denials = Denials()
    written = sum(denials.admit("uid:7", "APPROVAL_EXPIRED", 0.0) for _ in range(1000))
    assert written == WRITTEN_MAX
    assert denials.admit("uid:8", "APPROVAL_EXPIRED", 0.0)
    assert denials.take(1.0) == []
    [record] = denials.take(WINDOW_S)
    assert record == {
        "principal": "uid:7",
        "reasons": {"APPROVAL_EXPIRED": 1000 - WRITTEN_MAX},
        "repeated": 1000 - WRITTEN_MAX,
    }
    assert denials.admit("uid:7", "APPROVAL_EXPIRED", WINDOW_S)
    for index in range(5000):
        denials.admit(f"uid:{index}", "x", WINDOW_S)
    assert len(denials._windows) <= 1025


def test_what_actions_leave_is_digested_and_kept(tmp_path: Path) -> None:
    """Each checkpoint gets what has grown; a run that left nothing leaves no directory."""
    run = tmp_path / "r1"
    run.mkdir()
    journal = run / "actions-0.journal"
    journal.write_bytes(b"one\n")
    (run / "dead-letters-0.jsonl").write_bytes(b"letter\n")
    (run / "control").write_bytes(b"no journal")
    digests = ActionDigests()
    letters = {"dead-letters-0.jsonl": _digest(b"letter\n")}
    first = {"actions-0.journal": _digest(b"one\n"), **letters}
    assert digests.take({"r1": str(run)}) == {f"r1/{name}": each for name, each in first.items()}
    assert digests.take({"r1": str(run)}) == {}
    with journal.open("ab") as file:
        file.write(b"two\n")
    assert digests.take({"r1": str(run)}) == {"r1/actions-0.journal": _digest(b"one\ntwo\n")}
    assert keep_files(str(run)) == {"actions-0.journal": _digest(b"one\ntwo\n"), **letters}
    (tmp_path / "empty").mkdir()
    assert keep_files(str(tmp_path / "empty")) == {}
    assert not (tmp_path / "empty").exists()


def test_runs_are_forgotten_oldest_first_and_dead_letters_last(tmp_path: Path) -> None:
    """By number and by size; never a live one, and one with dead letters after all others."""
    for index in range(6):
        (tmp_path / f"r{index}").mkdir()
        (tmp_path / f"r{index}" / "actions-0.journal").write_bytes(b"x" * 100)
    (tmp_path / "r1" / "dead-letters-0.jsonl").write_bytes(b"letter")
    assert forget_oldest(str(tmp_path), {"r0"}, runs_max=4) == ["r2"]
    assert forget_oldest(str(tmp_path), {"r0"}, bytes_max=210) == ["r3", "r4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r0", "r1", "r5"]
    assert forget_oldest(str(tmp_path), {"r0"}, runs_max=0) == ["r5", "r1"]


def _digest(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_checkpoint_is_read_wherever_it_was_kept(log: AuditLog) -> None:
    """Bare, as a record, or as a line of the daemon's log."""
    from byteor.trust.strict import dumps

    made: dict[str, Any] | None = log.checkpoint({})
    assert made is not None
    for form in (made, {"data": made}, {"event": "audit.checkpoint", "checkpoint": made}):
        assert read_checkpoint(dumps(form)) == made
