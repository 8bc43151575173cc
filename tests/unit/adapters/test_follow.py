"""Following a file: growth, truncation, rotation, and going on after a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from byteord._cext import adapter_drive as drive
from byteord._cext import adapters as native
from byteord.adapters.catalogue import CATALOGUE
from tests.unit.adapters.support import context, resume_from, source

TICK_NS = 150_000_000


class Clock:
    """The run's clock, moved by hand."""

    def __init__(self) -> None:
        """Begin late enough that the first look is due."""
        self.now_ns = 10**12

    def drain(self, handle: native.SourceHandle, looks: int = 1) -> list[bytes]:
        """Drain after time has passed, once for each look."""
        messages = []
        for _look in range(looks):
            self.now_ns += TICK_NS
            messages += drive.drain(handle, now_ns=self.now_ns)
        return messages


def add(path: Path, content: bytes) -> None:
    """Append to a file."""
    with path.open("ab") as file:
        file.write(content)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give a log with two lines."""
    path = tmp_path / "app.log"
    path.write_bytes(b"one\ntwo\n")
    return path


def test_growth_is_followed_and_a_line_is_waited_for(log: Path) -> None:
    """A line comes when it is whole, and the end of the file is not the end of the input."""
    clock = Clock()
    with source("file", context(log.parent), path=str(log), follow=True) as handle:
        assert clock.drain(handle) == [b"one", b"two"]
        add(log, b"thr")
        assert clock.drain(handle, looks=3) == []
        assert handle.report()["status"] == native.WAITING
        add(log, b"ee\nfour\n")
        assert clock.drain(handle) == [b"three", b"four"]


def test_following_can_begin_at_the_end(log: Path) -> None:
    """Only what comes is read."""
    options: dict[str, Any] = {"path": str(log), "follow": True, "follow_from": "end"}
    with source("file", context(log.parent), **options) as handle:
        add(log, b"new\n")
        assert Clock().drain(handle) == [b"new"]


def test_rotation_reads_the_old_file_to_its_end_first(log: Path) -> None:
    """Lines written to the renamed file still count, also a last one without newline."""
    clock = Clock()
    with source("file", context(log.parent), path=str(log), follow=True) as handle:
        clock.drain(handle)
        rotated = log.rename(log.with_suffix(".log.1"))
        assert clock.drain(handle, looks=3) == []
        add(rotated, b"late\nlast")
        log.write_bytes(b"fresh\n")
        assert clock.drain(handle, looks=4) == [b"late", b"last", b"fresh"]
        assert handle.report()["position"][:2] == (6, log.stat().st_ino)
        add(log, b"more\n")
        assert clock.drain(handle) == [b"more"]


def test_a_truncated_file_is_read_from_its_beginning(log: Path) -> None:
    """copytruncate, or `> app.log`: what was half read is counted, the new content is read."""
    clock = Clock()
    with source("file", context(log.parent), path=str(log), follow=True) as handle:
        add(log, b"half")
        clock.drain(handle)
        os.truncate(log, 0)
        clock.drain(handle)
        add(log, b"fresh\n")
        assert clock.drain(handle, looks=2) == [b"fresh"]
        report = handle.report()
    assert report["rejected"]["truncated"] == 1
    assert report["samples"]["truncated"] == b"half"
    assert report["position"][0] == 6


def test_a_link_that_takes_the_files_place_is_not_followed(log: Path, tmp_path: Path) -> None:
    """The path must stay a regular file; until it is one again, nothing is read."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret\n")
    clock = Clock()
    with source("file", context(log.parent), path=str(log), follow=True) as handle:
        clock.drain(handle)
        log.rename(log.with_suffix(".1"))
        log.symlink_to(secret)
        assert clock.drain(handle, looks=4) == []
        assert handle.report()["status"] == native.WAITING


@pytest.mark.parametrize("rotated", [False, True])
def test_a_restart_finds_the_file_again(log: Path, rotated: bool) -> None:
    """Also under the name that it was rotated to meanwhile; then it goes on with the new one."""
    clock = Clock()
    with source("file", context(log.parent), path=str(log), follow=True) as handle:
        assert drive.drain(handle, limit=1, now_ns=clock.now_ns) == [b"one"]
        resume = resume_from(handle.report())
    if rotated:
        log.rename(log.with_suffix(".log.1"))
        log.write_bytes(b"fresh\n")
    else:
        add(log, b"fresh\n")
    given = context(log.parent, resume=resume)
    with source("file", given, path=str(log), follow=True) as handle:
        assert clock.drain(handle, looks=4) == [b"two", b"fresh"]
        assert handle.report()["bytes_total"] == 14


def test_a_restart_without_the_old_file_begins_the_new_one(log: Path) -> None:
    """What the rotation deleted is gone; what is there is read from its beginning."""
    clock = Clock()
    with source("file", context(log.parent), path=str(log), follow=True) as handle:
        drive.drain(handle, limit=1, now_ns=clock.now_ns)
        resume = resume_from(handle.report())
    other = log.with_name("new")
    other.write_bytes(b"fresh\n")
    other.rename(log)
    given = context(log.parent, resume=resume)
    with source("file", given, path=str(log), follow=True) as handle:
        assert clock.drain(handle, looks=2) == [b"fresh"]


def test_a_gzip_file_cannot_be_followed() -> None:
    """It is said before the run starts."""
    options: dict[str, Any] = {"path": "/x", "follow": True, "gzip": "always"}
    found = CATALOGUE.check("file", options, ingress=True, payload_max=240)
    assert [problem.code for problem in found] == ["ADAPTER_OPTION_CONFLICT"]
