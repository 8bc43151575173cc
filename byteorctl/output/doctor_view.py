"""Doctor's report as people see it: what falls short, what is well, what was measured."""

from __future__ import annotations

import time
from itertools import groupby

from byteorctl.errors import Plain
from byteorctl.output.screen import Screen

ORDER = ("failed", "degraded", "unknown", "ok")
SHORT = ("failed", "degraded")


def show_doctor(screen: Screen, answer: Plain, *, everything: bool) -> None:
    """Draw the report; `everything`: also the checks that do not apply here."""
    _show_heading(screen, answer)
    short = [check for check in answer["checks"] if check["state"] in SHORT]
    rest = [check for check in answer["checks"] if check["state"] not in SHORT]
    if short:
        screen.line("\nFALLS SHORT")
        screen.table(
            ["code", "state", "check", "observed", "wanted", "#cost"],
            [_short_row(check) for check in sorted(short, key=_rank)],
        )
        _show_fixes(screen, short)
    shown = [check for check in rest if everything or check["state"] != "skipped"]
    for title, checks in groupby(shown, key=lambda check: check["group_title"]):
        screen.line(f"\n{title}")
        screen.table(["code", "state", "check", "observed"], [_row(check) for check in checks])
    _show_measured(screen, answer)
    _show_changes(screen, answer)
    screen.line(f"\n{_summary(answer, everything=everything)}")


def _show_heading(screen: Screen, answer: Plain) -> None:
    host = answer["host"]
    place = " ".join(each for each in (host.get("name"), host.get("cpu")) if each)
    screen.fields(
        [
            ("profile", answer["profile"]),
            ("host", place),
            ("kernel", f"{host.get('kernel', '')} {host.get('machine', '')}"),
            ("workers' CPUs", ", ".join(map(str, answer["cpus"]))),
        ]
    )
    for note in answer["notes"]:
        screen.line(f"note: {note}")


def _rank(check: Plain) -> tuple[int, float, str]:
    """What cannot be had first, then what costs most."""
    return ORDER.index(check["state"]), -(check["cost_us"] or 0.0), check["code"]


def _short_row(check: Plain) -> list[str]:
    cost = "" if check["cost_us"] is None else f"{check['cost_us']:.1f} us"
    observed = check["observed"]
    if check["reason"]:
        observed = f"{observed} ({check['reason']})" if observed else check["reason"]
    return [check["code"], check["state"], check["title"], observed, check["wanted"], cost]


def _row(check: Plain) -> list[str]:
    parts = [part for part in (check["observed"], check["reason"]) if part]
    said = f"{parts[0]} ({parts[1]})" if len(parts) > 1 else "".join(parts)
    return [check["code"], check["state"], check["title"], said]


def _show_fixes(screen: Screen, short: list[Plain]) -> None:
    screen.line("\nFIXES (byteor runs none of them)")
    for check in sorted(short, key=_rank):
        screen.line(f"{check['code']}  {check['fix']}")
        for line in check["command"].splitlines():
            screen.line(f"     {line}")


def _show_measured(screen: Screen, answer: Plain) -> None:
    measured = answer.get("measured")
    if not measured:
        return
    screen.line("\nMEASURED")
    for line in answer["budget"]:
        screen.line(line)
    for name, why in measured.get("left_out", {}).items():
        screen.line(f"not measured: {name}: {why}")
    for name, found in measured.get("tools", {}).items():
        screen.line(f"{name}: {found.get('error') or 'attached, see -o json'}")


def _show_changes(screen: Screen, answer: Plain) -> None:
    if not answer["last_run_unix_s"]:
        return
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(answer["last_run_unix_s"]))
    if not answer["changes"]:
        screen.line(f"\nas at the last run, {when}")
        return
    screen.line(f"\nCHANGED SINCE {when}")
    screen.table(
        ["code", "was", "now"],
        [[each["code"], each["was"], each["now"]] for each in answer["changes"]],
    )


def _summary(answer: Plain, *, everything: bool) -> str:
    counts = answer["counts"]
    parts = [f"{counts[state]} {state}" for state in ORDER if counts.get(state)]
    if counts.get("skipped"):
        parts.append(f"{counts['skipped']} skipped" + ("" if everything else " (--all shows why)"))
    return f"{', '.join(parts)}; {len(answer['checks'])} checks in {answer['seconds']:.2f} s"
