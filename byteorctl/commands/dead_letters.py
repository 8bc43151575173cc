"""`byteorctl dead-letters`: the messages that actions of a run could not deliver."""

from __future__ import annotations

import base64

import click

from byteorctl.app import App, example, shared_options
from byteorctl.errors import CliError, Plain
from byteorctl.exit_codes import Exit
from byteorctl.files import OutputFile
from byteorctl.output.formats import emit
from byteorctl.output.quantities import count
from byteorctl.output.screen import Screen

FRAMINGS = ("lines", "length_prefixed")
LENGTH_BYTES = 4


@click.command("dead-letters", epilog=example("byteorctl dead-letters alarms --output again.txt"))
@click.argument("run", metavar="RUN")
@click.option(
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Write the messages there, as `run --input` reads them.",
)
@click.option(
    "--framing",
    type=click.Choice(FRAMINGS),
    default="lines",
    help="How messages are told apart in FILE: as in adapters [default: lines].",
)
@shared_options
def command(app: App, run: str, *, output: str | None, framing: str) -> int:
    """Get back the messages that actions of a run could not deliver.

    Those are messages for which an action was given up, and those that were set aside while the run
    had no lease (`effects.on_lease_lost = "dead_letter"`), of a run live or ended, each once. One
    that was delivered in the end is not among them. Needs the role operator and the grant to see
    payloads, and is written down in the audit log. Sent again by another run, a message has another
    idempotency key.
    """
    letters: list[Plain] = []
    with app.connect() as client:
        for some in client.dead_letters(run):
            letters += some
    if output is not None:
        _write(output, framing, letters)
    rows = [
        {
            **each,
            "payload": base64.b64encode(each["payload"]).decode(),
            "bytes": len(each["payload"]),
        }
        for each in letters
    ]
    emit(app.format, {"letters": rows}, lambda screen: _show(screen, rows), items="letters")
    return Exit.OK


def _write(path: str, framing: str, letters: list[Plain]) -> None:
    file = OutputFile(path, "output")
    try:
        for each in letters:
            file.write(_framed(each, framing))
        file.commit()
    finally:
        file.discard()


def _framed(letter: Plain, framing: str) -> bytes:
    payload: bytes = letter["payload"]
    if framing == "length_prefixed":
        return len(payload).to_bytes(LENGTH_BYTES, "little") + payload
    if b"\n" in payload:
        raise CliError(
            f"dead letter {letter['sequence']} of {letter['role']}: has a line end in it; "
            "wanted --framing length_prefixed",
            Exit.USAGE,
        )
    return payload + b"\n"


def _show(screen: Screen, rows: list[Plain]) -> None:
    screen.table(
        ["role", "#sequence", "#bytes", "to", "why", "key"],
        [
            [
                each["role"],
                str(each["sequence"]),
                count(each["bytes"]),
                each["target"],
                each["why"],
                each["key"],
            ]
            for each in rows
        ],
    )
