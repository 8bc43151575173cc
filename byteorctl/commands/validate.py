"""`byteorctl validate`: all findings of a spec and its deployment."""

from __future__ import annotations

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.errors import Plain
from byteorctl.exit_codes import Exit
from byteorctl.files import find_deployment, read_document
from byteorctl.output.findings import finding_line, summary
from byteorctl.output.formats import emit
from byteorctl.output.screen import Screen

LEVELS = ("syntax", "schema", "topology", "policy", "host")


@click.command("validate", epilog=example("byteorctl validate deploy/examples/es-trades/spec.toml"))
@click.argument("spec", type=click.Path(), metavar="SPEC")
@click.option(
    "--deployment",
    type=click.Path(),
    metavar="PATH",
    help="Deployment [default: deployment.toml beside SPEC].",
)
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="host",
    help="Stop after this level [default: host].",
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@call_timeout
@shared_options
def command(
    app: App, spec: str, deployment: str | None, level: str, *, strict: bool, timeout_s: float
) -> int:
    """Check a spec and its deployment.

    Reports every finding, not only the first, with its code, key path and line, what was seen, what
    was wanted and the fix, then what each level of checks left out. Exit 78 if any finding is an
    error. Executes nobody's code.
    """
    spec_file = read_document("spec", spec)
    deployment_file = find_deployment(spec_file, deployment)
    directories = [file.directory for file in (spec_file, deployment_file) if file is not None]
    with app.connect(private=directories) as client:
        answer = client.validate(spec_file, deployment_file, level=level, timeout_s=timeout_s)
    emit(app.format, answer, lambda screen: _show(screen, spec, answer), items="findings")
    bad = not answer["ok"] or (strict and _has_warning(answer))
    return Exit.INVALID if bad else Exit.OK


def _has_warning(answer: Plain) -> bool:
    return any(finding["severity"] == "warning" for finding in answer["findings"])


def _show(screen: Screen, spec: str, answer: Plain) -> None:
    for finding in answer["findings"]:
        screen.line(finding_line(finding))
    counts = summary(answer["findings"])
    verdict = "valid" if answer["ok"] else "invalid"
    screen.line(
        f"{spec}: {verdict} in {answer['environment']}" + (f" ({counts})" if counts else "")
    )
    screen.fields(
        [("spec sha256", answer["spec_sha256"]), ("deployment sha256", answer["deployment_sha256"])]
    )
    for level in answer["levels"]:
        if not level["ran"]:
            screen.line(
                f"not checked: {level['name']}: {level['not_checked'] or 'an earlier level failed'}"
            )
        elif level["not_checked"]:
            screen.line(f"{level['name']} leaves out: {level['not_checked']}")
