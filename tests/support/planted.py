"""Secrets for tests to plant, and the search for them in everything that left a host.

A secret is sought as it is, its middle alone, and as encodings carry it: base64 in each alignment,
hex, JSON, percent, Python's repr.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

CORE_MARGIN = 3
"""Characters at either end of a secret that a rule may leave."""


def forms(text: str) -> set[bytes]:
    """Return what a secret looks like in bytes, however they were made of it."""
    core = text[CORE_MARGIN:-CORE_MARGIN]
    return {form for each in (text, core) for form in _forms(each)}


def _forms(text: str) -> Iterator[bytes]:
    data = text.encode()
    yield data
    yield data[::-1]
    yield data.hex().encode()
    yield data.hex().upper().encode()
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield repr(text)[1:-1].encode()
    yield repr(data)[2:-1].encode()
    yield urllib.parse.quote(text, safe="").encode()
    yield urllib.parse.quote_plus(text).encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for pad in range(3):
            whole = encode(bytes(pad) + data)
            yield whole[4 if pad else 0 : -4]
    yield base64.b32encode(data)[:-8]
    yield data.decode().encode("utf-16-le")


def found_in(content: bytes, secrets: Iterable[str]) -> list[str]:
    """Return which secrets stand in a content, with what stands around them."""
    found = []
    for secret in secrets:
        for form in forms(secret):
            at = content.find(form)
            if at >= 0:
                found.append(f"{secret}: {content[max(0, at - 80) : at + 80]!r}")
                break
    return found


def leaks(where: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Return every secret, by what it is, that stands in something that was seen."""
    return [
        f"{kind} in {name}: {seen}"
        for name, content in where.items()
        for kind, secret in secrets.items()
        for seen in found_in(content, [secret])
    ]


def files_of(directory: Path, under: str) -> dict[str, bytes]:
    """Return the files of a directory by name, names among the contents, unpacked where packed."""
    found: dict[str, bytes] = {}
    for path in sorted(directory.rglob("*")):
        name = f"{under}/{path.relative_to(directory)}"
        found[f"name of {name}"] = name.encode()
        if path.is_file():
            data = path.read_bytes()
            found[name] = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return found


def archive_of(path: Path) -> dict[str, bytes]:
    """Return an archive as it is, unpacked, and what its members hold."""
    raw = path.read_bytes()
    bare = gzip.decompress(raw)
    found = {path.name: raw, f"{path.name} unpacked": bare}
    with tarfile.open(fileobj=io.BytesIO(bare)) as tar:
        for member in tar:
            held = tar.extractfile(member)
            found[f"{path.name}/{member.name}"] = held.read() if held else b""
    return found
