"""Fixes in the operator's own words: sysctl, kernel command line, systemd, tuned, shell. Pure.

Renders; byteor executes none of it while it checks.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from byteord.deployment.topology import cpu_list
from byteord.doctor.model import Asked, Remedy, Report, Result

FORMS = ("tuned", "sysctl", "cmdline", "systemd", "script")


def emit(form: str, report: Report, asked: Asked) -> str:
    """Return the fixes of a report in one of `FORMS`."""
    broken = [result for result in report.checks if result.remedies]
    render = {
        "tuned": _tuned,
        "sysctl": _sysctl,
        "cmdline": _cmdline,
        "systemd": _systemd,
        "script": _script,
    }[form]
    return render(broken, asked)


def _chosen(results: Iterable[Result], *kinds: str) -> list[tuple[Result, Remedy]]:
    """Return remedies of some kinds, each once, with the check that wants it first."""
    seen: dict[tuple[str, str], tuple[Result, Remedy]] = {}
    for result in results:
        for remedy in result.remedies:
            if remedy.kind in kinds:
                seen.setdefault((remedy.kind, remedy.name), (result, remedy))
    return list(seen.values())


def _head(asked: Asked, what: str) -> list[str]:
    cpus = cpu_list(asked.cpus) or "none"
    return [
        f"# byteor doctor: {what} for profile {asked.profile}, workers' CPUs {cpus}",
        "# Read before you use it: it was rendered from one look at this host.",
    ]


def _sysctl(results: Sequence[Result], asked: Asked) -> str:
    lines = _head(asked, "sysctl.d")
    for result, remedy in _chosen(results, "sysctl"):
        lines += [f"# {result.code} {result.title}", f"{remedy.name} = {remedy.value}"]
    return "\n".join(lines) + "\n"


def boot_words(results: Sequence[Result]) -> list[str]:
    """Return the boot arguments; of one name the first check's."""
    return [
        f"{remedy.name}={remedy.value}" if remedy.value else remedy.name
        for _, remedy in _chosen(results, "cmdline")
    ]


def _cmdline(results: Sequence[Result], _: Asked) -> str:
    return " ".join(boot_words(results)) + "\n"


def _systemd(results: Sequence[Result], asked: Asked) -> str:
    sections: dict[str, list[str]] = {"Service": []}
    for result, remedy in _chosen(results, "systemd"):
        sections["Service"] += [f"# {result.code} {result.title}", f"{remedy.name}={remedy.value}"]
    lines = _head(asked, "drop-in of byteord.service")
    for name, body in sections.items():
        lines += [f"[{name}]", *body]
    return "\n".join(lines) + "\n"


def _tuned(results: Sequence[Result], asked: Asked) -> str:
    lines = [*_head(asked, "tuned profile"), "[main]", f"summary=byteor, profile {asked.profile}"]
    lines.append("include=latency-performance")
    sysctls = _chosen(results, "sysctl")
    if sysctls:
        lines += ["", "[sysctl]", *(f"{each.name}={each.value}" for _, each in sysctls)]
    files = _chosen(results, "sysfs")
    if files:
        lines += ["", "[sysfs]", *(f"{each.name}={each.value}" for _, each in files)]
    words = boot_words(results)
    if words:
        lines += ["", "[bootloader]", f"cmdline_byteor=+{' '.join(words)}"]
    return "\n".join(lines) + "\n"


def _script(results: Sequence[Result], asked: Asked) -> str:
    lines = ["#!/bin/sh", *_head(asked, "shell script"), "set -eu"]
    for result in results:
        lines += ["", f"# {result.code} {result.title}: seen {_flat(result.observed)}"]
        lines += shell_lines(result.remedies)
    return "\n".join(lines) + "\n"


def shell_lines(remedies: Iterable[Remedy]) -> list[str]:
    """Return the shell lines that make some changes; what needs a reboot or a unit is a comment."""
    lines = []
    for remedy in remedies:
        if remedy.kind == "sysctl":
            lines.append(f"sysctl -w {shlex.quote(f'{remedy.name}={remedy.value}')}")
        elif remedy.kind == "sysfs":
            lines += _write_lines(remedy)
        elif remedy.kind == "cmdline":
            word = f"{remedy.name}={remedy.value}" if remedy.value else remedy.name
            lines.append(f"# boot with {word}")
        elif remedy.kind == "systemd":
            lines.append(f"# byteord.service: {remedy.name}={remedy.value}")
        else:
            lines.append(remedy.name)
    return lines


def _write_lines(remedy: Remedy) -> list[str]:
    value = shlex.quote(remedy.value)
    if "*" in remedy.name:
        return [f"for file in {remedy.name}; do echo {value} >$file; done"]
    return [f"echo {value} >{shlex.quote(remedy.name)}"]


def _flat(text: str) -> str:
    return " ".join(text.split())
