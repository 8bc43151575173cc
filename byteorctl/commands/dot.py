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
@click.argument("spec", type=click.Path(), metavar="SPEC|RUN")
@click.option("--live", is_flag=True, help="Draw a live run, coloured by who holds whom back.")
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
def command(app: App, spec: str, *, live: bool, svg: bool, out: str, timeout_s: float) -> None:
    """Draw the topology.

    Writes the DOT language, or with --svg a picture, for which Graphviz must be installed here.
    With --live the argument is a run, and lanes show how full they are, roles who holds them back.
    """
    text = _live(app, spec, timeout_s) if live else _of_spec(app, spec, timeout_s)
    if svg:
        text = render_svg(text)
    if out == STDIO and not app.format.for_people:
        emit(app.format, {"svg" if svg else "dot": text}, lambda _: None)
        return
    write_whole(out, [text.encode()])


def _of_spec(app: App, spec: str, timeout_s: float) -> str:
    spec_file = read_document("spec", spec)
    with app.connect(private=[spec_file.directory]) as client:
        return client.dot(spec_file, timeout_s=timeout_s)


def _live(app: App, run: str, timeout_s: float) -> str:
    from byteorctl.output.live_dot import live_dot

    with app.connect() as client:
        return live_dot(client.get_run(run, timeout_s=timeout_s))


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
