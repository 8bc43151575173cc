"""Bringing a bundle here: made by the daemon, read in pieces, checked, whole or not at all."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING

from byteorctl.bundle.archive import unpack
from byteorctl.bundle.partial import Partial
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

    Goes on with what an earlier client left of the same bundle for the same place, and leaves what
    arrived if it does not get done. Raises CliError: 65 when what arrived is not what was made.
    """
    size = int(made["size_bytes"])
    place = os.path.dirname(os.path.abspath(out))
    try:
        with Partial(out, made["bundle_id"], size) as partial:
            _download(client, made, partial)
            with tempfile.TemporaryDirectory(prefix=".byteor-bundle-", dir=place) as directory:
                _write_out(partial.path, directory, out)
            partial.remove()
    except OSError as error:
        raise unwritable("bundle", out, error) from error
    return size


def _write_out(archive: str, directory: str, out: str) -> None:
    if out.endswith((".tar.gz", ".tgz")):
        _compress(archive, directory, out)
    elif out.endswith(".tar"):
        _copy(archive, out)
    else:
        _unpack(archive, directory, out)


def _download(client: Client, made: Plain, partial: Partial) -> None:
    """Fetch the archive; what was there before is believed only if the digest is right with it."""
    had = partial.size
    _read_rest(client, made, partial)
    if had and partial.digest.hexdigest() != made["sha256"]:
        partial.begin_again()
        _read_rest(client, made, partial)
    seen = partial.digest.hexdigest()
    if seen != made["sha256"]:
        partial.begin_again()
        raise CliError(
            f"bundle {made['bundle_id']}: seen SHA-256 {seen}; wanted {made['sha256']}: fetch it "
            "again",
            Exit.DATA,
        )


def _read_rest(client: Client, made: Plain, partial: Partial) -> None:
    """Read to the end; after a cut go on where it was, as long as each try brings something."""
    cuts = 0
    while True:
        before = partial.size
        try:
            for data in client.read_bundle(made["bundle_id"], partial.size):
                partial.add(data)
        except CallError as error:
            cuts = 1 if partial.size > before else cuts + 1
            if error.status != "UNAVAILABLE" or cuts > RESUMES_MAX:
                raise
            time.sleep(RESUME_PAUSE_S * 2 ** (cuts - 1))
        else:
            return


def _copy(archive: str, out: str) -> None:
    sink = OutputFile(out, "bundle")
    try:
        with open(archive, "rb") as file:
            while data := file.read(1 << 20):
                sink.write(data)
        sink.commit()
    finally:
        sink.discard()


def _compress(archive: str, directory: str, out: str) -> None:
    """Compress without a name or a time in it, so that equal bundles are equal files."""
    packed = os.path.join(directory, "bundle.tar.gz")
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
