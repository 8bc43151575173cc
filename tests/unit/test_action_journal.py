"""The journal of actions and the dead letters beside it: on disk in time, known again, bounded."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from byteord.errors import NotFoundError
from byteord.runs.dead_letters import dead_letters
from byteord.stages.actions.journal import BEGIN, DONE, GAVE_UP, SEGMENTS_MAX, ActionJournal
from byteord.stages.actions.stage import idempotency_key
from tests.support.poll import until


def note(sequence: int, payload: bytes = b"", role: str = "s") -> dict[str, Any]:
    """Return what a line says of a message."""
    content = hashlib.sha256(payload).hexdigest()
    return {
        "role": role,
        "sequence": sequence,
        "key": idempotency_key("r", role, sequence, content),
        "target": "t",
        "bytes": len(payload),
        "sha256": content,
    }


def claim(journal: ActionJournal, sequence: int, payload: bytes) -> tuple[str, bool] | None:
    """Ask for a message."""
    return journal.claim("s", sequence, hashlib.sha256(payload).hexdigest())


def test_stages_shards_sequences_and_contents_have_keys_of_their_own() -> None:
    """Nothing that differs in one of them shares a key."""
    of = [(role, at, text) for role in ("a", "a#1", "b") for at in (0, 1) for text in ("x", "y")]
    assert len({idempotency_key("r", *each) for each in of}) == len(of)


def test_what_was_done_is_known_again_whatever_its_sequence(tmp_path: Path) -> None:
    """Two inputs may come in another order after a crash: done stays done, begun keeps its key."""
    first = ActionJournal(str(tmp_path), 0)
    first.begin_batch("s", 5)
    for sequence, payload in ((5, b"one"), (6, b"two")):
        first.write(BEGIN, sync=True, **note(sequence, payload))
    first.write(DONE, **note(5, b"one"))
    first.close()
    again = ActionJournal(str(tmp_path), 0)
    again.begin_batch("s", 5)
    assert claim(again, 5, b"new") is None
    assert claim(again, 6, b"two") == (note(6, b"two")["key"], False)
    assert claim(again, 7, b"one") == (note(5, b"one")["key"], True)
    assert claim(again, 8, b"one") is None, "only one of them was done"
    again.close()


def test_equal_messages_are_done_as_often_as_they_came(tmp_path: Path) -> None:
    """Each done one stands for one message."""
    first = ActionJournal(str(tmp_path), 0)
    first.begin_batch("s", 0)
    for sequence in range(3):
        first.write(BEGIN, **note(sequence, b"same"))
        first.write(DONE, **note(sequence, b"same"))
    first.close()
    again = ActionJournal(str(tmp_path), 0)
    again.begin_batch("s", 1)
    found = [claim(again, sequence, b"same") for sequence in range(1, 4)]
    assert found == [(note(1, b"same")["key"], True), (note(2, b"same")["key"], True), None]
    again.close()


def test_a_batch_done_again_in_the_same_process_finds_its_own(tmp_path: Path) -> None:
    """And what a later batch shows to be committed is let go of."""
    journal = ActionJournal(str(tmp_path), 0)
    journal.begin_batch("s", 0)
    journal.write(BEGIN, **note(0, b"x"))
    journal.write(DONE, **note(0, b"x"))
    journal.begin_batch("s", 0)
    assert claim(journal, 0, b"x") == (note(0, b"x")["key"], True)
    journal.begin_batch("s", 1)
    assert claim(journal, 1, b"x") is None
    journal.close()


def test_a_line_before_an_action_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synced after it was written; neighbours that wait at the same time share one call."""
    synced: list[int] = []
    real, gate = os.fdatasync, threading.Event()

    def slow(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        if len(synced) == 1:
            assert gate.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    journal = ActionJournal(str(tmp_path), 0)
    journal.begin_batch("s", 0)
    threads = [
        threading.Thread(target=lambda at=at: journal.write(BEGIN, sync=True, **note(at)))
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    path = tmp_path / "actions-0.journal"
    until(lambda: path.read_bytes().count(b"\n") == 8, 10.0, "all lines written")
    gate.set()
    for thread in threads:
        thread.join(10)
    assert 1 <= len(synced) <= 2, synced
    assert max(synced) == path.stat().st_size
    journal.close()


def test_the_journal_is_bounded_and_continued(tmp_path: Path) -> None:
    """The last files are kept; another process goes on in the newest."""
    journal = ActionJournal(str(tmp_path), 3, segment_bytes=1000)
    for sequence in range(200):
        journal.begin_batch("s", sequence)
        journal.write(BEGIN, **note(sequence))
        journal.write(DONE, **note(sequence))
    journal.close()
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == SEGMENTS_MAX
    assert "actions-3.journal" not in names
    again = ActionJournal(str(tmp_path), 3, segment_bytes=1000)
    again.begin_batch("s", 199)
    assert claim(again, 199, b"") == (note(199)["key"], True)
    again.close()


def test_dead_letters_are_whole_bounded_and_each_once(tmp_path: Path) -> None:
    """What was delivered in the end is none; without room nothing is kept in part."""
    top, directory = str(tmp_path), tmp_path / "r1"
    directory.mkdir()
    journal = ActionJournal(str(directory), 0, letters_bytes_max=2000)
    journal.begin_batch("s", 0)
    for sequence in (0, 1, 1):
        assert journal.dead_letter(b"\x00\xff", why="status 503", **note(sequence, b"\x00\xff"))
        journal.write(GAVE_UP, **note(sequence, b"\x00\xff"))
    journal.write(DONE, **note(0, b"\x00\xff"))
    assert not journal.dead_letter(b"x" * 3000, why="status 503", **note(2))
    journal.close()
    with (directory / "dead-letters-0.jsonl").open("ab") as file:
        file.write(b'{"torn')
    [letter] = dead_letters(top, "r1")
    assert (letter.sequence, letter.payload, letter.why) == (1, b"\x00\xff", "status 503")
    assert letter.key == note(1, b"\x00\xff")["key"]


@pytest.mark.parametrize("run", ["gone", "../r1", "", "/etc"])
def test_a_run_of_which_nothing_is_kept_is_named(tmp_path: Path, run: str) -> None:
    """Also a name that is none: it never leads out of the directory."""
    (tmp_path / "top").mkdir()
    (tmp_path / "r1").mkdir()
    with pytest.raises(NotFoundError, match="left no actions"):
        list(dead_letters(str(tmp_path / "top"), run))


def test_a_torn_last_line_is_ended(tmp_path: Path) -> None:
    """What follows stands on a line of its own."""
    (tmp_path / "actions-0.journal").write_bytes(b'{"event":"beg')
    journal = ActionJournal(str(tmp_path), 0)
    journal.write(DONE, **note(1))
    journal.close()
    last = (tmp_path / "actions-0.journal").read_bytes().splitlines()[-1]
    assert json.loads(last)["sequence"] == 1
