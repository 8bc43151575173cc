"""`byteorctl tap`: live messages of a lane."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from byteorctl.app import App, example, shared_options, timeout_option
from byteorctl.errors import Plain
from byteorctl.exit_codes import Exit
from byteorctl.output.formats import Format, render, write
from byteorctl.output.payload import Decoder, decoder

if TYPE_CHECKING:
    from byteorctl.client_values import TapBatch, TappedMessage

LOWEST = 19


def _decoder(_: click.Context, __: click.Parameter, form: str) -> Decoder:
    try:
        return decoder(form)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    "tap",
    epilog=example(
        "byteorctl tap es-trades ring-0 --as struct:<BBHIQQqI --limit 10",
        "byteorctl tap market-fanout trades --contains T",
        "byteorctl tap market-fanout report-in --limit 1 --timeout 5 || echo nothing passes",
    ),
)
@click.argument("run", metavar="RUN")
@click.argument("lane", metavar="LANE")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="End after so many messages."
)
@click.option(
    "--contains",
    default="",
    metavar="TEXT",
    help="Only messages that contain this; hex:... for bytes.",
)
@click.option(
    "--as",
    "decode",
    default="text",
    callback=_decoder,
    metavar="FORM",
    help="text, hex, or struct:FORMAT as in Python [default: text].",
)
@timeout_option(
    None, "End after so long, whatever was shown; 124 if that is fewer than --limit asked for."
)
@shared_options
def command(
    app: App,
    run: str,
    lane: str,
    *,
    limit: int | None,
    contains: str,
    decode: Decoder,
    timeout_s: float | None,
) -> int:
    """Show messages of a lane as they pass.

    The run does not wait for it. It is a sample for people: up to 200 messages and 1 MiB a second
    (with --contains 8 times as much is searched), at the lowest priority. The rest is skipped, and
    the number said at the end.
    LANE is a lane of a LaneGraph, or ring-0, ring-1, ... of a SingleRing run. Messages are shown
    through the data protection rules of the run; outside dev, and to who may not see payloads,
    the SHA-256 of each is shown. Ends with the run, after --limit messages, after --timeout
    seconds, or by Ctrl-C; where nothing passes, --limit alone waits.
    """
    last: TapBatch | None = None
    shown = 0
    with app.connect() as client:
        try:
            for batch in client.tap_lane(
                run, lane, contains=_needle(contains), limit=limit or 0, timeout_s=timeout_s
            ):
                for message in batch.messages:
                    write(_line(app.format, message, batch, decode))
                shown += len(batch.messages)
                if last is None:
                    _step_back()
                last = batch
        except KeyboardInterrupt:
            click.echo("", err=True)
    missed, filtered = (last.missed, last.filtered) if last is not None else (0, 0)
    said = f"byteorctl: {shown:,} shown, {missed:,} skipped, {filtered:,} filtered out"
    if last is not None and last.withheld:
        said += f", {last.withheld:,} withheld: they fit no schema of the data protection rules"
    click.echo(said, err=True)
    late = last is not None and last.timed_out
    return Exit.DEADLINE if late and limit is not None and shown < limit else Exit.OK


def _step_back() -> None:
    """Give every thread of this process the lowest priority: the run may need all CPUs.

    After the tap is open: threads that begin later inherit it. A thread may end meanwhile.
    """
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError):
            os.sched_setscheduler(int(task), os.SCHED_BATCH, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, int(task), LOWEST)


def _needle(text: str) -> bytes:
    if not text.startswith("hex:"):
        return text.encode()
    try:
        return bytes.fromhex(text[4:])
    except ValueError as error:
        raise click.UsageError(f"--contains {text}: wanted hex: and pairs of digits") from error


def _line(chosen: Format, message: TappedMessage, batch: TapBatch, decode: Decoder) -> str:
    text = f"sha256:{message.payload.hex()}" if batch.digests else decode(message.payload)
    if chosen.for_people:
        where = f"{message.stripe}/{message.sequence}" if message.stripe else str(message.sequence)
        return f"{where:>10}  {text}\n"
    data: Plain = {
        "sequence": message.sequence,
        "stripe": message.stripe,
        "time_ns": message.time_ns,
        "type": message.type,
        "payload": text,
    }
    return render(Format("jsonl") if chosen.kind == "json" else chosen, data)
