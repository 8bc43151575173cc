"""`byteorctl test`: golden cases beside a spec."""

from __future__ import annotations

import os

import click

from byteorctl.app import App, example, shared_options, timeout_option
from byteorctl.exit_codes import Exit
from byteorctl.files import find_deployment, read_document, write_whole
from byteorctl.output.formats import emit
from byteorctl.output.screen import Screen

CASE_TIMEOUT_S = 60.0


@click.command(
    "test",
    epilog=example(
        "byteorctl test deploy/examples/ssh-failures",
        "byteorctl test my-pipeline --case 'late-*' --junit results.xml",
    ),
)
@click.argument("directory", type=click.Path(file_okay=False), metavar="DIR")
@click.option(
    "--spec",
    default="spec.toml",
    type=click.Path(),
    metavar="NAME",
    help="Spec in DIR [default: spec.toml]; its deployment.toml beside it applies.",
)
@click.option(
    "--case",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only cases whose name matches; may be repeated.",
)
@click.option(
    "--update", is_flag=True, help="Write the output seen to the expected files of the cases."
)
@click.option("--processes", is_flag=True, help="A worker process per role, as in production.")
@click.option("--junit", type=click.Path(), metavar="PATH", help="Write the results as JUnit XML.")
@timeout_option(CASE_TIMEOUT_S, "How long one case may take.")
@shared_options
def command(
    app: App,
    directory: str,
    *,
    spec: str,
    patterns: tuple[str, ...],
    update: bool,
    processes: bool,
    junit: str | None,
    timeout_s: float,
) -> int:
    """Run the golden cases beside a spec.

    DIR has the spec and cases/NAME.toml, each with input (a file beside it) or input_text; output
    (a file), output_text or output_sha256; and where wanted fails (the reason of an expected
    failure), [drops] (messages dropped by role) and [set] (keys of the deployment). Each case is
    fed to the pipeline and its output compared byte by byte. Exit 1 if any differs.
    """
    from byteorctl.golden.cases import find_cases

    spec_file = read_document("spec", os.path.join(directory, spec))
    deployment = find_deployment(spec_file, None)
    cases = find_cases(directory, patterns)
    with app.connect(
        private=[spec_file.directory], runs=len(cases), python=spec_file.names_python
    ) as client:
        from byteorctl.attached import Interrupts
        from byteorctl.golden.execute import Suite

        with Interrupts() as interrupts:
            suite = Suite(
                client,
                spec_file,
                deployment,
                interrupts=interrupts,
                processes=processes,
                timeout_s=timeout_s,
            )
            verdicts = [suite.run(case, update=update) for case in cases]
    if junit is not None:
        from byteorctl.golden.junit import to_junit

        name = os.path.basename(os.path.abspath(directory))
        write_whole(junit, [to_junit(name, verdicts)], "results")
    results = [verdict.as_plain() for verdict in verdicts]
    passed = sum(verdict.passed for verdict in verdicts)
    answer = {"cases": results, "passed": passed, "failed": len(verdicts) - passed}
    emit(app.format, answer, lambda screen: _show(screen, answer), items="cases")
    return Exit.OK if passed == len(verdicts) else Exit.FAILED


def _show(screen: Screen, answer: dict[str, object]) -> None:
    cases = answer["cases"]
    for case in cases if isinstance(cases, list) else ():
        word = "ok" if case["passed"] else "FAILED"
        if case["updated"]:
            word = f"{word}, expected output written"
        screen.line(f"{case['case']}: {word} ({case['seconds']:.2f} s)")
        for problem in case["problems"]:
            screen.line("\n".join(f"  {line}" for line in problem.splitlines()))
    screen.line(f"{answer['passed']} passed, {answer['failed']} failed")
