"""`byteorctl doctor`: is this host ready for a profile."""

from __future__ import annotations

import json
from importlib.metadata import version

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.commands.run import read_approval
from byteorctl.errors import CliError, Plain
from byteorctl.exit_codes import Exit
from byteorctl.files import find_deployment, read_document
from byteorctl.output.doctor_view import show_doctor
from byteorctl.output.formats import emit, write

PROFILES = ("default", "low-latency", "isolated-core")
FORMS = ("tuned", "sysctl", "cmdline", "systemd", "script")
TOOLS = ("oslat", "cyclictest")
BEYOND = {"degraded": ("degraded", "failed"), "failed": ("failed",)}


@click.command(
    "doctor",
    epilog=example(
        "byteorctl doctor --profile isolated-core --fail-on failed",
        "byteorctl doctor --spec pipeline/spec.toml --measure",
        "byteorctl doctor --profile low-latency --emit sysctl >60-byteor.conf",
        "byteorctl doctor --bundle incident.tar.gz",
    ),
)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    help="Profile to be ready for [default: the deployment's, else default].",
)
@click.option(
    "--spec", type=click.Path(), metavar="PATH", help="Look at the CPUs and memory it would use."
)
@click.option(
    "--deployment",
    type=click.Path(),
    metavar="PATH",
    help="Deployment of --spec [default: deployment.toml beside it].",
)
@click.option(
    "--group", "groups", multiple=True, metavar="G", help="Only this group, such as K (again)."
)
@click.option(
    "--code", "codes", multiple=True, metavar="C", help="Only this check, such as K01 (again)."
)
@click.option(
    "--fail-on",
    type=click.Choice(tuple(BEYOND)),
    default="failed",
    help="Exit 1 if a check is in this state or worse [default: failed].",
)
@click.option(
    "--measure", is_flag=True, help="Also measure, for a few seconds: price each warning."
)
@click.option(
    "--with", "tools", metavar="TOOLS", help="With --measure: attach oslat,cyclictest (rt-tests)."
)
@click.option(
    "--emit",
    "form",
    type=click.Choice(FORMS),
    help="Print the fixes in this form instead of the report; nothing is executed.",
)
@click.option(
    "--bundle",
    type=click.Path(),
    metavar="PATH",
    help="Look at the host that this incident bundle was taken on, as it was then.",
)
@click.option("--all", "everything", is_flag=True, help="Also show checks that do not apply here.")
@call_timeout
@shared_options
def command(  # noqa: PLR0913  one argument for each option
    app: App,
    *,
    profile: str | None,
    spec: str | None,
    deployment: str | None,
    groups: tuple[str, ...],
    codes: tuple[str, ...],
    fail_on: str,
    measure: bool,
    tools: str | None,
    form: str | None,
    bundle: str | None,
    everything: bool,
    timeout_s: float,
) -> int:
    """Look whether the daemon's host is ready for a profile.

    Each check says what it observed and where, what that profile wants, and how to get there; a
    profile that does not ask for something only reports it. Nothing on the host is changed. With no
    daemon running, a private one looks at this host. --bundle makes the same checks on what a
    bundle tells of another host. Exit 1 beyond --fail-on.
    """
    if bundle and (spec or measure):
        raise CliError("--bundle: wanted without --spec and --measure", Exit.USAGE)
    if deployment and not spec:
        raise CliError("--deployment: wanted together with --spec", Exit.USAGE)
    if tools and not measure:
        raise CliError("--with: wanted together with --measure", Exit.USAGE)
    spec_file = read_document("spec", spec) if spec else None
    deployment_file = find_deployment(spec_file, deployment) if spec_file else None
    files = [file for file in (spec_file, deployment_file) if file is not None]
    with app.connect(private=[file.directory for file in files]) as client:
        answer = client.doctor(
            profile=profile or "",
            spec=spec_file,
            deployment=deployment_file,
            groups=groups,
            codes=codes,
            measure=measure,
            tools=[each.strip() for each in (tools or "").split(",") if each.strip()],
            emit=form or "",
            client_version=version("byteor"),
            approval=read_approval(spec_file, None) if spec_file else b"",
            captured=_host_facts(bundle) if bundle else b"",
            timeout_s=timeout_s,
        )
    answer["measured"] = json.loads(answer.pop("measured_json") or "null")
    if form and app.format.for_people:
        write(answer["emitted"])
    else:
        emit(
            app.format,
            answer,
            lambda screen: show_doctor(screen, answer, everything=everything),
            items="checks",
        )
    return _verdict(answer, fail_on)


def _host_facts(path: str) -> bytes:
    """Return what a bundle tells of its host; raises CliError 65 where it tells nothing."""
    from byteorctl.bundle.check import verified

    facts = verified(path).get("host_facts.json")
    if not facts:
        raise CliError(
            f"bundle {path}: seen no host_facts.json; wanted a bundle made with doctor's facts: "
            "`byteorctl bundle inspect` says why they were left out",
            Exit.DATA,
        )
    return facts


def _verdict(answer: Plain, fail_on: str) -> int:
    bad = any(check["state"] in BEYOND[fail_on] for check in answer["checks"])
    return Exit.FAILED if bad else Exit.OK
