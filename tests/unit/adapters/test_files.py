"""Files in and out, alone: framing at the edges, gzip, restart, refusal."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from byteord._cext import adapter_drive as drive
from byteord._cext import adapters as native
from byteord.adapters.open import Resume, open_sink, open_source
from byteord.errors import (
    AdapterError,
    ByteorError,
    DataError,
    DeniedError,
    InvalidDocumentError,
    NotFoundError,
)
from tests.unit.adapters.support import context, resume_from, sink, source


def read(directory: Path, content: bytes, **options: Any) -> tuple[list[bytes], dict[str, Any]]:
    """Return the messages of a file with this content, and the report at its end."""
    (directory / "in").write_bytes(content)
    with source("file", context(directory), path=str(directory / "in"), **options) as handle:
        return drive.drain(handle), handle.report()


def test_a_last_line_without_newline_is_a_message(tmp_path: Path) -> None:
    """Nothing of a file of lines is lost, whether or not its last line ends."""
    assert read(tmp_path, b"a\n\nlast")[0] == [b"a", b"", b"last"]
    assert read(tmp_path, b"a\n\nlast\n")[0] == [b"a", b"", b"last"]
    messages, report = read(tmp_path, b"")
    assert (messages, report["status"]) == ([], native.ENDED)


def test_line_options(tmp_path: Path) -> None:
    """Carriage returns stay unless asked for; empty lines can be skipped; any byte delimits."""
    assert read(tmp_path, b"a\r\n\r\nb")[0] == [b"a\r", b"\r", b"b"]
    assert read(tmp_path, b"a\r\n\r\nb\r\r\n", crlf=True)[0] == [b"a", b"", b"b\r"]
    assert read(tmp_path, b"a\r\n\r\nb", crlf=True, empty_lines="skip")[0] == [b"a", b"b"]
    assert read(tmp_path, b"a\nb\0c", delimiter="hex:00")[0] == [b"a\nb", b"c"]


def test_an_oversize_line_is_counted_with_its_beginning_and_passed_over(tmp_path: Path) -> None:
    """A line larger than a slot costs itself alone, however large it is."""
    messages, report = read(
        tmp_path, b"a\n" + b"x" * 2_000_000 + b"\n" + b"y" * 240 + b"\n" + b"z" * 241
    )
    assert messages == [b"a", b"y" * 240]
    assert report["rejected"]["oversize"] == 2
    assert report["samples"]["oversize"] == b"x" * 96
    assert report["bytes_total"] == 2 + 2_000_001 + 241 + 241


def test_a_truncated_record_is_counted(tmp_path: Path) -> None:
    """Fixed records come whole; what is left over at the end is counted with a sample."""
    messages, report = read(tmp_path, b"0123456789", framing="fixed", record_bytes=4)
    assert messages == [b"0123", b"4567"]
    assert report["rejected"]["truncated"] == 1
    assert report["samples"]["truncated"] == b"89"


def test_length_prefixes(tmp_path: Path) -> None:
    """Either byte order; oversize skipped, cut off counted, nonsense fails by name."""
    assert read(tmp_path, b"\x01a\x00\x02bc", framing="length_prefixed", length_bytes=1)[0] == [
        b"a",
        b"",
        b"bc",
    ]
    content = (5).to_bytes(4, "big") + b"a" + (4).to_bytes(4, "big")
    options = {"framing": "length_prefixed", "length_endian": "big", "length_includes_prefix": True}
    assert read(tmp_path, content, **options)[0] == [b"a", b""]
    big = (300).to_bytes(2, "little") + b"x" * 300 + b"\x01\x00y" + b"\x05\x00z"
    messages, report = read(tmp_path, big, framing="length_prefixed", length_bytes=2)
    assert messages == [b"y"]
    assert (report["rejected"]["oversize"], report["rejected"]["truncated"]) == (1, 1)
    messages, report = read(tmp_path, content + b"\0\0\0\1", **options)
    assert (messages, report["status"], report["rejected"]["malformed"]) == (
        [b"a", b""],
        native.FAILED,
        1,
    )
    assert report["error_text"] == "a length prefix is smaller than itself, at byte 9 of the input"


def test_gzip_members_follow_each_other(tmp_path: Path) -> None:
    """Several members, even padded, read as one; `never` reads the bytes as they are."""
    content = gzip.compress(b"a\nb") + gzip.compress(b"") + gzip.compress(b"c\nd") + b"\0" * 512
    assert read(tmp_path, content)[0] == [b"a", b"bc", b"d"]
    assert (
        read(tmp_path, gzip.compress(b"a"), gzip="never", framing="fixed", record_bytes=2)[0][0]
        == b"\x1f\x8b"
    )


def test_damaged_gzip(tmp_path: Path) -> None:
    """A cut and garbage behind are counted, with all before them read; damage fails by name."""
    lines = b"".join(b"line %d\n" % number for number in range(5000))
    whole = gzip.compress(lines)
    messages, report = read(tmp_path, whole[:-20])
    assert report["status"] == native.ENDED
    assert report["rejected"]["truncated"] == 1
    assert messages == [*lines.split(b"\n")[: len(messages) - 1], messages[-1]]
    messages, report = read(tmp_path, whole + b"garbage")
    assert (len(messages), report["rejected"]["malformed"], report["samples"]["malformed"]) == (
        5000,
        1,
        b"garbage",
    )
    damaged = whole[:-8] + bytes(4) + whole[-4:]
    _messages, report = read(tmp_path, damaged)
    assert (report["status"], report["rejected"]["corrupt"]) == (native.FAILED, 1)
    assert "damaged" in report["error_text"]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_restart_reads_on_where_the_commit_was(tmp_path: Path, compressed: bool) -> None:
    """From any position the rest follows, nothing twice and nothing missing, with totals."""
    content = (
        b"".join(b"%d" % number * (number % 7) + b"\n" for number in range(200))
        + b"x" * 300
        + b"\ntail"
    )
    path = tmp_path / "in"
    path.write_bytes(gzip.compress(content) if compressed else content)
    resume, got = None, []
    report: dict[str, Any] = {}
    for _life in range(500):
        with source("file", context(tmp_path, resume=resume), path=str(path)) as handle:
            got += drive.drain(handle, limit=7, max_batch=7)
            report = handle.report()
        if report["status"] == native.ENDED:
            break
        resume = resume_from(report)
    assert got == [line for line in content.split(b"\n") if len(line) <= 240]
    assert report["rejected"]["oversize"] == 1
    assert report["bytes_total"] == len(content)


def test_a_restart_refuses_another_file(tmp_path: Path) -> None:
    """An input that was replaced or cut under a run is named, not read on regardless."""
    path = tmp_path / "in"
    path.write_bytes(b"a\nb\nc\n")
    with source("file", context(tmp_path), path=str(path)) as handle:
        drive.drain(handle, limit=2)
        resume = resume_from(handle.report())
    os.truncate(path, 1)
    with pytest.raises(DataError, match="1 bytes; this run had read 4") as caught:
        open_source("file", {"path": str(path)}, context(tmp_path, resume=resume))
    assert caught.value.reason == "ADAPTER_INPUT_CHANGED"


def test_output_framings(tmp_path: Path) -> None:
    """Each framing writes what it reads; dropped and empty end slots write nothing."""
    framings: tuple[tuple[dict[str, Any], bytes], ...] = (
        ({}, b"a\n\nlast\n"),
        ({"delimiter": "\0"}, b"a\0\0last\0"),
        ({"framing": "raw"}, b"alast"),
        ({"framing": "fixed", "record_bytes": 4}, b"last"),
        (
            {"framing": "length_prefixed", "length_bytes": 2, "length_endian": "big"},
            b"\0\1a\0\0\0\4last",
        ),
        (
            {"framing": "length_prefixed", "length_bytes": 1, "length_includes_prefix": True},
            b"\2a\1\5last",
        ),
    )
    report: dict[str, Any] = {}
    for number, (options, wanted) in enumerate(framings):
        path = tmp_path / f"out-{number}"
        with sink("file", context(tmp_path), path=str(path), **options) as handle:
            assert (
                drive.push(
                    handle, [b"a", b"dropped", b"", b"last", b""], flags=[0, 1, 0, 0x10, 0x10]
                )
                == 5
            )
            assert drive.finish(handle) == native.ENDED
            report = handle.report()
        assert path.read_bytes() == wanted
        assert report["bytes_total"] == len(wanted)
    assert report["rejected"]["malformed"] == 0


def test_what_a_framing_cannot_hold_is_counted(tmp_path: Path) -> None:
    """A message that the output's format has no room for is left out and counted."""
    with sink(
        "file",
        context(tmp_path, payload_max=1008),
        path=str(tmp_path / "a"),
        framing="length_prefixed",
        length_bytes=1,
    ) as handle:
        assert drive.push(handle, [b"x" * 256, b"y"], slot_bytes=1024) == 2
        assert handle.report()["rejected"]["oversize"] == 1
    with sink(
        "file", context(tmp_path), path=str(tmp_path / "b"), framing="fixed", record_bytes=2
    ) as handle:
        assert drive.push(handle, [b"x", b"yy"]) == 2
        assert handle.report()["rejected"]["malformed"] == 1
    assert (tmp_path / "a").read_bytes() == b"\1y"
    assert (tmp_path / "b").read_bytes() == b"yy"


@pytest.mark.parametrize("mode", ["create", "truncate", "append"])
def test_a_restarted_output_is_cut_back_to_the_commit(tmp_path: Path, mode: str) -> None:
    """What was written after the last commit is written again, never twice."""
    path = tmp_path / "out"
    if mode != "create":
        path.write_bytes(b"before\n")
    with sink("file", context(tmp_path), path=str(path), mode=mode) as handle:
        drive.push(handle, [b"one", b"two"])
        committed = resume_from(handle.report())
        drive.push(handle, [b"lost"])
    with sink("file", context(tmp_path, resume=committed), path=str(path), mode=mode) as handle:
        drive.push(handle, [b"three"])
        assert handle.report()["bytes_total"] == 14
    assert path.read_bytes() == (b"before\n" if mode == "append" else b"") + b"one\ntwo\nthree\n"


def test_a_restart_before_the_first_commit(tmp_path: Path) -> None:
    """The file that the dead worker made is taken over; append never loses what was there."""
    never = Resume((0, 0, 0, 0), 0, (0,) * 8)
    (tmp_path / "made").write_bytes(b"uncommitted")
    with sink(
        "file", context(tmp_path, resume=never), path=str(tmp_path / "made"), mode="create"
    ) as handle:
        drive.push(handle, [b"x"])
    assert (tmp_path / "made").read_bytes() == b"x\n"
    (tmp_path / "log").write_bytes(b"before\n")
    with sink(
        "file", context(tmp_path, resume=never), path=str(tmp_path / "log"), mode="append"
    ) as handle:
        drive.push(handle, [b"x"])
    assert (tmp_path / "log").read_bytes() == b"before\nx\n"


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    """The second one is told."""
    path = str(tmp_path / "out")
    with (
        sink("file", context(tmp_path), path=path),
        pytest.raises(AdapterError) as caught,
    ):
        open_sink("file", {"path": path, "mode": "append"}, context(tmp_path))
    assert caught.value.reason == "PATH_IN_USE"


def refused(directory: Path, path: Path | str, *, output: bool = False) -> ByteorError:
    """Return the error of opening a path."""
    opening = open_sink if output else open_source
    with pytest.raises(ByteorError) as caught:
        opening("file", {"path": str(path)}, context(directory))
    return caught.value


def test_paths_that_are_refused(tmp_path: Path) -> None:
    """Outside, up, through links, no regular file, missing, existing: each with its reason."""
    allowed = tmp_path / "allowed"
    (allowed / "directory").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"x")
    (allowed / "link").symlink_to(tmp_path / "secret")
    (allowed / "linked").symlink_to(tmp_path)
    os.mkfifo(allowed / "pipe")
    (allowed / "here").write_bytes(b"")
    cases: tuple[tuple[Path | str, type[ByteorError], str], ...] = (
        (tmp_path / "secret", DeniedError, "PATH_NOT_ALLOWED"),
        (f"{allowed}/../secret", DeniedError, "PATH_NOT_ALLOWED"),
        (f"{allowed}x/secret", DeniedError, "PATH_NOT_ALLOWED"),
        (allowed / "link", DeniedError, "PATH_IS_LINK"),
        (allowed / "linked" / "secret", DeniedError, "PATH_IS_LINK"),
        (allowed / "directory", AdapterError, "PATH_NOT_A_FILE"),
        (allowed / "pipe", AdapterError, "PATH_NOT_A_FILE"),
        (allowed, DeniedError, "PATH_NOT_ALLOWED"),
        (allowed / "none", NotFoundError, "PATH_NOT_FOUND"),
        (allowed / "none" / "none", NotFoundError, "PATH_NOT_FOUND"),
    )
    for path, kind, reason in cases:
        error = refused(allowed, path)
        assert (type(error), error.reason) == (kind, reason), error.message
        assert str(path) in error.message
    assert refused(allowed, allowed / "here", output=True).reason == "PATH_EXISTS"
    assert refused(allowed, allowed / "link", output=True).reason == "PATH_EXISTS"
    with source("file", context(allowed), path="here"):
        """A relative path is beneath the first allowed directory."""


def test_options_are_checked_again_when_opening(tmp_path: Path) -> None:
    """A worker trusts no document: what validation would refuse, it refuses."""
    with pytest.raises(InvalidDocumentError, match="write path instead of pth") as caught:
        open_source("file", {"pth": "x"}, context(tmp_path))
    assert caught.value.reason == "ADAPTER_OPTION_UNKNOWN"
