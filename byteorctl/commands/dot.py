"""`byteorctl dot`: the topology for Graphviz."""

from __future__ import annotations

import subprocess

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.errors import CliError
from byteorctl.exit_codes import Exit
from byteorctl.files import STDIO, read_document, write_whole
from byteorctl.output.formats import emit

RENDER_TIMEOUT_S = 60


@click.command(
    "dot",
    epilog=example("byteorctl dot --svg --out pipeline.svg deploy/examples/es-trades/spec.toml"),
)
@click.argument("spec", type=click.Path(), metavar="SPEC")
@click.option("--svg", is_flag=True, help="Render with Graphviz.")
@click.option(
    "--out",
    type=click.Path(),
    metavar="PATH",
    default=STDIO,
    help="Where to write [default: standard output].",
)
@call_timeout
@shared_options
def command(app: App, spec: str, *, svg: bool, out: str, timeout_s: float) -> None:
    """Draw the topology.

    Writes the DOT language, or with --svg a picture, for which Graphviz must be installed here.
    """
    spec_file = read_document("spec", spec)
    with app.connect(private=[spec_file.directory]) as client:
        text = client.dot(spec_file, timeout_s=timeout_s)
    if svg:
        text = render_svg(text)
    if out == STDIO and not app.format.for_people:
        emit(app.format, {"svg" if svg else "dot": text}, lambda _: None)
        return
    write_whole(out, [text.encode()])


def render_svg(dot: str, program: str = "dot") -> str:
    """Return SVG of a DOT text; raises `CliError`: 69 without Graphviz, 70 when it fails."""
    try:
        done = subprocess.run(
            [program, "-Tsvg"],
            input=dot.encode(),
            capture_output=True,
            timeout=RENDER_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        text = "is not on PATH; --svg needs Graphviz: install it, or leave --svg out"
        raise CliError(f"{program}: {text}", Exit.UNAVAILABLE) from None
    except subprocess.TimeoutExpired:
        raise CliError(f"{program}: took longer than {RENDER_TIMEOUT_S} s", Exit.DEADLINE) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise CliError(f"{program}: ended with exit {done.returncode}: {said}", Exit.INTERNAL)
    return done.stdout.decode()
