"""How a judge becomes a check of the catalogue, and the remedies that many share.

Owns the table that `byteord.doctor.registry` reads.
"""

from __future__ import annotations

from collections.abc import Callable

from byteord.deployment.topology import cpu_list
from byteord.doctor.model import TUNED, Asked, Check, Judge, Remedies, Remedy

FOUND: dict[str, Check] = {}


def none(_: Asked) -> tuple[Remedy, ...]:
    """Return no remedy that could be rendered."""
    return ()


def check(
    code: str,
    title: str,
    evidence: str,
    wanted: str,
    fix: str,
    *,
    remedies: Remedies = none,
    profiles: tuple[str, ...] = TUNED,
    reference: str = "",
    cost: str = "read",
) -> Callable[[Judge], Judge]:
    """Register a judge under a code; two of one code are a mistake."""

    def register(judge: Judge) -> Judge:
        assert code not in FOUND, code  # noqa: S101  found by importing the package
        FOUND[code] = Check(
            code=code,
            title=title,
            evidence=evidence,
            wanted=wanted,
            judge=judge,
            fix=fix,
            remedies=remedies,
            profiles=profiles,
            reference=reference,
            cost=cost,
        )
        return judge

    return register


def sysctl(name: str, value: str) -> Remedies:
    """Return the remedy of one key of sysctl."""
    return lambda _: (Remedy("sysctl", name, value),)


def sysfs(path: str, value: str) -> Remedies:
    """Return the remedy of one file; `{cpu}` in its path: one for each CPU of the workers."""

    def remedies(asked: Asked) -> tuple[Remedy, ...]:
        if "{cpu}" not in path:
            return (Remedy("sysfs", path, value),)
        return tuple(Remedy("sysfs", path.format(cpu=cpu), value) for cpu in asked.cpus)

    return remedies


def boot(*words: str) -> Remedies:
    """Return boot arguments; `{cpus}` and `{rest}` stand for the workers' CPUs and the others."""

    def remedies(asked: Asked) -> tuple[Remedy, ...]:
        rest = cpu_list(asked.housekeeping)
        filled = [
            word.format(cpus=cpu_list(asked.cpus), rest=rest)
            for word in words
            if rest or "{rest}" not in word
        ]
        return tuple(Remedy("cmdline", *word.split("=", 1)) for word in filled)

    return remedies


def elsewhere(make: Callable[[Asked], tuple[Remedy, ...]]) -> Remedies:
    """Return remedies that send work to the other CPUs, where there are any."""
    return lambda asked: make(asked) if asked.housekeeping else ()


def unit(*directives: str) -> Remedies:
    """Return directives of the daemon's unit."""
    return lambda _: tuple(Remedy("systemd", *line.split("=", 1)) for line in directives)


def command(line: str) -> Remedies:
    """Return a command for the operator to run."""
    return lambda _: (Remedy("command", line),)
