"""`byteorctl bundle`: the reproducible unit for triage; `incident-bundle` is `bundle create`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from byteorctl.app import (
    App,
    call_timeout,
    example,
    offline_options,
    shared_options,
    timeout_option,
)
from byteorctl.bundle.part import part_of
from byteorctl.errors import CliError, Plain
from byteorctl.exit_codes import Exit
from byteorctl.output.formats import emit
from byteorctl.output.quantities import duration, size
from byteorctl.output.screen import Screen
from byteorctl.output.times import moment

if TYPE_CHECKING:
    from byteorctl.client import Client

CREATE_TIMEOUT_S = 300.0


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
        "byteorctl incident-bundle es-trades --out incident.tar.gz --last 10000",
        "byteorctl incident-bundle es-trades --offline",
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
@click.option(
    "--last",
    metavar="N|TIME",
    help="Of the capture only the last N messages of each ingress, or the last 30s, 5m, 1h.",
)
@click.option(
    "--from-sequence",
    type=click.IntRange(min=0),
    metavar="N",
    help="Of the capture only what entered from position N on.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Make none: go on with the one whose transfer to the same --out was cut.",
)
@offline_options
@timeout_option(CREATE_TIMEOUT_S, "How long the daemon may take.")
@shared_options
def create(
    app: App,
    run: str,
    *,
    out: str | None,
    plan: bool,
    last: str | None,
    from_sequence: int | None,
    resume: bool,
    offline: bool,
    config: str | None,
    timeout_s: float,
) -> None:
    """Take an incident bundle of a run, live or ended.

    The run goes on undisturbed. RUN is an id, or a name that only one live run has. With no daemon
    running, or with --offline, a private one reads the state and shared memory that the host's
    daemon left; that needs the right to read them.

    A transfer that is cut, also by the end of this client, leaves what has arrived in a hidden file
    beside --out, and --resume goes on from there.
    """
    part = part_of(last, from_sequence)
    if resume:
        if plan or part or offline:
            raise click.UsageError(
                "--resume goes on with a bundle that was made before, on the daemon that made it: "
                "leave out --plan, --last, --from-sequence and --offline"
            )
        _resume(app, run, out, timeout_s)
        return
    with app.connect_or_look(offline=offline, config=config) as client:
        made = client.create_bundle(run, plan=plan, part=part, timeout_s=timeout_s)
        if not plan:
            _fetch(client, made, out or f"{made['run_id']}.tar.gz")
    emit(app.format, made, lambda screen: _show_made(screen, made), items="files")


@command.command(
    "list",
    epilog=example("byteorctl bundle list", "byteorctl bundle list --run es-trades -o json"),
)
@click.option("--run", default="", metavar="RUN", help="Only those of this run, by id or name.")
@call_timeout
@shared_options
def list_(app: App, *, run: str, timeout_s: float) -> None:
    """List the bundles that the daemon keeps.

    Also those that runs made by themselves, when they failed, stalled, lost a worker or met a
    condition of their deployment.
    """
    with app.connect() as client:
        bundles = client.list_bundles(run, timeout_s=timeout_s)
    answer: Plain = {"bundles": bundles}
    emit(app.format, answer, lambda screen: _show_list(screen, bundles), items="bundles")


@command.command("get", epilog=example("byteorctl bundle get 6f3c --out incident.tar.gz"))
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--out",
    type=click.Path(),
    metavar="PATH",
    help="NAME.tar.gz, NAME.tar, or a directory to make [default: BUNDLE.tar.gz].",
)
@call_timeout
@shared_options
def get(app: App, bundle: str, *, out: str | None, timeout_s: float) -> None:
    """Fetch a bundle that the daemon keeps.

    BUNDLE is an id of `bundle list`, or the beginning of one, or a run: its newest bundle.
    """
    with app.connect() as client:
        made = _chosen(client.list_bundles("", timeout_s=timeout_s), bundle)
        _fetch(client, made, out or f"{made['bundle_id']}.tar.gz")
    emit(app.format, made, lambda screen: screen.fields(_fields(made)))


def _resume(app: App, run: str, out: str | None, timeout_s: float) -> None:
    """Fetch the rest of a bundle; raises CliError (66) when nothing is left of one."""
    from byteorctl.bundle.partial import partial_path

    with app.connect() as client:
        bundles = client.list_bundles(run, timeout_s=timeout_s)
        places = ((each, out or f"{each['run_id']}.tar.gz") for each in bundles)
        begun = [(m, at) for m, at in places if os.path.exists(partial_path(at, m["bundle_id"]))]
        if not begun:
            raise CliError(
                f"--resume: nothing of a bundle of {run} that the daemon still keeps has arrived "
                f"at {out or 'RUN.tar.gz'}; leave out --resume to take a new one",
                Exit.NO_INPUT,
            )
        made, place = begun[0]
        _fetch(client, made, place)
    emit(app.format, made, lambda screen: screen.fields(_fields(made)))


def _fetch(client: Client, made: Plain, out: str) -> None:
    from byteorctl.bundle.fetch import fetch
    from byteorctl.bundle.partial import forget_others, partial_path

    forget_others(out, made["bundle_id"])
    try:
        fetch(client, made, out)
    except (CliError, KeyboardInterrupt):
        arrived = _size_of(partial_path(out, made["bundle_id"]))
        if arrived:
            text = f"{size(arrived)} of {size(made['size_bytes'])} have arrived; "
            text += "the same command with --resume goes on (bundle get: by itself)"
            click.echo(f"byteorctl: {text}", err=True)
        raise
    click.echo(f"byteorctl: wrote the bundle of run {made['run_id']} to {out}", err=True)


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _chosen(bundles: list[Plain], wanted: str) -> Plain:
    """Return the bundle that is meant; raises CliError (66, or 2 when several are)."""
    for each in bundles:
        if wanted in (each["bundle_id"], each["run_id"], each["pipeline"]):
            return each
    found = [each for each in bundles if each["bundle_id"].startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(each["bundle_id"] for each in found)
        raise CliError(f"bundle {wanted}: {len(found)} begin so: {ids}; name one", Exit.USAGE)
    raise CliError(
        f"bundle {wanted}: not here; `byteorctl bundle list` names those that are", Exit.NO_INPUT
    )


@command.command("verify", epilog=example("byteorctl bundle verify incident.tar.gz"))
@click.argument("path", type=click.Path(), metavar="PATH")
@shared_options
def verify(app: App, path: str) -> int:
    """Check that a bundle is whole and untouched.

    Every file against the manifest's sizes and digests, the spec against that of the run. Where
    tokens stand for values of the spec the latter cannot be done, and is said. Needs no daemon.
    Exit 1 if anything is wrong, 65 if it cannot be read as a bundle at all.
    """
    from byteorctl.bundle.archive import read_bundle
    from byteorctl.bundle.check import notes_of, problems_of, read_manifest

    if os.path.exists(os.path.join(path, "capture.json")):
        raise CliError(
            f"bundle {path}: seen the capture of a run; wanted a bundle: `byteorctl replay {path} "
            "--check` reads a capture through",
            Exit.DATA,
        )
    opened = read_bundle(path)
    problems = problems_of(opened)
    number = len(opened.digests)
    notes = [] if problems else notes_of(read_manifest(opened.files)[0])
    answer: Plain = {"ok": not problems, "files": number, "problems": problems, "notes": notes}

    def show(screen: Screen) -> None:
        for said in (*problems, *notes):
            screen.line(said)
        screen.line(f"{path}: " + ("damaged" if problems else f"verified, {number} files"))

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
    from byteorctl.bundle.check import verified
    from byteorctl.bundle.summary import summary

    sections = summary(verified(path))
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
            _cost(made),
            *((f"without {row['name']}", row["reason"]) for row in made["left_out"]),
        ]
    )


def _cost(made: Plain) -> tuple[str, str]:
    took = duration(made["took_ns"])
    if made["bundle_id"]:
        return "took", took
    return "cost", f"{took} of the daemon's time and reading that much; the run does not wait"


def _show_list(screen: Screen, bundles: list[Plain]) -> None:
    rows = [
        [each["bundle_id"], each["run_id"], each["pipeline"], each["why"],
         size(each["size_bytes"]), moment(each["created_unix_ns"])]
        for each in bundles
    ]  # fmt: skip
    screen.table(["bundle", "run", "pipeline", "why", "#size", "made"], rows)


def _fields(made: Plain) -> list[tuple[str, str]]:
    names = (("bundle", "bundle_id"), ("run", "run_id"), ("why", "why"), ("sha256", "sha256"))
    return [(name, str(made[key])) for name, key in names]


command.add_command(create)
