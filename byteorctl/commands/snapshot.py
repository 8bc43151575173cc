"""`byteorctl snapshot`: ring state straight from shared memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from byteorctl.app import App, call_timeout, example, offline_options, shared_options
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import write_whole
from byteorctl.output.formats import emit
from byteorctl.output.tree import show_tree

if TYPE_CHECKING:
    from byteorctl.client_values import SnapshotChunk


@click.command("snapshot", epilog=example("byteorctl snapshot es-trades --out snapshot.json"))
@click.argument("run", metavar="RUN")
@click.option(
    "--out",
    type=click.Path(),
    metavar="PATH",
    help="Write the JSON document there, whole or not at all.",
)
@offline_options
@call_timeout
@shared_options
def command(
    app: App,
    run: str,
    out: str | None,
    *,
    offline: bool,
    config: str | None,
    timeout_s: float,
) -> None:
    """Read the state of a run's rings from shared memory.

    Of a live, wedged or ended run: capacity, cursor, gating sequences, lag, who holds the ring,
    heartbeats, counters. The document's digest is verified. RUN is an id, or a name that only one
    live run has. With no daemon running, or with --offline, it is read from what the daemon left.
    """
    with app.connect_or_look(offline=offline, config=config) as client:
        document = assemble(client.snapshot_run(run, timeout_s=timeout_s))
    if out is not None:
        write_whole(out, [document], "snapshot")
        click.echo(f"byteorctl: wrote {len(document):,} bytes to {out}", err=True)
        return
    snapshot = json.loads(document)
    emit(app.format, snapshot, lambda screen: show_tree(screen, snapshot))


def assemble(chunks: Iterable[SnapshotChunk]) -> bytes:
    """Join the chunks; raises `CliError` (65) when a checksum or the digest is not right."""
    from byteorctl.checksum import Running

    running = Running()
    parts: list[bytes] = []
    digest = b""
    for chunk in chunks:
        parts.append(chunk.data)
        running.add(chunk.data)
        if chunk.crc32c != running.crc32c:
            raise _damaged(
                f"CRC32C {running.crc32c:08x} after {running.total_bytes} bytes",
                f"{chunk.crc32c:08x}",
            )
        digest = chunk.sha256
    document = b"".join(parts)
    seen = hashlib.sha256(document)
    if digest != seen.digest():
        raise _damaged(
            f"SHA-256 {seen.hexdigest()}",
            digest.hex() or "one in the last chunk: the stream was cut",
        )
    return document


def _damaged(seen: str, wanted: str) -> CliError:
    return CliError(
        f"snapshot: damaged on its way: seen {seen}, wanted {wanted}; try again", Exit.DATA
    )
