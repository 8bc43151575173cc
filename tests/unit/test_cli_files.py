"""Files of the client: documents, outputs, the chunks of an input, which ends it serves."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import google_crc32c
import pytest

from byteorctl.commands.snapshot import assemble
from byteorctl.endpoints import ClientEnds, client_ends
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.feed import CHUNK_BYTES_MAX, Feeder, InputChunk
from byteorctl.files import (
    DocumentFile,
    OutputFile,
    find_deployment,
    open_input,
    read_document,
    write_whole,
)

SPEC = b"""
[[endpoints]]
name = "in"
kind = "ingress"
[[endpoints]]
name = "out"
kind = "egress"
"""
SPEC_KV = b"""
endpoints.0.kind=ingress
endpoints.0.name=in
endpoints.1.kind=egress
endpoints.1.name=out
"""


def test_missing_documents_exit_66(tmp_path: Path) -> None:
    """A path that is not there is named, with what was wanted."""
    with pytest.raises(
        CliError, match=r"spec .*none\.toml: cannot be read \(No such file"
    ) as caught:
        read_document("spec", str(tmp_path / "none.toml"))
    assert caught.value.exit_code == Exit.NO_INPUT


def test_a_directory_is_no_document(tmp_path: Path) -> None:
    """A directory in place of a file is bad input of the same kind."""
    with pytest.raises(CliError) as caught:
        read_document("spec", str(tmp_path))
    assert caught.value.exit_code == Exit.NO_INPUT


def test_oversize_documents_are_cut_just_above_the_limit(tmp_path: Path) -> None:
    """Two MiB of junk reach the daemon as one byte too many, not as two MiB."""
    path = tmp_path / "spec.toml"
    path.write_bytes(b"x" * (2 << 20))
    assert len(read_document("spec", str(path)).content) == (1 << 20) + 1


def test_the_deployment_beside_the_spec_is_found(tmp_path: Path) -> None:
    """`deployment.toml` beside the spec is taken unless another is named."""
    spec = DocumentFile(str(tmp_path / "spec.toml"), SPEC)
    assert find_deployment(spec, None) is None
    (tmp_path / "deployment.toml").write_bytes(b"beside")
    (tmp_path / "other.toml").write_bytes(b"other")
    beside = find_deployment(spec, None)
    other = find_deployment(spec, str(tmp_path / "other.toml"))
    assert beside is not None
    assert other is not None
    assert (beside.content, other.content) == (b"beside", b"other")


@pytest.mark.parametrize(
    ("deployment", "overrides", "wanted"),
    [
        (None, {}, (True, True)),
        (None, {"tuning.wait": "spin"}, (True, True)),
        (None, {"adapters.in.kind": "generator"}, (False, True)),
        (b'[adapters.in]\nkind = "stdin"\n[adapters.out]\nkind = "stdout"\n', {}, (True, True)),
        (b'[adapters.in]\nkind = "stream"\n[adapters.out]\nkind = "file"\n', {}, (True, False)),
        (b'[adapters.in]\nkind = "udp"\n[adapters.out]\nkind = "udp"\n', {}, (False, False)),
        (b'[adapters.in]\nkind = "stdin"\n', {"adapters.in.kind": "udp"}, (False, False)),
        (b"\xff not a document", {}, (False, False)),
    ],
)
@pytest.mark.parametrize(("name", "spec"), [("spec.toml", SPEC), ("spec.kv", SPEC_KV)])
def test_which_ends_the_client_serves(
    name: str,
    spec: bytes,
    deployment: bytes | None,
    overrides: dict[str, str],
    wanted: tuple[bool, bool],
) -> None:
    """Ends bound to stdin, stdout or stream are the client's, in TOML and KV alike."""
    file = None if deployment is None else DocumentFile("deployment.toml", deployment)
    assert client_ends(DocumentFile(name, spec), file, overrides) == ClientEnds(*wanted)


def test_output_gets_its_name_only_when_committed(tmp_path: Path) -> None:
    """Until commit the old content stands; afterwards the new one, whole, with the old mode."""
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(0o640)
    output = OutputFile(str(path))
    output.write(b"new ")
    output.write(b"content")
    assert path.read_bytes() == b"old"
    output.commit()
    output.discard()
    assert path.read_bytes() == b"new content"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["out"]


def test_discarded_output_leaves_nothing(tmp_path: Path) -> None:
    """A run that failed leaves neither a partial file nor a temporary one."""
    output = OutputFile(str(tmp_path / "out"))
    output.write(b"half")
    output.discard()
    assert os.listdir(tmp_path) == []


def test_output_through_a_link_replaces_its_target(tmp_path: Path) -> None:
    """A symbolic link stays a link."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(str(tmp_path / "link"), [b"x"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"


def test_devices_are_written_through() -> None:
    """`/dev/null` is written to, never replaced."""
    output = OutputFile("/dev/null")
    output.write(b"x")
    output.commit()
    assert output.write_through
    assert not os.path.isfile("/dev/null")


def test_output_in_a_missing_directory_exits_66(tmp_path: Path) -> None:
    """The message says what is wanted of the path."""
    with pytest.raises(CliError, match="wanted a path in an existing directory") as caught:
        OutputFile(str(tmp_path / "no" / "out"))
    assert caught.value.exit_code == Exit.NO_INPUT


def test_a_full_disk_exits_75() -> None:
    """Writing where nothing fits is worth trying again later."""
    output = OutputFile("/dev/full")
    with pytest.raises(CliError, match="No space left") as caught:
        output.write(b"x")
    output.discard()
    assert caught.value.exit_code == Exit.TRY_AGAIN


@pytest.mark.parametrize("total", [0, 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 3 * CHUNK_BYTES_MAX])
def test_input_is_chunked_gapless_with_length_and_crc(tmp_path: Path, total: int) -> None:
    """Chunks of at most 1 MiB follow each other without gap; the end mark speaks of the whole."""
    content = os.urandom(total)
    (tmp_path / "in").write_bytes(content)
    chunks = _all_chunks(open_input(str(tmp_path / "in")))
    *data, end = chunks
    assert b"".join(chunk.data for chunk in data) == content
    assert all(0 < len(chunk.data) <= CHUNK_BYTES_MAX and not chunk.end for chunk in data)
    assert [chunk.offset for chunk in data] == [
        sum(len(c.data) for c in data[:i]) for i in range(len(data))
    ]
    assert end == InputChunk(b"", total, end=True, crc32c=google_crc32c.value(content))


def test_a_pipe_is_read_as_it_fills() -> None:
    """What a slow producer wrote goes out at once, not when a chunk is full."""
    read, write = os.pipe()
    feeder = Feeder(read)
    iterator = iter(feeder)
    os.write(write, b"first")
    assert next(iterator).data == b"first"
    os.write(write, b"second")
    assert next(iterator).data == b"second"
    os.close(write)
    assert next(iterator).end
    assert feeder.ended
    feeder.close()


def test_cancel_ends_a_feed_that_waits() -> None:
    """A run that ended does not wait for a terminal; no end mark is sent."""
    read, write = os.pipe()
    feeder = Feeder(read)
    seen: list[InputChunk] = []
    thread = threading.Thread(target=lambda: seen.extend(feeder))
    thread.start()
    feeder.cancel()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert (seen, feeder.ended) == ([], False)
    os.close(write)
    feeder.close()


def test_a_directory_is_no_input(tmp_path: Path) -> None:
    """A directory as input is refused before anything starts."""
    with pytest.raises(CliError, match="is a directory") as caught:
        open_input(str(tmp_path))
    assert caught.value.exit_code == Exit.NO_INPUT


def test_read_errors_are_kept_and_no_end_mark_is_sent(tmp_path: Path) -> None:
    """An input that cannot be read on ends without its end mark: no run takes it for whole."""
    fd = os.open(tmp_path, os.O_RDONLY)
    feeder = Feeder(fd)
    assert list(feeder) == []
    assert feeder.error is not None
    assert not feeder.ended
    feeder.close()


def _all_chunks(fd: int) -> list[InputChunk]:
    feeder = Feeder(fd)
    chunks = list(feeder)
    feeder.close()
    return chunks


def _snapshot_chunks(parts: list[bytes]) -> list[Any]:
    crc, chunks, digest = 0, [], hashlib.sha256()
    for number, part in enumerate(parts):
        crc = google_crc32c.extend(crc, part)
        digest.update(part)
        last = number == len(parts) - 1
        chunks.append(
            SimpleNamespace(data=part, crc32c=crc, sha256=digest.digest() if last else b"")
        )
    return chunks


def test_snapshot_is_joined_when_all_digests_are_right() -> None:
    """The whole is what was sent."""
    assert assemble(_snapshot_chunks([b'{"a"', b": 1}"])) == b'{"a": 1}'


@pytest.mark.parametrize("damage", ["data", "cut", "digest"])
def test_damaged_snapshots_exit_65(damage: str) -> None:
    """A flipped byte, a missing end, a wrong digest: never shown as good."""
    chunks = _snapshot_chunks([b'{"a"', b": 1}"])
    if damage == "data":
        chunks[0].data = b'{"b"'
    elif damage == "cut":
        chunks.pop()
    else:
        chunks[-1].sha256 = bytes(32)
    with pytest.raises(CliError, match="damaged on its way") as caught:
        assemble(chunks)
    assert caught.value.exit_code == Exit.DATA
