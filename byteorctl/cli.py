"""The command line: verbs, found lazily; the one place where errors become text and exit codes.

Must stay cheap to import: `--help`, completion and usage errors answer within 150 ms. gRPC and rich
are imported inside the verbs that need them.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from byteorctl.app import ADDRESS_HELP, App, FormatType
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.interrupt import WORDS, ending_on_interrupt
from byteorctl.output.formats import Format

VERBS = {
    "validate": "Check a spec and its deployment.",
    "describe": "Show a spec as understood, with the plan of its run.",
    "dot": "Draw the topology.",
    "diff": "Compare two specs or deployments by meaning.",
    "run": "Start a run and stay with it.",
    "stop": "Stop a run: drain or abort.",
    "list": "List runs.",
    "status": "Show one run.",
    "watch": "Follow the changes of runs.",
    "top": "Watch rates, depths and latencies of live runs.",
    "tap": "Show messages of a lane as they pass.",
    "dead-letters": "Get back the messages that actions of a run could not deliver.",
    "doctor": "Look whether the daemon's host is ready for a profile.",
    "snapshot": "Read the state of a run's rings from shared memory.",
    "incident-bundle": "Take an incident bundle of a run, live or ended.",
    "bundle": "Make, check and read incident bundles.",
    "replay": "Run captured input again and compare what leaves.",
    "approve": "Make, sign and check approvals of side effects.",
    "audit": "Verify and read the audit log.",
    "test": "Run the golden cases beside a spec.",
    "capabilities": "Show what the daemon can run.",
    "compatibility": "Show which versions work together.",
    "version": "Show the versions of client and daemon.",
    "completion": "Print the completion script of a shell.",
}
"""Each is `byteorctl.commands.VERB:command`, `-` as `_`; the text begins its help (tested)."""

EPILOG = """\b
Example:
  byteorctl run --sp deploy/examples/ssh-failures/spec.toml --input auth.log --output failures.jsonl

\b
Formats (-o): table for people, coloured on a terminal unless NO_COLOR is set; json; yaml;
jsonl, a line per item; jsonpath=EXPR, a path such as $.runs[*].id (a line per value) or text
with paths in braces: '{.runs[?(@.state=="failed")].id}{"\\n"}'. A path has .name, ['name'],
[0], [-1], [0:2], [*], .* and filters with ==, !=, <, <=, >, >= or none.

\b
Exit codes: 0 ok; 1 check or run failed; 2 usage; 65 bad data; 66 no such input;
69 daemon unavailable; 70 internal error; 75 try again; 77 permission missing;
78 invalid spec or deployment; 124 deadline; 130 interrupted."""


class Verbs(click.Group):
    """A group that imports a verb's module only when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of a pipeline's life."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"byteorctl.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  click's signature
    if value:
        from importlib.metadata import version

        click.echo(f"byteorctl {version('byteor')}")
        ctx.exit()


@click.command(cls=Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--address", metavar="ADDRESS", help=ADDRESS_HELP)
@click.option("-o", "format_", type=FormatType(), help="table, json, yaml, jsonl or jsonpath=EXPR.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Print the client's version and exit.",
)  # fmt: skip
@click.pass_context
def cli(ctx: click.Context, address: str | None, format_: Format | None) -> None:
    """Validate, run and watch real-time pipelines on one host."""
    ctx.obj = App(address=address, format=format_ or Format())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; what goes wrong is said on standard error."""
    with ending_on_interrupt():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(
            list(sys.argv[1:] if arguments is None else arguments),
            prog_name="byteorctl",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(WORDS, err=True)
        return Exit.INTERRUPTED
    except CliError as error:
        return _report(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.FAILED
    except Exception as error:  # noqa: BLE001  the boundary: nobody above can report it
        return _report_internal(error)
    return _code(result)


def _code(result: Any) -> int:
    return int(result) if isinstance(result, int) else Exit.OK


def _report(error: CliError) -> int:
    from byteorctl.output.clean import clean
    from byteorctl.output.findings import finding_line

    for finding in error.findings:
        click.echo(finding_line(finding), err=True)
    click.echo(f"byteorctl: {clean(error.message, keep=chr(10))}", err=True)
    for note in error.notes:
        click.echo(f"  {clean(note)}", err=True)
    return error.exit_code


def _report_internal(error: Exception) -> int:
    if os.environ.get("BYTEORCTL_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    click.echo(
        f"byteorctl: internal error: {type(error).__name__}: {error}; "
        "set BYTEORCTL_TRACEBACK=1 for the traceback and report it",
        err=True,
    )
    return Exit.INTERNAL
