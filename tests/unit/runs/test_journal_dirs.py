"""Directories of durable journals: absolute in the plan, there before the run, never links."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from byteord.adapters.paths import path_error
from byteord.deployment.plan import JournalPlan, LanePlan
from byteord.errors import ByteorError, DeniedError, NotFoundError
from byteord.runs.journal_dirs import make_directory, with_absolute_journals


def _lane(directory: str, *, durable: bool = True) -> LanePlan:
    journal = JournalPlan(durable, directory, "", 1 << 16, 0, 0, "none", 100)
    return LanePlan(0, "j", "journal", "block", (), 0, 256, (), (0,), 1, journal)


def _directories(lane: LanePlan, *allowed: str) -> list[str]:
    journals = [each.journal for each in with_absolute_journals([lane], allowed)]
    return [journal.directory for journal in journals if journal is not None]


def test_a_relative_directory_lies_beneath_the_first_allowed_one() -> None:
    """A relative directory is taken beneath the first allowed one, an absolute one stays."""
    assert _directories(_lane("a/b"), "/data", "/more") == ["/data/a/b"]
    assert _directories(_lane("/more/b"), "/data", "/more") == ["/more/b"]
    assert _directories(_lane("", durable=False), "/data") == [""]
    with pytest.raises(DeniedError):
        _directories(_lane("/etc/b"), "/data")


def test_it_is_made_where_it_is_missing(tmp_path: Path) -> None:
    """A missing directory is made, one that is there is taken, with what lies in it."""
    for _ in range(2):
        make_directory(str(tmp_path / "j"), (str(tmp_path),))
        (tmp_path / "j" / "kept").touch()
    assert (tmp_path / "j" / "kept").exists()


def test_links_files_and_missing_parents_are_refused(tmp_path: Path) -> None:
    """Neither a link nor a file is taken for a directory; the one around it must exist."""
    allowed = (str(tmp_path),)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(ByteorError, match=name):
            make_directory(str(tmp_path / name), allowed)
    with pytest.raises(NotFoundError):
        make_directory(str(tmp_path / "no" / "j"), allowed)


def test_a_read_only_filesystem_is_said_to_be_one() -> None:
    """Not permissions: no change of them would help."""
    error = OSError(errno.EROFS, os.strerror(errno.EROFS))
    said = path_error("/data/j", error, at="/data")
    assert isinstance(said, DeniedError)
    assert (said.reason, "/data: its filesystem is read-only" in said.message) == (
        "PATH_READ_ONLY",
        True,
    )
