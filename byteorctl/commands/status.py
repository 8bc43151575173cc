"""`byteorctl status`: one run, whole."""

from __future__ import annotations

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.output.formats import emit
from byteorctl.output.run_view import show_run


@click.command(
    "status", epilog=example("byteorctl status es-trades -o jsonpath=.roles[*].received")
)
@click.argument("run", metavar="RUN")
@call_timeout
@shared_options
def command(app: App, run: str, *, timeout_s: float) -> None:
    """Show one run.

    Its conditions, why it failed if it did, how long it took to start, and its roles and workers.
    RUN is an id, or a name that only one live run has.
    """
    with app.connect() as client:
        found = client.get_run(run, timeout_s=timeout_s)
    emit(app.format, found, lambda screen: show_run(screen, found))
