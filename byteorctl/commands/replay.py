"""`byteorctl replay`: captured input run again."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from byteorctl.app import App, example, shared_options
from byteorctl.exit_codes import Exit
from byteorctl.files import OutputFile, find_deployment, read_document, write_whole
from byteorctl.output.formats import emit
from byteorctl.output.payload import Decoder, decoder
from byteorctl.output.replay_view import show_replay

if TYPE_CHECKING:
    from byteorctl.client import Client
    from byteorctl.errors import Plain
    from byteorctl.files import DocumentFile

NS_PER_S = 1_000_000_000
UPLOAD_TIMEOUT_S = 3600.0
FAIL_ON = {"different": ("different",), "not-comparable": ("different", "not_comparable")}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    source: str
    spec: DocumentFile | None
    deployment: DocumentFile | None
    output: str | None
    fields: dict[str, Any]
    """Further fields of ReplayRequest."""


def _time(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        if text.replace(".", "", 1).isdigit():
            return int(float(text) * NS_PER_S)
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r}; wanted seconds since the epoch, or a time like 2026-11-28T08:00:00Z"
        ) from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * NS_PER_S)


def _decoder(_: click.Context, __: click.Parameter, form: str) -> Decoder:
    try:
        return decoder(form)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    "replay",
    epilog=example(
        "byteorctl replay es-trades --last 10000",
        "byteorctl replay incident.tar.gz --trust-code --step 14321",
        "byteorctl replay captures/018f3a1b2c-4d5e6f --spec fixed/spec.toml --until-divergence",
    ),
)
@click.argument("source", metavar="SOURCE")
@click.option(
    "--spec",
    type=click.Path(),
    metavar="PATH",
    help="Another spec than the recorded; a journal has none, so it needs one.",
)
@click.option(
    "--deployment",
    type=click.Path(),
    metavar="PATH",
    help="Another deployment than the recorded one.",
)
@click.option(
    "--lane",
    default="",
    metavar="LANE",
    help="Of a run: the journal of this durable lane instead of its capture.",
)
@click.option(
    "--ingress", default="", metavar="NAME", help="Which ingress a journal feeds, or --step is of."
)
@click.option(
    "--from-sequence",
    type=click.IntRange(min=0),
    metavar="N",
    help="First message, counted from 0.",
)
@click.option(
    "--to-sequence", type=click.IntRange(min=0), metavar="N", help="Last message, included."
)
@click.option("--from-time", callback=_time, metavar="TIME", help="Nothing that came before it.")
@click.option("--to-time", callback=_time, metavar="TIME", help="Nothing that came after it.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N of these.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="X",
    help="1: with the pauses that there were; 10: ten times as fast; 0, the default: at once.",
)
@click.option("--until-divergence", is_flag=True, help="Stop at the first difference.")
@click.option(
    "--step",
    type=click.IntRange(min=0),
    metavar="SEQUENCE",
    help="Run up to this message and show it before and after each stage.",
)
@click.option("--output", type=click.Path(), metavar="PATH", help="Write what leaves; -: here.")
@click.option("--audit", type=click.Path(), metavar="PATH", help="Write the audit of the replay.")
@click.option("--execute", is_flag=True, help="Do side effects for real, if all of policy allows.")
@click.option("--approval", type=click.Path(), metavar="PATH", help="Approval, for --execute.")
@click.option(
    "--max-actions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after N attempted actions; never more than the daemon allows (10,000).",
)
@click.option(
    "--max-input",
    type=click.IntRange(min=1),
    metavar="BYTES",
    help="Stop after so much of the input; never more than the daemon allows (128 MiB).",
)
@click.option("--trust-code", is_flag=True, help="Run the stages' code that SOURCE carries.")
@click.option(
    "--code-dir",
    "code_dirs",
    multiple=True,
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Where a private byteord takes code from, besides the spec's directory.",
)
@click.option("--no-payloads", is_flag=True, help="Tell payloads by their digests.")
@click.option(
    "--check",
    is_flag=True,
    help="Only read it through, and say what would be replayed and whether it may.",
)
@click.option(
    "--fail-on",
    type=click.Choice(list(FAIL_ON)),
    default="different",
    help="Which verdicts give exit 1 [default: different].",
)
@click.option(
    "--as",
    "decode",
    default="text",
    callback=_decoder,
    metavar="FORM",
    help="Payloads as text, hex, or struct:FORMAT as in Python [default: text].",
)
@shared_options
def command(app: App, source: str, **given: Any) -> int:
    """Run captured input again and compare what leaves.

    SOURCE is the directory of a capture or of a journal, an incident bundle, or a run of the daemon
    that was captured. It runs dry: stages and adapters with side effects write down what they would
    do. The verdict is equal, different or not comparable, with the reasons; of the first difference
    it says where it left, which message it came from and which stage made it. Every replay leaves
    an audit, a refused one too.
    """
    wanted = _wanted(source, given)
    directories = [*given["code_dirs"]]
    directories += [wanted.spec.directory] if wanted.spec is not None else []
    with app.connect(private=list(dict.fromkeys(map(os.path.abspath, directories)))) as client:
        result = _replay(client, wanted)
    audit = result.pop("audit")
    if given["audit"] is not None:
        write_whole(given["audit"], [audit.encode()], "audit")
    failed = result["failure"] is not None or result["stopped_by"] == "actions_limit"
    to_stderr = wanted.output == "-" and app.format.for_people

    def show(screen: Any) -> None:
        from byteorctl.output.screen import Screen

        show_replay(Screen(sys.stderr) if to_stderr else screen, result, given["decode"])

    emit(app.format, result, show)
    return Exit.FAILED if failed or result["verdict"] in FAIL_ON[given["fail_on"]] else Exit.OK


def _wanted(source: str, given: dict[str, Any]) -> Wanted:
    spec = read_document("spec", given["spec"]) if given["spec"] is not None else None
    deployment = None
    if given["deployment"] is not None:
        deployment = read_document("deployment", given["deployment"])
    elif spec is not None:
        deployment = find_deployment(spec, None)
    approval = b""
    if given["approval"] is not None:
        approval = read_document("approval", given["approval"]).content
    bounds = {
        "from_sequence": given["from_sequence"],
        "to_sequence": given["to_sequence"],
        "from_unix_ns": given["from_time"],
        "to_unix_ns": given["to_time"],
        "last": given["last"],
    }
    fields = {
        "range": {name: value for name, value in bounds.items() if value is not None},
        "speed": given["speed"],
        "lane": given["lane"],
        "ingress": given["ingress"],
        "execute": given["execute"],
        "approval": approval,
        "actions_max": given["max_actions"] or 0,
        "input_bytes_max": given["max_input"] or 0,
        "until_divergence": given["until_divergence"],
        "client_output": given["output"] is not None,
        "trust_code": given["trust_code"],
        "payloads": not given["no_payloads"],
        "validate_only": given["check"],
    }
    if given["step"] is not None:
        fields["step"] = given["step"]
    return Wanted(source, spec, deployment, given["output"], fields)


def _replay(client: Client, wanted: Wanted) -> Plain:
    from byteorctl.replay.follow import follow
    from byteorctl.replay.source import is_local, pieces

    fields = dict(wanted.fields)
    if is_local(wanted.source):
        sent = client.upload_source(pieces(wanted.source), timeout_s=UPLOAD_TIMEOUT_S)
        fields["source_id"] = sent["source_id"]
    else:
        fields["run_id"] = wanted.source
    with contextlib.ExitStack() as stack:
        sink = None
        if wanted.output is not None:
            sink = OutputFile(wanted.output)
            stack.callback(sink.discard)
        stream = client.replay(wanted.spec, wanted.deployment, **fields)
        stack.callback(stream.cancel)
        return follow(client, stream, sink=sink, say=_progress)


def _progress(progress: Plain) -> None:
    """Say how far it is, on a terminal alone."""
    if not sys.stderr.isatty():
        return
    text = progress["phase"]
    if progress["phase"] == "replaying":
        text = f"{int(progress['replayed']):,} of {int(progress['selected']):,} messages"
    click.echo(f"\r\033[Kbyteorctl: {text}", nl=False, err=True)
    if progress["phase"] == "tracing":
        click.echo("", err=True)
