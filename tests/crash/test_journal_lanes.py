"""Journals in a LaneGraph: complete, in order, exact across kills, honest about what went wrong."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from byteord.deployment.plan import JournalPlan, RunPlan
from byteord.errors import RegionError
from byteord.regions.journals import names, read, recover, segment_path
from tests.support.lanes import L, R, graph_plan, sink, source, stage
from tests.support.poll import until
from tests.support.run import LiveRun, run_to_end, running

COUNT = 30_000
SEGMENT = 1 << 16


def journal_of(directory: Path | None, **changes: Any) -> JournalPlan:
    """Return a journal, durable in a directory or in shared memory."""
    values: dict[str, Any] = {
        "durable": directory is not None,
        "directory": str(directory or ""),
        "file": "" if directory else "lane-j",
        "segment_bytes": SEGMENT,
        "retention_bytes": 0 if directory else 1 << 26,
        "retention_s": 0,
        "sync": "none",
        "sync_interval_ms": 100,
    }
    return JournalPlan(**{**values, **changes})


def journal_plan(
    out: Path | None,
    journal: JournalPlan,
    *,
    count: int = COUNT,
    rate: int = 0,
    policy: str = "stop_pipeline",
) -> RunPlan:
    """Return ingress, stage, journal, bridge, egress: the egress gets what the journal has."""
    paced = {"rate": rate} if rate else {}
    roles = [
        source("in", "a", "generator", size=48, count=count, content="checksummed", **paced),
        stage("write", "a", "j", "identity"),
        R("back", "bridge", ("j",), ("b",)),
        sink("out", "b", "file", path=str(out), mode="truncate", framing="fixed")
        if out
        else sink("out", "b", "discard"),
    ]
    lanes = [L("a"), L("j", "journal", capacity=0, journal=journal), L("b")]
    beside = Path(out or journal.directory).parent
    return graph_plan(lanes, roles, write_dirs=(str(beside),), failure_policy=policy)


def _kill(run: LiveRun, name: str) -> None:
    pid = run.worker_pid(name)
    if pid:
        os.kill(pid, signal.SIGKILL)
        until(lambda: run.worker_pid(name) not in {0, pid} or run.status()["state"] != "running")


@pytest.mark.timeout(90)
@pytest.mark.parametrize("kills", [0, 8])
def test_a_durable_journal_holds_everything_once_and_in_order(tmp_path: Path, kills: int) -> None:
    """With `kill -9` of writer and reader or without: each frame once, each message out once."""
    chance = random.Random(5)
    (tmp_path / "j").mkdir()
    plan = journal_plan(tmp_path / "out", journal_of(tmp_path / "j"), rate=20_000 if kills else 0)
    with running(plan) as run:
        run.until_state("running", "completed", "failed")
        for turn in range(kills):
            name = ("write", "back")[turn % 2]
            goal = run.role(name)["received"] + chance.randrange(1, COUNT // (2 * kills))

            def reached(name: str = name, goal: int = goal) -> bool:
                return bool(
                    run.role(name)["received"] >= goal or run.status()["state"] != "running"
                )

            until(reached, 30)
            _kill(run, name)
        status = run.until_state("completed", "failed", timeout_s=60)
        assert status["state"] == "completed", (status, run.log())
        run.shim.wait(10)
        lanes = {each["name"]: each for each in run.reader.read()["lanes"]}
    output = (tmp_path / "out").read_bytes()
    kept = read(tmp_path / "j")
    assert [sequence for sequence, *_ in kept] == list(range(COUNT))
    assert b"".join(payload for *_, payload in kept) == output
    assert (lanes["j"]["published"], lanes["j"]["overruns"]) == (COUNT, 0)
    assert recover(tmp_path / "j").next_sequence == COUNT


@pytest.mark.timeout(60)
def test_a_second_run_goes_on_behind_a_torn_tail(tmp_path: Path) -> None:
    """What a crash left half written is cut; the next run's frames follow the last whole one."""
    (tmp_path / "j").mkdir()
    plan = journal_plan(tmp_path / "out", journal_of(tmp_path / "j"), count=1000)
    assert run_to_end(plan)[0]["state"] == "completed"
    last = segment_path(tmp_path / "j", max(int(p.stem) for p in (tmp_path / "j").glob("*.seg")))
    data = last.read_bytes()
    end = len(data.rstrip(b"\0"))
    last.write_bytes(data[: end - 20].ljust(len(data), b"\0"))
    assert run_to_end(plan)[0]["state"] == "completed"
    assert [sequence for sequence, *_ in read(tmp_path / "j")] == list(range(1999))


@pytest.mark.timeout(60)
def test_a_newest_segment_of_which_nothing_reached_the_disk_is_no_corruption(
    tmp_path: Path,
) -> None:
    """With `sync = "none"` a host may stop before even the header is written: it never began."""
    (tmp_path / "j").mkdir()
    plan = journal_plan(tmp_path / "out", journal_of(tmp_path / "j"), count=1000)
    assert run_to_end(plan)[0]["state"] == "completed"
    lost = segment_path(tmp_path / "j", 1000)
    lost.write_bytes(bytes(SEGMENT))
    assert recover(tmp_path / "j").next_sequence == 1000
    assert not lost.exists()
    first = segment_path(tmp_path / "j", 0)
    first.write_bytes(bytes(SEGMENT))
    with pytest.raises(RegionError, match="does not begin with the mark of a journal"):
        recover(tmp_path / "j")


def test_a_bad_frame_in_the_middle_is_refused_with_its_offset(tmp_path: Path) -> None:
    """Corruption is not cut away: file, offset, and what follows are named; the run fails."""
    (tmp_path / "j").mkdir()
    plan = journal_plan(tmp_path / "out", journal_of(tmp_path / "j"), count=500)
    assert run_to_end(plan)[0]["state"] == "completed"
    path = segment_path(tmp_path / "j", 0)
    data = bytearray(path.read_bytes())
    data[64 + 96 * 10 + 60] ^= 1
    path.write_bytes(data)
    with pytest.raises(RegionError) as caught:
        recover(tmp_path / "j")
    assert caught.value.reason == "JOURNAL_CORRUPT"
    assert f"offset {64 + 96 * 10}" in caught.value.message
    status = run_to_end(plan)[0]
    assert status["failure"]["role"] == "write"
    assert "no whole frame at offset" in status["failure"]["message"]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """A run whose journal has no directory fails by name, before anything flows."""
    plan = journal_plan(tmp_path / "out", journal_of(tmp_path / "nowhere"), count=10)
    status = run_to_end(plan)[0]
    assert status["state"] == "failed"
    assert "nowhere" in status["failure"]["message"]


@pytest.mark.timeout(60)
def test_a_reader_that_retention_overtook_is_told_how_much_it_missed(tmp_path: Path) -> None:
    """Never a half frame, never silence: missed and consumed add up to what was published."""
    journal = journal_of(None, retention_bytes=2 * SEGMENT)
    plan = journal_plan(tmp_path / "out", journal, rate=30_000)
    with running(plan) as run:
        run.until_state("running", "failed")
        pid = run.worker_pid("back")
        os.kill(pid, signal.SIGSTOP)
        goal = run.role("write")["received"] + 8000
        until(lambda: run.role("write")["received"] >= goal, 30)
        os.kill(pid, signal.SIGCONT)
        status = run.until_state("completed", "failed", timeout_s=60)
        assert status["state"] == "completed", (status, run.log())
        run.shim.wait(10)
        lane = next(each for each in run.reader.read()["lanes"] if each["name"] == "j")
    (back,) = lane["consumers"]
    assert back["missed"] > 0
    assert back["consumed"] + back["missed"] == lane["published"] == COUNT
    assert (tmp_path / "out").stat().st_size == 48 * back["consumed"]


@pytest.mark.timeout(60)
def test_segments_go_when_their_last_record_is_too_old(tmp_path: Path) -> None:
    """Retention by time: the oldest go while the run lasts, what is left is without a gap."""
    (tmp_path / "j").mkdir()
    journal = journal_of(tmp_path / "j", retention_s=1)
    with running(journal_plan(None, journal, count=0, rate=3000)) as run:
        run.until_state("running", "failed")
        until(lambda: names(tmp_path / "j")[:1] > [0], 30, run.log())
        run.command(op="stop", mode="drain")
        assert run.until_state("stopped", "failed")["state"] == "stopped", run.log()
        run.shim.wait(10)
        published = run.reader.read()["lanes"][1]["published"]
    kept = [sequence for sequence, *_ in read(tmp_path / "j")]
    assert kept[0] > 0
    assert kept == list(range(kept[0], published))
