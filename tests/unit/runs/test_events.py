"""Events and last metrics of runs: the last ones, in memory and in files that outlive a daemon."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from byteord.runs.events import EventLog, Kept

RUN = "1a221eb3f62-7a6047"


def _told(log: EventLog, run: str = RUN) -> Sequence[object]:
    return [each["n"] for each in log.of(run)]


def _tell(log: EventLog, numbers: range, run: str = RUN) -> None:
    for number in numbers:
        log.add("thing.happened", {"run": run, "n": number})


def test_the_next_daemon_knows_them_and_goes_on(tmp_path: Path) -> None:
    """Files and memory say the same; a torn line is left out; what names no run is nobody's."""
    first = EventLog(Kept(str(tmp_path / "kept")))
    _tell(first, range(3))
    first.add("thing.happened", {"n": 7})
    first.add("thing.happened", {"run": "../../etc", "n": 7})
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [f"{RUN}.events.jsonl"]
    path = tmp_path / "kept" / f"{RUN}.events.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(b'{"event": "torn')
    second = EventLog(Kept(str(tmp_path / "kept")))
    assert _told(second) == _told(first) == [0, 1, 2]
    _tell(second, range(3, 5))
    assert _told(second) == [0, 1, 2, 3, 4]


def test_a_file_has_the_last_of_them_and_does_not_grow(tmp_path: Path) -> None:
    """However many there are, a file holds twice the bound at most, and always the last ones."""
    log = EventLog(Kept(str(tmp_path)), events_max=10)
    for round_ in range(20):
        _tell(log, range(round_ * 7, round_ * 7 + 7))
        lines = (tmp_path / f"{RUN}.events.jsonl").read_text().splitlines()
        assert len(lines) <= 20
        last = list(range(max(0, round_ * 7 + 7 - 10), round_ * 7 + 7))
        assert _told(log) == last
        assert _told(EventLog(Kept(str(tmp_path)), events_max=10)) == last


def test_the_oldest_runs_go_with_their_metrics(tmp_path: Path) -> None:
    """Two files a run, and no more runs than the bound; ids begin with when they were made."""
    kept = Kept(str(tmp_path), runs_max=3)
    log = EventLog(kept, runs_max=3)
    for number in range(5):
        _tell(log, range(1), f"{number}-a")
        kept.write_metrics(f"{number}-a", b"up 1\n")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        f"{n}-a.{what}" for n in (2, 3, 4) for what in ("events.jsonl", "metrics.prom")
    ]
    assert kept.metrics("4-a") == b"up 1\n"
    assert kept.metrics("0-a") == b""
    assert _told(log, "0-a") == []


def test_what_is_another_daemons_is_only_read(tmp_path: Path) -> None:
    """Nothing is written where one only looks, nor where writing is not possible."""
    kept = Kept(str(tmp_path), look=True)
    _tell(EventLog(kept), range(3))
    kept.write_metrics(RUN, b"x")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    log = EventLog(Kept(os.path.join(str(tmp_path), "file")))
    _tell(log, range(3))
    assert _told(log) == [0, 1, 2]
