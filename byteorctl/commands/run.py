"""`byteorctl run`: start a run and stay with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from byteorctl.app import App, example, shared_options, timeout_option
from byteorctl.errors import CallError, Plain
from byteorctl.exit_codes import Exit
from byteorctl.files import (
    STDIO,
    DocumentFile,
    OutputFile,
    find_deployment,
    open_input,
    read_document,
)

if TYPE_CHECKING:
    from byteorctl.attached import Outcome
    from byteorctl.client import Client
    from byteorctl.client_values import StartRequest
    from byteorctl.feed import Feeder

START_TIMEOUT_S = 60.0
APPROVAL_NAME = "approval.cred"
NO_DAEMON_HINT = (
    "start byteord, or use `run --sp`, which brings a private one for the length of the call"
)
EXPLICIT_HINT = (
    "start byteord, or leave --address and BYTEOR_SOCKET out: then `run --sp` brings a private one"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of `run`, documents read; None as path: this client does not serve that end."""

    spec: DocumentFile
    deployment: DocumentFile | None
    input: str | None
    output: str | None
    single_process: bool
    overrides: dict[str, str]
    timeout_s: float | None
    approval: bytes = b""
    allow_effects: bool = False

    @property
    def directories(self) -> list[str]:
        """Directories that a private daemon may use."""
        return [file.directory for file in (self.spec, self.deployment) if file is not None]


def _settings(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Parse `--set key=value`."""
    overrides: dict[str, str] = {}
    for text in values:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{text!r}: wanted key=value, for example tuning.wait=spin")
        overrides[key] = value
    return overrides


@click.command(
    "run",
    epilog=example(
        "byteorctl run --sp deploy/examples/es-trades/spec.toml --input t.bin --output sum.jsonl"
    ),
)
@click.argument("spec", type=click.Path(), metavar="SPEC")
@click.option(
    "--deployment",
    type=click.Path(),
    metavar="PATH",
    help="Deployment [default: deployment.toml beside SPEC].",
)
@click.option(
    "--input",
    "input_",
    type=click.Path(),
    metavar="PATH",
    help="Feed the ingress from this file; - is standard input.",
)
@click.option(
    "--output",
    type=click.Path(),
    metavar="PATH",
    help="Take the egress into this file; - is standard output.",
)
@click.option(
    "--sp", is_flag=True, help="All in one worker process; brings a private byteord if none runs."
)
@click.option("--detach", is_flag=True, help="Print the run's id and leave it running.")
@click.option("--set", "overrides", multiple=True, callback=_settings, metavar="KEY=VALUE",
              help="Override a key of the deployment; may be repeated.")  # fmt: skip
@click.option(
    "--approval",
    type=click.Path(),
    metavar="FILE",
    help="Approval of its side effects [default: approval.cred beside SPEC].",
)
@click.option("--dry-run", is_flag=True, help="Write side effects down instead of doing them.")
@click.option(
    "--allow-effects", is_flag=True, help="With --sp: a private byteord does side effects too."
)
@click.option("--validate-only", is_flag=True, help="Check everything, start nothing.")
@timeout_option(
    None, "How long the run may take; then it is aborted, exit 124 [default: no limit]."
)
@shared_options
def command(app: App, *, spec: str, detach: bool, validate_only: bool, **given: Any) -> int:
    """Start a run and stay with it.

    Feeds the input, takes the output (which gets its name only when it is whole), and prints the
    figures on standard error at the end. Without --input and --output the deployment's adapters
    serve the ends; those bound to stdin, stdout or stream, and both ends when there is no
    deployment, are this client's standard input and output.

    Interrupt once to drain the run, twice to abort it. Exit 0 when it completed, 1 when it failed.
    """
    wanted = _wanted(_given(read_document("spec", spec), given))
    if detach:
        return _run_detached(app, wanted, validate_only=validate_only)
    if wanted.output == STDIO and not app.format.for_people and not validate_only:
        raise click.UsageError(
            f"-o {app.format.kind} and the run's output both want standard output; "
            "give --output PATH"
        )
    with _opened(wanted, nothing=validate_only) as (feeder, sink):
        sp = wanted.single_process
        private = wanted.directories if sp else None
        with (
            app.connect(
                private=private,
                hint=EXPLICIT_HINT if sp else NO_DAEMON_HINT,
                allow_effects=wanted.allow_effects,
                runs=0 if validate_only else 1,
                python=wanted.spec.names_python,
            ) as client,
            approval_hint(wanted),
        ):
            if validate_only:
                return _check(app, client, wanted)
            return _run_attached(app, client, wanted, feeder, sink)


def _given(spec: DocumentFile, given: dict[str, Any]) -> Wanted:
    """Return the options as values, documents read."""
    dry = {"effects.dry_run": "true"} if given["dry_run"] else {}
    return Wanted(
        spec=spec,
        deployment=find_deployment(spec, given["deployment"]),
        input=given["input_"],
        output=given["output"],
        single_process=given["sp"],
        overrides={**given["overrides"], **dry},
        timeout_s=given["timeout_s"],
        approval=read_approval(spec, given["approval"]),
        allow_effects=given["allow_effects"],
    )


@contextlib.contextmanager
def approval_hint(wanted: Wanted) -> Iterator[None]:
    """Say how to get the approval when a run is refused for want of one."""
    try:
        yield
    except CallError as error:
        if error.reason.startswith("APPROVAL_") and error.exit_code is Exit.DENIED:
            from byteorctl.approve.hint import request_line

            error.notes.append(f"{error.reason}: ask for an approval with")
            error.notes.append(request_line(wanted))
        raise


def read_approval(spec: DocumentFile, path: str | None) -> bytes:
    """Return the credential at `path`, else `approval.cred` beside the spec, else nothing."""
    beside = os.path.join(os.path.dirname(spec.path), APPROVAL_NAME)
    if path is None and not os.path.exists(beside):
        return b""
    return read_document("approval", path or beside).content


def _wanted(given: Wanted) -> Wanted:
    """Add the ends that the documents leave to this client."""
    from byteorctl.endpoints import client_ends

    ends = client_ends(given.spec, given.deployment, given.overrides)
    return replace(
        given,
        input=given.input or (STDIO if ends.input else None),
        output=given.output or (STDIO if ends.output else None),
    )


def _start_request(wanted: Wanted, *, validate_only: bool = False) -> StartRequest:
    from byteorctl.client_values import StartRequest

    return StartRequest(
        spec=wanted.spec,
        deployment=wanted.deployment,
        client_input=wanted.input is not None,
        client_output=wanted.output is not None,
        single_process=wanted.single_process,
        overrides=wanted.overrides,
        validate_only=validate_only,
        approval=wanted.approval,
    )


@contextlib.contextmanager
def _opened(wanted: Wanted, *, nothing: bool) -> Iterator[tuple[Feeder | None, OutputFile | None]]:
    """Open the client's ends before anything starts; remove an output that is not committed."""
    from byteorctl.feed import Feeder

    feeder, sink = None, None
    try:
        if wanted.input is not None:
            feeder = Feeder(open_input(wanted.input))
        if wanted.output is not None and not nothing:
            sink = OutputFile(wanted.output)
        yield feeder, sink
    finally:
        if sink is not None:
            sink.discard()
        if feeder is not None:
            feeder.cancel()


def _check(app: App, client: Client, wanted: Wanted) -> int:
    from byteorctl.output.formats import emit

    answer = client.start_run(_start_request(wanted, validate_only=True), timeout_s=START_TIMEOUT_S)
    _print_findings(answer)
    emit(app.format, answer, lambda screen: screen.line(f"{wanted.spec.path}: would start"))
    return Exit.OK


def _run_detached(app: App, wanted: Wanted, *, validate_only: bool) -> int:
    """Start the run, print its id and leave."""
    from byteorctl.output.formats import emit

    if wanted.input is not None or wanted.output is not None:
        raise click.UsageError(
            "--detach: this run's input or output is this client, which must stay; "
            "bind both endpoints to other adapters"
        )
    hint = "start byteord: a detached run needs a daemon that stays"
    with app.connect(hint=hint) as client, approval_hint(wanted):
        if validate_only:
            return _check(app, client, wanted)
        answer = client.start_run(
            _start_request(wanted), timeout_s=wanted.timeout_s or START_TIMEOUT_S
        )
    _print_findings(answer)
    emit(app.format, answer["run"], lambda screen: screen.line(answer["run"]["id"]))
    return Exit.OK


def _run_attached(
    app: App, client: Client, wanted: Wanted, feeder: Feeder | None, sink: OutputFile | None
) -> int:
    """Start the run, follow it to its end, name the output, print the figures."""
    from byteorctl.attached import Attached, Interrupts

    with Interrupts() as interrupts:
        answer = client.start_run(_start_request(wanted), timeout_s=START_TIMEOUT_S)
        _print_findings(answer)
        attached = Attached(
            client,
            answer["run"],
            feeder=feeder,
            output=sink,
            interrupts=interrupts,
            say=lambda text: click.echo(f"byteorctl: {text}", err=True),
            timeout_s=wanted.timeout_s,
        )
        outcome = attached.follow()
        if (
            sink is not None
            and attached.output_whole
            and outcome.run["state"] in {"completed", "stopped"}
        ):
            sink.commit()
    _print_figures(app, outcome, feeder, sink)
    if outcome.error is not None:
        raise outcome.error
    return outcome.exit_code


def _print_figures(
    app: App, outcome: Outcome, feeder: Feeder | None, sink: OutputFile | None
) -> None:
    """Print what the run came to: for people on standard error, for programs on standard output."""
    import sys

    from byteorctl.output.formats import emit
    from byteorctl.output.run_view import show_figures
    from byteorctl.output.screen import Screen

    if not app.format.for_people:
        emit(app.format, outcome.run, lambda _: None)
        return
    show_figures(
        Screen(sys.stderr),
        outcome.run,
        input_bytes=None if feeder is None else feeder.bytes_read,
        output_bytes=None if sink is None else sink.bytes_written,
    )


def _print_findings(answer: Plain) -> None:
    from byteorctl.output.findings import finding_line

    for finding in answer["findings"]:
        click.echo(finding_line(finding), err=True)
