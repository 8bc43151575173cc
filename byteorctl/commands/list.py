"""`byteorctl list`: runs, newest first."""

from __future__ import annotations

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.errors import Plain
from byteorctl.output.formats import emit
from byteorctl.output.run_view import short_time
from byteorctl.output.screen import Screen


@click.command(
    "list", epilog=example("byteorctl list --all -o jsonpath='{.runs[?(@.state==\"failed\")].id}'")
)
@click.option(
    "--all", "include_ended", is_flag=True, help="Also runs that have ended, as far as remembered."
)
@call_timeout
@shared_options
def command(app: App, *, include_ended: bool, timeout_s: float) -> None:
    """List runs.

    Newest first.
    """
    with app.connect() as client:
        runs = client.list_runs(include_ended=include_ended, timeout_s=timeout_s)
    emit(app.format, {"runs": runs}, lambda screen: _show(screen, runs), items="runs")


def _show(screen: Screen, runs: list[Plain]) -> None:
    rows = [
        [
            run["id"],
            run["name"],
            run["state"],
            short_time(run["created_at"]),
            short_time(run["ended_at"]) or "-",
            (run["failure"] or {}).get("reason") or "-",
        ]
        for run in runs
    ]
    screen.table(["run", "name", "state", "created", "ended", "failure"], rows)
