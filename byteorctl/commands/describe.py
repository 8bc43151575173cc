"""`byteorctl describe`: a spec as understood, with the plan of its run."""

from __future__ import annotations

import json

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.files import find_deployment, read_document
from byteorctl.output.findings import finding_line
from byteorctl.output.formats import emit
from byteorctl.output.tree import show_tree


@click.command(
    "describe",
    epilog=example("byteorctl describe deploy/examples/es-trades/spec.toml -o jsonpath=.memory"),
)
@click.argument("spec", type=click.Path(), metavar="SPEC")
@click.option(
    "--deployment",
    type=click.Path(),
    metavar="PATH",
    help="Deployment [default: deployment.toml beside SPEC].",
)
@click.option("--sp", is_flag=True, help="Plan for a single worker process, as run --sp does.")
@click.option(
    "--host",
    is_flag=True,
    help="Also the tuning plan on this host: which CPU each worker gets, and what falls short.",
)
@call_timeout
@shared_options
def command(
    app: App, spec: str, deployment: str | None, *, sp: bool, host: bool, timeout_s: float
) -> None:
    """Show a spec as understood, with the plan of its run.

    After defaults: stages, endpoints, roles, workers, limits, the memory it will take, the
    capabilities it needs, what waiting costs, and its hash.
    """
    spec_file = read_document("spec", spec)
    deployment_file = find_deployment(spec_file, deployment)
    directories = [file.directory for file in (spec_file, deployment_file) if file is not None]
    with app.connect(private=directories) as client:
        answer = client.describe(
            spec_file, deployment_file, single_process=sp, host=host, timeout_s=timeout_s
        )
    for finding in answer["findings"]:
        click.echo(finding_line(finding), err=True)
    description = json.loads(answer["description_json"])
    emit(app.format, description, lambda screen: show_tree(screen, description))
