"""`byteorctl compatibility`: versions that work together."""

from __future__ import annotations

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.output.formats import emit

NAMES = {
    "spec_versions": "spec versions",
    "region_layout_versions": "region layouts",
    "api_packages": "API packages",
    "stage_abi_versions": "stage ABI versions",
    "plan_versions": "plan versions",
}


@click.command("compatibility", epilog=example("byteorctl compatibility -o yaml"))
@call_timeout
@shared_options
def command(app: App, *, timeout_s: float) -> None:
    """Show which versions work together.

    Spec, region, API, stage ABI and plan versions that this daemon reads and writes.
    """
    with app.connect(private=[]) as client:
        answer = client.compatibility(timeout_s=timeout_s)
    pairs = [(text, ", ".join(map(str, answer[name]))) for name, text in NAMES.items()]
    emit(app.format, answer, lambda screen: screen.fields(pairs))
