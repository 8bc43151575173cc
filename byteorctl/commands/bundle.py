"""`byteorctl bundle`: the reproducible unit for triage; `incident-bundle` is `bundle create`."""

from __future__ import annotations

import click

from byteorctl.app import App, example, shared_options, timeout_option
from byteorctl.errors import CliError, Plain
from byteorctl.exit_codes import Exit
from byteorctl.output.formats import emit
from byteorctl.output.quantities import duration, size
from byteorctl.output.screen import Screen

CREATE_TIMEOUT_S = 120.0


@click.group("bundle", epilog=example("byteorctl bundle create es-trades --out incident.tar.gz"))
def command() -> None:
    """Make, check and read incident bundles.

    A bundle holds what is needed to understand a run: its documents, the policy, the process, the
    last state of its memory, metrics and events. Values that are not known to be harmless leave
    the host as tokens; what they stand for stays on it.
    """


@click.command(
    "create",
    epilog=example(
        "byteorctl incident-bundle es-trades --plan",
        "byteorctl incident-bundle es-trades --out incident.tar.gz",
    ),
)
@click.argument("run", metavar="RUN")
@click.option(
    "--out",
    type=click.Path(),
    metavar="PATH",
    help="NAME.tar.gz, NAME.tar, or a directory to make [default: RUN.tar.gz].",
)
@click.option("--plan", is_flag=True, help="Only list what would be taken, its size and kind.")
@timeout_option(CREATE_TIMEOUT_S, "How long the daemon may take.")
@shared_options
def create(app: App, run: str, *, out: str | None, plan: bool, timeout_s: float) -> None:
    """Take an incident bundle of a run, live or ended.

    The run goes on undisturbed. RUN is an id, or a name that only one live run has.
    """
    with app.connect() as client:
        made = client.create_bundle(run, plan=plan, timeout_s=timeout_s)
        if not plan:
            from byteorctl.bundle.fetch import fetch

            out = out or f"{made['run_id']}.tar.gz"
            fetch(client, made, out)
            click.echo(f"byteorctl: wrote the bundle of run {made['run_id']} to {out}", err=True)
    emit(app.format, made, lambda screen: _show_made(screen, made), items="files")


@command.command("verify", epilog=example("byteorctl bundle verify incident.tar.gz"))
@click.argument("path", type=click.Path(), metavar="PATH")
@shared_options
def verify(app: App, path: str) -> int:
    """Check that a bundle is whole and untouched.

    Every file against the manifest's sizes and digests. Needs no daemon. Exit 1 if anything is
    wrong, 65 if it cannot be read as a bundle at all.
    """
    from byteorctl.bundle.archive import read_bundle
    from byteorctl.bundle.check import problems_of

    files = read_bundle(path)
    problems = problems_of(files)
    answer: Plain = {"ok": not problems, "files": len(files), "problems": problems}

    def show(screen: Screen) -> None:
        for problem in problems:
            screen.line(problem)
        screen.line(f"{path}: " + ("damaged" if problems else f"verified, {len(files)} files"))

    emit(app.format, answer, show)
    return Exit.FAILED if problems else Exit.OK


@command.command("inspect", epilog=example("byteorctl bundle inspect incident.tar.gz"))
@click.argument("path", type=click.Path(), metavar="PATH")
@shared_options
def inspect(app: App, path: str) -> None:
    """Summarise a bundle, in the order of triage.

    Validation, policy, environment, the run's last state, doctor findings, what stands out. Needs
    no daemon.
    """
    from byteorctl.bundle.archive import read_bundle
    from byteorctl.bundle.check import problems_of
    from byteorctl.bundle.summary import summary

    files = read_bundle(path)
    problems = problems_of(files)
    if problems:
        raise CliError(
            f"bundle {path}: damaged: {problems[0]}; get it again", Exit.DATA, notes=problems[1:]
        )
    sections = summary(files)
    answer = {name: [list(line) for line in lines] for name, lines in sections}
    emit(app.format, answer, lambda screen: _show_sections(screen, sections))


def _show_sections(screen: Screen, sections: list[tuple[str, list[tuple[str, str]]]]) -> None:
    for number, (name, lines) in enumerate(sections):
        if number:
            screen.line()
        screen.line(name.upper())
        screen.fields([(f"  {key}", value) for key, value in lines])


def _show_made(screen: Screen, made: Plain) -> None:
    rows = [
        [file["name"], size(file["size_bytes"]), file["sensitivity"], file["sha256"][:16]]
        for file in made["files"]
    ]
    screen.table(["file", "#size", "kind", "sha256"], rows)
    screen.line()
    screen.fields(
        [
            ("bundle", made["bundle_id"] or "a plan; nothing was written"),
            ("size", size(made["size_bytes"])),
            ("took", duration(made["took_ns"])),
            *((f"without {row['name']}", row["reason"]) for row in made["left_out"]),
        ]
    )


command.add_command(create)
