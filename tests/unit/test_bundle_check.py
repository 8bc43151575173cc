"""Bundles from strangers: damaged, hostile, or fine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from byteorctl.bundle.archive import FILE_BYTES_MAX, read_bundle
from byteorctl.bundle.check import problems_of
from byteorctl.bundle.summary import summary
from byteorctl.errors import CliError

BODY = b'{"ok": false, "error": "x"}\n'


def files() -> dict[str, bytes]:
    """Return a small bundle."""
    row = {
        "name": "spec_validation.json",
        "bytes": len(BODY),
        "sha256": hashlib.sha256(BODY).hexdigest(),
    }
    manifest: dict[str, Any] = {
        "format": "byteor-incident-bundle",
        "format_version": 1,
        "files": [row],
        "run": "1",
    }
    manifest["manifest_sha256"] = hashlib.sha256(text(manifest)).hexdigest()
    return {"manifest.json": text(manifest), "spec_validation.json": BODY}


def text(manifest: dict[str, Any]) -> bytes:
    """Return a manifest as it is written."""
    return json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"


def packed(content: dict[str, bytes]) -> bytes:
    """Return a tar."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return raw.getvalue()


def verdict(path: Path) -> str:
    """Return `ok`, `damaged` or `refused`."""
    try:
        return "damaged" if problems_of(read_bundle(str(path))) else "ok"
    except CliError as error:
        return "refused" if error.exit_code in (65, 66) else f"exit {error.exit_code}"


@pytest.mark.parametrize("form", ["tar", "tar.gz", "directory"])
def test_a_whole_bundle_verifies_in_each_form(tmp_path: Path, form: str) -> None:
    """A directory, a tar and a compressed tar are the same bundle."""
    path = tmp_path / "b"
    if form == "directory":
        path.mkdir()
        for name, data in files().items():
            (path / name).write_bytes(data)
    else:
        data = packed(files())
        path.write_bytes(gzip.compress(data) if form == "tar.gz" else data)
    assert verdict(path) == "ok"


@pytest.mark.parametrize("name", ["../up", "/abs", "a/b", ".hidden", "..", "a\nb", ""])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    """No archive writes or reads outside of itself."""
    path = tmp_path / "b"
    path.write_bytes(packed({**files(), name: b"x"}))
    assert verdict(path) == "refused"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    """Only regular files are taken from an archive or a directory."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    path = tmp_path / "b"
    path.write_bytes(raw.getvalue())
    assert verdict(path) == "refused"
    directory = tmp_path / "d"
    directory.mkdir()
    os.symlink("/etc/passwd", directory / "manifest.json")
    assert verdict(directory) == "refused"


def test_a_bomb_is_refused_by_what_it_claims(tmp_path: Path) -> None:
    """A header that promises more than the bound ends the reading before anything grows."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo("big")
        member.size = FILE_BYTES_MAX + 1
        raw.write(member.tobuf(tarfile.GNU_FORMAT))
        tar.offset = raw.tell()
    path = tmp_path / "b"
    path.write_bytes(gzip.compress(raw.getvalue() + bytes(1 << 20)))
    assert verdict(path) == "refused"


def test_a_summary_takes_no_shape_for_granted() -> None:
    """Files that are valid JSON of another shape are summarised without a crash."""
    odd = {"manifest.json": b"{}", "spec_validation.json": b"[]", "single_ring_snapshot.json": b"3"}
    assert summary(odd)
    assert dict(summary(files()))["validation"] == [("invalid", "x")]
