"""Bringing a bundle here: made by the daemon, read in pieces, checked, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING

from byteorctl.bundle.archive import unpack
from byteorctl.errors import CallError, CliError, Plain
from byteorctl.exit_codes import Exit
from byteorctl.files import OutputFile, unwritable

if TYPE_CHECKING:
    from byteorctl.client import Client

RESUMES_MAX = 4
RESUME_PAUSE_S = 0.25
"""Before a transfer goes on after a cut; doubles with each one in a row."""


def fetch(client: Client, made: Plain, out: str) -> int:
    """Write the bundle `made` to `out`: NAME.tar, NAME.tar.gz, else a directory; return its bytes.

    Raises CliError: 65 when what arrived is not what was made.
    """
    place = os.path.dirname(os.path.abspath(out))
    try:
        with tempfile.TemporaryDirectory(prefix=".byteor-bundle-", dir=place) as directory:
            archive = os.path.join(directory, "bundle.tar")
            _download(client, made, archive)
            if out.endswith((".tar.gz", ".tgz")):
                _compress(archive, out)
            elif out.endswith(".tar"):
                _copy(archive, out)
            else:
                _unpack(archive, directory, out)
    except OSError as error:
        raise unwritable("bundle", out, error) from error
    return int(made["size_bytes"])


def _download(client: Client, made: Plain, path: str) -> None:
    """Fetch the archive; after a cut go on where it was, as long as each try brings something."""
    digest, offset, cuts = hashlib.sha256(), 0, 0
    with open(path, "wb") as file:
        while True:
            before = offset
            try:
                for data in client.read_bundle(made["bundle_id"], offset):
                    file.write(data)
                    digest.update(data)
                    offset += len(data)
                break
            except CallError as error:
                cuts = 1 if offset > before else cuts + 1
                if error.status != "UNAVAILABLE" or cuts > RESUMES_MAX:
                    raise
                time.sleep(RESUME_PAUSE_S * 2 ** (cuts - 1))
    if digest.hexdigest() != made["sha256"]:
        raise CliError(
            f"bundle {made['bundle_id']}: seen SHA-256 {digest.hexdigest()}; "
            f"wanted {made['sha256']}: fetch it again",
            Exit.DATA,
        )


def _copy(archive: str, out: str) -> None:
    sink = OutputFile(out, "bundle")
    try:
        with open(archive, "rb") as file:
            while data := file.read(1 << 20):
                sink.write(data)
        sink.commit()
    finally:
        sink.discard()


def _compress(archive: str, out: str) -> None:
    """Compress without a name or a time in it, so that equal bundles are equal files."""
    packed = f"{archive}.gz"
    with (
        open(packed, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as zipped,
        open(archive, "rb") as file,
    ):
        shutil.copyfileobj(file, zipped, 1 << 20)
    _copy(packed, out)


def _unpack(archive: str, directory: str, out: str) -> None:
    """Make the directory `out` at once; one that is there already is left alone."""
    unpacked = os.path.join(directory, "bundle")
    os.mkdir(unpacked, 0o700)
    unpack(archive, unpacked)
    os.rename(unpacked, out)
