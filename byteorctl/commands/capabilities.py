"""`byteorctl capabilities`: what the daemon can run."""

from __future__ import annotations

import click

from byteorctl.app import App, call_timeout, example, shared_options
from byteorctl.errors import Plain
from byteorctl.output.formats import emit
from byteorctl.output.screen import Screen


@click.command("capabilities", epilog=example("byteorctl capabilities --keys"))
@click.option(
    "--keys", is_flag=True, help="Also every configuration key of every stage and adapter."
)
@call_timeout
@shared_options
def command(app: App, *, keys: bool, timeout_s: float) -> None:
    """Show what the daemon can run.

    Models with what serves them, stages, adapters, wait strategies and what the host offers.
    """
    with app.connect(private=[]) as client:
        answer = client.capabilities(timeout_s=timeout_s)
    emit(app.format, answer, lambda screen: _show(screen, answer, keys=keys))


def _show(screen: Screen, answer: Plain, *, keys: bool) -> None:
    screen.table(["model", "served by"], [[name, text] for name, text in answer["models"].items()])
    screen.line()
    screen.table(["lane", "served by"], [[name, text] for name, text in answer["lanes"].items()])
    screen.line()
    screen.table(
        ["stage", "kind", "state", "effects", "available", "summary"],
        [_stage(each) for each in answer["stages"]],
    )
    screen.line()
    screen.table(
        ["adapter", "ends", "resumable", "summary"], [_adapter(each) for each in answer["adapters"]]
    )
    if keys:
        screen.line()
        screen.table(["of", "key", "type", "default", "choices", "meaning"], list(_keys(answer)))
    screen.line()
    screen.fields([("waits", ", ".join(answer["waits"])), *answer["host"].items()])


def _stage(each: Plain) -> list[str]:
    effects = ", ".join(each["effects"]) or "none"
    return [each["name"], each["kind"], each["state"], effects, each["available"], each["summary"]]


def _adapter(each: Plain) -> list[str]:
    ends = ", ".join(end for end in ("ingress", "egress") if each[end])
    return [each["kind"], ends, "yes" if each["resumable"] else "no", each["summary"]]


def _keys(answer: Plain) -> list[list[str]]:
    owners = [(f"stage {each['name']}", each["keys"]) for each in answer["stages"]]
    owners += [(f"adapter {each['kind']}", each["keys"]) for each in answer["adapters"]]
    return [
        [owner, key["name"], key["type"], _default(key), ", ".join(key["choices"]), key["doc"]]
        for owner, keys in owners
        for key in keys
    ]


def _default(key: Plain) -> str:
    if key["required"]:
        return "(required)"
    return "(none)" if key["default_value"] is None else str(key["default_value"])
