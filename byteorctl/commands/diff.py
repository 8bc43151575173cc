"""`byteorctl diff`: two documents compared by meaning."""

from __future__ import annotations

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.errors import Plain
from byteorctl.exit_codes import Exit
from byteorctl.files import read_document
from byteorctl.output.formats import emit
from byteorctl.output.screen import Screen


@click.command("diff", epilog=example("byteorctl diff old/spec.toml new/spec.toml"))
@click.argument("old", type=click.Path(), metavar="OLD")
@click.argument("new", type=click.Path(), metavar="NEW")
@click.option(
    "--kind",
    type=click.Choice(("spec", "deployment")),
    help="What they are [default: told from the content].",
)
@click.option("--exit-code", is_flag=True, help="Exit 1 if anything changed.")
@call_timeout
@shared_options
def command(
    app: App, old: str, new: str, kind: str | None, *, exit_code: bool, timeout_s: float
) -> int:
    """Compare two specs or deployments by meaning.

    Prints each changed key and whether it can be reloaded or needs a restart; how a document is
    written does not matter.
    """
    old_file, new_file = read_document("old document", old), read_document("new document", new)
    with app.connect(private=[old_file.directory, new_file.directory]) as client:
        answer = client.diff(old_file, new_file, kind=kind or "", timeout_s=timeout_s)
    emit(app.format, answer, lambda screen: _show(screen, answer), items="changes")
    return Exit.FAILED if exit_code and answer["changes"] else Exit.OK


def _show(screen: Screen, answer: Plain) -> None:
    if not answer["changes"]:
        screen.line(f"no difference in meaning (sha256 {answer['new_sha256']})")
        return
    rows = [
        [each["path"], _shown(each["old"]), _shown(each["new"]), each["takes"]]
        for each in answer["changes"]
    ]
    screen.table(["key", "old", "new", "takes"], rows)
    screen.line()
    screen.fields(
        [
            ("old sha256", answer["old_sha256"]),
            ("new sha256", answer["new_sha256"]),
            ("takes", answer["takes"]),
        ]
    )


def _shown(value: str | None) -> str:
    return "(absent)" if value is None else value
