"""`byteorctl version`: versions of client and daemon."""

from __future__ import annotations

import platform
from importlib.metadata import version as distribution_version

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.errors import Plain
from byteorctl.output.formats import emit


@click.command("version", epilog=example("byteorctl version --client"))
@click.option("--client", "client_only", is_flag=True, help="Only the client's; asks no daemon.")
@call_timeout
@shared_options
def command(app: App, *, client_only: bool, timeout_s: float) -> None:
    """Show the versions of client and daemon."""
    client_version = {
        "version": distribution_version("byteor"),
        "python": platform.python_version(),
    }
    answer: Plain = {"client": client_version, "daemon": None}
    if not client_only:
        with app.connect(private=[]) as client:
            answer["daemon"] = client.version(timeout_s=timeout_s)
    emit(app.format, answer, lambda screen: screen.fields(_pairs(answer)))


def _pairs(answer: Plain) -> list[tuple[str, str]]:
    client, daemon = answer["client"], answer["daemon"]
    pairs = [("byteorctl", f"{client['version']} (Python {client['python']})")]
    if daemon is not None:
        pairs += [
            ("byteord", f"{daemon['version']} (Python {daemon['python']}, pid {daemon['pid']})"),
            ("environment", daemon["environment"]),
            *daemon["libraries"].items(),
        ]
    return pairs
