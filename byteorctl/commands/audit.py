"""`byteorctl audit`: verify and read the audit log."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.errors import Plain
from byteorctl.exit_codes import Exit
from byteorctl.output.formats import emit

if TYPE_CHECKING:
    from byteor.trust.audit_log import Record
    from byteorctl.audit.copy import LogCopy

SHOWN = 50
VALUE_CHARACTERS_MAX = 160
_HIDDEN = ("code", "decisions", "spec_hash", "deployment_hash", "sig", "actions")


@click.group(
    "audit",
    epilog=example(
        "byteorctl audit tail --follow",
        "byteorctl audit export --out audit-copy",
        "byteorctl audit verify audit-copy --key host.pub",
    ),
)
def command() -> None:
    """Verify and read the audit log.

    Each record names the hash of the one before it; the host signs checkpoints. Keep the host's
    public key, and now and then a checkpoint, away from the host: with them a copy of the log
    proves itself anywhere.
    """


_KEY = click.option(
    "--key", type=click.Path(), metavar="PATH",
    help="Public key of the host [default: host.pub beside the log, or the daemon's].",
)  # fmt: skip


@command.command("verify", epilog=example("byteorctl audit verify audit-copy --key host.pub"))
@click.argument("path", type=click.Path(), metavar="[PATH]", required=False)
@_KEY
@click.option("--checkpoint", type=click.Path(), metavar="PATH",
              help="Checkpoint kept elsewhere [default: head.json beside the log].")  # fmt: skip
@call_timeout
@shared_options
def verify(
    app: App, *, path: str | None, key: str | None, checkpoint: str | None, timeout_s: float
) -> int:
    """Check that a log is whole and untouched up to its last checkpoint.

    PATH is a directory of segments or one file; without it the daemon's log is read. Says how long
    the tail is that no checkpoint covers yet. Exit 1 if anything is wrong.
    """
    from byteorctl.audit.copy import verified

    verdict = verified(_copy(app, path, key, checkpoint, timeout_s))
    answer: Plain = {"ok": verdict.ok, **asdict(verdict)}

    def show(screen: Any) -> None:
        for each in answer["problems"]:
            screen.line(f"{each['code']} {each['file']}:{each['line']}: {each['message']}")
        screen.fields(
            [
                ("log", "verified" if verdict.ok else "does not verify"),
                ("records", f"{verdict.records}, {verdict.first} to {verdict.last}"),
                ("covered", f"to {verdict.covered} by {verdict.checkpoints} checkpoints"),
                ("tail", f"{verdict.tail} records, since {verdict.tail_since or 'none'}"),
            ]
        )

    emit(app.format, answer, show, items="problems")
    return Exit.OK if verdict.ok else Exit.FAILED


def _copy(
    app: App, path: str | None, key: str | None, checkpoint: str | None, timeout_s: float
) -> LogCopy:
    from byteorctl.audit.copy import from_daemon, from_files

    if path is not None:
        return from_files(path, key, checkpoint)
    if checkpoint is not None:
        raise click.UsageError("--checkpoint: goes with a PATH")
    with app.connect() as client:
        parts = client.read_audit(timeout_s=timeout_s)
        return from_daemon(parts, key)


@command.command("show", epilog=example("byteorctl audit show --kind denied -o jsonl"))
@click.argument("path", type=click.Path(), metavar="[PATH]", required=False)
@click.option("--last", default=SHOWN, type=click.IntRange(0), metavar="N",
              help=f"The last N records; 0: all [default: {SHOWN}].")  # fmt: skip
@click.option("--from", "first", default=0, type=click.IntRange(0), metavar="SEQUENCE",
              help="From this record on.")  # fmt: skip
@click.option("--kind", metavar="KIND", help="Only records of this kind, for example denied.")
@call_timeout
@shared_options
def show(app: App, path: str | None, *, kind: str | None, **asked: Any) -> None:
    """Show records of a log, oldest first.

    PATH is a copy; without it the daemon's log is read. `verify` tells whether it can be believed.
    """
    records = list(_records(app, path, asked))
    chosen = [each for each in records if kind in (None, each.kind)]
    rows = [_plain(each) for each in chosen]
    emit(app.format, {"records": rows}, lambda screen: _draw(screen, rows), items="records")


def _records(app: App, path: str | None, asked: Plain) -> list[Record]:
    from byteor.trust.audit_log import parse_record
    from byteorctl.approve.files import trusted
    from byteorctl.audit.copy import from_files

    first, last = asked["first"], 0 if asked["first"] else asked["last"]
    if path is not None:
        segments = from_files(path, None, None).segments
        lines = [line for segment in segments for line in segment.lines]
        lines = lines[-last:] if last else lines
    else:
        with app.connect() as client:
            parts = client.read_audit(first=first, last=last, timeout_s=asked["timeout_s"])
            lines = [line for part in parts for line in part["lines"]]
    with trusted():
        found = [parse_record(line) for line in lines]
    return [each for each in found if each.sequence >= first]


def _plain(record: Record) -> Plain:
    return {"seq": record.sequence, "at": record.at, "kind": record.kind, **record.data}


def _draw(screen: Any, rows: list[Plain]) -> None:
    screen.table(["#seq", "at", "kind", "what"], [_row(row) for row in rows])


def _row(row: Plain) -> list[str]:
    facts = (
        f"{name}={_short(value)}"
        for name, value in row.items()
        if name not in ("seq", "at", "kind", *_HIDDEN) and value not in ("", [], {}, None)
    )
    return [str(row["seq"]), f"{row['at'][:19]}Z", row["kind"], " ".join(facts)]


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}..."


@command.command("tail", epilog=example("byteorctl audit tail --follow"))
@click.option("--last", default=10, type=click.IntRange(1), metavar="N",
              help="Begin with the last N records [default: 10].")  # fmt: skip
@click.option("--follow", is_flag=True, help="Go on with records as they are written.")
@shared_options
def tail(app: App, *, last: int, follow: bool) -> None:
    """Show the last records of the daemon's log, and with --follow those to come."""
    from byteor.trust.audit_log import parse_record
    from byteorctl.output.formats import render, write

    with app.connect() as client:
        for part in client.read_audit(last=last, follow=follow, timeout_s=None):
            for line in part["lines"]:
                row = _plain(parse_record(line))
                if app.format.for_people:
                    click.echo("  ".join(_row(row)))
                else:
                    write(render(app.format, row))


@command.command("export", epilog=example("byteorctl audit export --out audit-copy"))
@click.option("--out", required=True, type=click.Path(), metavar="DIR", help="Directory to make.")
@call_timeout
@shared_options
def export(app: App, *, out: str, timeout_s: float) -> int:
    """Copy the daemon's log, its last checkpoint and its public key into a directory.

    `audit verify DIR` checks it anywhere. Exit 1 if the copy does not verify.
    """
    from byteorctl.audit.copy import export as write_copy
    from byteorctl.audit.copy import verified

    copy = _copy(app, None, None, None, timeout_s)
    write_copy(copy, out)
    verdict = verified(copy)
    answer: Plain = {"ok": verdict.ok, "directory": out, "records": verdict.records}
    text = f"{out}: {verdict.records} records, {'verified' if verdict.ok else 'does not verify'}"
    emit(app.format, answer, lambda screen: screen.line(text))
    return Exit.OK if verdict.ok else Exit.FAILED
