"""Whole bundles as a daemon writes them, damaged or forged everywhere: a verdict, never a lie."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from byteorctl.bundle import archive
from byteorctl.bundle.archive import read_bundle, unpack
from byteorctl.bundle.check import problems_of
from byteorctl.errors import CliError
from byteord.capture.archive import Manifest, Row, write_archive
from byteord.capture.entries import BundleFile
from byteord.capture.files import BundleFacts, RunDocuments, manifest_of
from byteord.errors import DataError
from byteord.rpc.replay_bundle import capture_place

FILES = {
    "capture/in/in/00000000000000000000.seg": bytes(range(64)),
    "code/pkg/.hidden": b"",
    "spec.kv": b"name=x\n",
}


def facts() -> BundleFacts:
    """Return facts of which only the manifest is made."""
    return BundleFacts(
        run_id="1",
        documents=RunDocuments(),
        validation={},
        version="1",
        environment="dev",
        model="single_ring",
        wait="",
        stage_failure_policy="",
        enforced=False,
        process=None,
        snapshot=b"",
    )


def written(path: Path, files: dict[str, bytes] | None = None) -> bytes:
    """Return a bundle as a daemon writes it."""
    entries = [BundleFile(name, data) for name, data in (files or FILES).items()]
    write_archive(str(path), entries, manifest_of(facts(), {}))
    return path.read_bytes()


def seen(path: Path) -> dict[str, tuple[int, str]] | None:
    """Return sizes and digests of a verified bundle; None when it is refused or damaged."""
    try:
        opened = read_bundle(str(path))
    except CliError as error:
        said = (error.exit_code in (65, 66), str(path) in error.message)
        if said != (True, True):
            raise
        return None
    problems = problems_of(opened)
    assert all(": " in problem for problem in problems)
    return None if problems else {name: (d.size, d.sha256) for name, d in opened.digests.items()}


@pytest.mark.parametrize("zipped", [False, True], ids=["tar", "gz"])
def test_every_byte_of_it_counts(tmp_path: Path, zipped: bool) -> None:
    """Any byte changed: refused, or called damaged, or every file is as it was."""
    path = tmp_path / "b"
    data = written(path)
    whole = seen(path)
    assert whole is not None
    data = gzip.compress(data, mtime=0) if zipped else data
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        assert seen(path) in (None, whole), at


@pytest.mark.parametrize("zipped", [False, True], ids=["tar", "gz"])
def test_every_length_but_the_whole_is_refused(tmp_path: Path, zipped: bool) -> None:
    """Cut short anywhere it is not verified; of a tar the end mark's last zeros may be gone."""
    path = tmp_path / "b"
    plain = written(path)
    data = gzip.compress(plain, mtime=0) if zipped else plain
    spare = 0 if zipped else 512
    for end in range(len(data) - spare):
        path.write_bytes(data[:end])
        assert seen(path) is None, end


def replayable(top: Path) -> bool:
    """Tell whether a replay takes it; what it does not is refused by the name of a file."""
    try:
        capture_place(str(top))
    except DataError as error:
        said = (error.reason, error.details["file"] in error.message)
        if said != ("BUNDLE_DAMAGED", True):
            raise
        return False
    return True


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_every_byte_of_an_unpacked_one_counts(tmp_path: Path, name: str) -> None:
    """Any file cut or changed at any byte, gone, or one too many: no check takes the bundle."""
    written(tmp_path / "b")
    top = tmp_path / "d"
    top.mkdir()
    unpack(str(tmp_path / "b"), str(top))
    whole = seen(top)
    assert (whole is not None, replayable(top)) == (True, True)
    data = (top / name).read_bytes()
    for at in range(len(data)):
        for bad in (data[:at], data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]):
            (top / name).write_bytes(bad)
            assert seen(top) is None, at
            assert not replayable(top), at
    (top / name).unlink()
    assert seen(top) is None
    assert name == "manifest.json" or not replayable(top)
    (top / name).write_bytes(data)
    (top / "code" / "more").touch()
    assert (seen(top), replayable(top)) == (None, False)


@pytest.mark.parametrize(
    "name",
    [
        "capture/../spec.kv",
        "capture//x",
        "code/./x",
        "code/..",
        "/etc/passwd",
        "etc/passwd",
        "capture/in/a\u202eb",
        "code/a\\b",
        "code/\n",
        "code/" + "/".join("d" * 40),
        "..",
        ".hidden",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written outside, nothing at all: the reading ends there."""
    path = tmp_path / "b"
    written(path, {**FILES, name: b"x"})
    assert seen(path) is None
    (tmp_path / "out").mkdir()
    with pytest.raises(CliError):
        unpack(str(path), str(tmp_path / "out"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b", "out"]


@pytest.mark.parametrize("second", ["spec.kv", "code/pkg", "code/pkg/.hidden/x"])
def test_a_name_is_one_thing(tmp_path: Path, second: str) -> None:
    """No file twice, and none that is a directory of another."""
    path = tmp_path / "b"
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in (*FILES, second):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    path.write_bytes(raw.getvalue())
    with pytest.raises(CliError, match="seen"):
        read_bundle(str(path))


def test_a_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    """Links to files and directories, pipes and sockets in an unpacked bundle end the reading."""
    path = tmp_path / "b"
    written(path)
    for number, kind in enumerate(("file", "directory", "pipe")):
        top = tmp_path / f"d{number}"
        top.mkdir()
        unpack(str(path), str(top))
        assert seen(top) is not None
        if kind == "pipe":
            os.mkfifo(top / "code" / "pipe")
        else:
            os.symlink("/etc/passwd" if kind == "file" else "/etc", top / "capture" / "link")
        assert seen(top) is None


def test_a_bomb_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that grow beyond reason are refused long before the bound of a bundle."""
    monkeypatch.setattr(archive, "PLAIN_BYTES_FREE", 8 << 20)
    path = tmp_path / "b"
    member = tarfile.TarInfo("capture/in/in/0.seg")
    member.size = 1 << 30
    with gzip.open(path, "wb") as file:
        file.write(member.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 20))
    with pytest.raises(CliError, match="grows"):
        read_bundle(str(path))


def test_a_manifest_that_lies_is_found_out(tmp_path: Path) -> None:
    """Files that it does not list, lists twice, or lists and are not there are named."""
    path = tmp_path / "b"
    entries = [BundleFile(name, data) for name, data in FILES.items()]
    extra = Row("absent", 1, "00", "public")
    for forge, said in (
        (lambda rows: rows[:-1], "spec.kv: not in the manifest"),
        (lambda rows: [*rows, extra], "absent: missing"),
        (lambda rows: [*rows, rows[0]], "lists a file twice"),
    ):
        write_archive(str(path), entries, forged(forge))
        assert any(said in problem for problem in problems_of(read_bundle(str(path))))


def forged(forge: Callable[[list[Row]], list[Row]]) -> Manifest:
    """Return what makes a manifest of other rows, with the right digest of itself."""

    def make(rows: list[Row], lost: dict[str, str]) -> BundleFile:
        return manifest_of(facts(), {})(forge(rows), lost)

    return make
