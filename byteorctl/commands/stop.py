"""`byteorctl stop`: drain or abort a run."""

from __future__ import annotations

import math

import click

from byteorctl.app import App, example, shared_options, timeout_option
from byteorctl.output.formats import emit
from byteorctl.output.run_view import show_failure
from byteorctl.output.screen import Screen

ANSWER_SLACK_S = 30.0
DRAIN_TIMEOUT_MAX_S = 86_400.0


@click.command("stop", epilog=example("byteorctl stop es-trades --timeout 10"))
@click.argument("run", metavar="RUN")
@click.option("--abort", is_flag=True, help="End at once; what is inside is lost.")
@timeout_option(
    None,
    "How long a drain may take; then it fails and says what is stuck [default: the deployment's].",
)
@shared_options
def command(app: App, run: str, *, abort: bool, timeout_s: float | None) -> None:
    """Stop a run: drain or abort.

    Draining takes no more input and lets out what is inside. RUN is an id, or a name that only one
    live run has. Returns when the run has ended.
    """
    drain_s = 0 if timeout_s is None else max(1, math.ceil(min(timeout_s, DRAIN_TIMEOUT_MAX_S)))
    with app.connect() as client:
        stopped = client.stop_run(
            run,
            abort=abort,
            drain_timeout_s=drain_s,
            timeout_s=(drain_s or DRAIN_TIMEOUT_MAX_S) + ANSWER_SLACK_S,
        )

    def show(screen: Screen) -> None:
        screen.line(f"run {stopped['id']} {stopped['name']}: {stopped['state']}")
        show_failure(screen, stopped)

    emit(app.format, stopped, show)
