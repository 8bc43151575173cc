"""`byteorctl watch`: changes of runs as they happen."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from byteorctl.app import App, example, shared_options
from byteorctl.errors import CliError, Plain
from byteorctl.exit_codes import BY_RUN_STATE, Exit
from byteorctl.output.formats import Format, render, write


@click.command("watch", epilog=example("byteorctl watch es-trades"))
@click.argument("run", metavar="[RUN]", required=False, default="")
@click.option(
    "--after",
    "after_revision",
    type=click.IntRange(min=0),
    default=0,
    metavar="REVISION",
    help="Continue after this revision instead of with a snapshot.",
)
@shared_options
def command(app: App, run: str, *, after_revision: int) -> int:
    """Follow the changes of runs.

    One line a change: first the runs as they are, then what happens to them. With RUN, ends when
    that run ends: exit 0 if it completed or was stopped, 1 if it failed. `-o json` prints one
    object a line.
    """
    last: Plain | None = None
    with app.connect() as client:
        for event in client.watch_runs(run, after_revision=after_revision):
            write(_event_text(app.format, event))
            last = event
            if event["kind"] == "going_down" or (run and event["kind"] == "ended"):
                break
    if last is not None and last["kind"] == "ended":
        return BY_RUN_STATE.get(last["run"]["state"], Exit.INTERNAL)
    revision = last["revision"] if last else after_revision
    sys.stdout.flush()
    raise CliError(
        f"watch: byteord is going down; the runs go on: watch again with --after {revision}",
        Exit.UNAVAILABLE,
    )


def _event_text(chosen: Format, event: Plain) -> str:
    if chosen.kind == "json":
        return render(replace(chosen, kind="jsonl"), event)
    if chosen.kind == "yaml":
        return "---\n" + render(chosen, event)
    if not chosen.for_people:
        return render(chosen, event)
    run = event["run"]
    if run is None:
        return f"{event['revision']:>8}  {event['kind']}\n"
    conditions = " ".join(f"{each['type']}={each['status']}" for each in run["conditions"])
    what = f"{event['revision']:>8}  {event['kind']:<8}  {run['id']}  {run['name']}  {run['state']}"
    return f"{what}  {conditions}  {_effects(run)}".rstrip() + "\n"


def _effects(run: Plain) -> str:
    """Return how much was done outside, or would have been."""
    counts = ("done", "would", "dead_letters")
    return " ".join(
        f"{each['role']}.{name}={each[name]}"
        for each in (run["effects"] or {"effects": []})["effects"]
        for name in counts
        if each[name]
    )
