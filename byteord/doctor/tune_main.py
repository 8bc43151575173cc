"""`byteor-tune`: the command line of host tuning, for root and for the unit of that name."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

from byteord.deployment.model import HostFacts
from byteord.deployment.topology import cpu_list
from byteord.doctor import tune
from byteord.doctor.asked import asked_of_profile
from byteord.doctor.look import parse_cpus
from byteord.doctor.model import Asked, Daemon, Report, State, UnknownError
from byteord.doctor.run import kernel_of
from byteord.errors import ByteorError, InvalidArgumentError
from byteord.tuning.root import HostRoot
from byteord.tuning.topology import read_topology

FAILED, USAGE, DATA, DENIED = 1, 2, 65, 77
STATE_DIR = os.path.dirname(tune.RECORD)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was asked; return 0, 1 when something could not be set, 2, 65 or 77."""
    arguments = _parser().parse_args(argv)
    root = HostRoot(os.path.abspath(arguments.root))
    if arguments.verb in ("apply", "rollback") and root.live and os.geteuid():
        sys.stderr.write("byteor-tune: changing the host needs root; try check\n")
        return DENIED
    try:
        return _VERBS[arguments.verb](arguments, root)
    except InvalidArgumentError as error:
        sys.stderr.write(f"byteor-tune: {error.message}\n")
        return USAGE
    except ByteorError as error:
        sys.stderr.write(f"byteor-tune: {error.message}\n")
        return DATA
    except OSError as error:
        sys.stderr.write(f"byteor-tune: {error.filename or ''}: {error.strerror}\n")
        return DENIED


def _check(arguments: argparse.Namespace, root: HostRoot) -> int:
    report = tune.check(_asked(arguments, root), root)
    settings = tune.planned(report, root)
    for each in settings:
        _say(f"{each.code} {each.path}: found {each.found}, would set {each.set}")
    _say(f"{len(settings)} files would be set; {_counts(report)}")
    return FAILED if settings else 0


def _apply(arguments: argparse.Namespace, root: HostRoot) -> int:
    asked = _asked(arguments, root)
    before = tune.check(asked, root)
    settings = tune.planned(before, root)
    outcomes = tune.apply(settings, asked.profile, root, _record(arguments))
    _show(outcomes)
    _say(f"before: {_counts(before)}")
    _say(f"after: {_counts(tune.check(asked, root))}")
    return FAILED if any(each.state == "refused" for each in outcomes) else 0


def _rollback(arguments: argparse.Namespace, root: HostRoot) -> int:
    outcomes = tune.roll_back(root, _record(arguments))
    _show(outcomes)
    if not outcomes:
        _say("nothing is recorded: nothing to put back")
    return FAILED if any(each.state == "refused" for each in outcomes) else 0


def _status(arguments: argparse.Namespace, root: HostRoot) -> int:
    record = tune.load(root, _record(arguments))
    if record is None:
        _say("nothing is recorded")
        return 0
    _say(f"profile {record.profile}, {len(record.settings)} files")
    for each in record.settings:
        now = (root.text(each.path) or "gone").strip()
        _say(f"{each.code} {each.path}: found {each.found}, set {each.set}, now {now}")
    return 0


_VERBS = {"check": _check, "apply": _apply, "rollback": _rollback, "status": _status}


def _record(arguments: argparse.Namespace) -> str:
    return os.path.join(arguments.state, os.path.basename(tune.RECORD))


def _asked(arguments: argparse.Namespace, root: HostRoot) -> Asked:
    """Return what the profile asks of the host, for the CPUs named, else two workers' own."""
    allowed = None if root.live else kernel_of(root).affinity() or None
    topology = read_topology(root, allowed=allowed)
    facts = HostFacts(
        cpus_online=tuple(cpu.number for cpu in topology.cpus),
        cpus_allowed=topology.allowed,
        physical_cores=(),
        shm_free_bytes=0,
        memory_available_bytes=0,
        membarrier=False,
        clock="",
        topology=topology,
    )
    asked = asked_of_profile(arguments.profile, facts, Daemon(private=True))
    if not arguments.cpus:
        return asked
    try:
        cpus = parse_cpus(arguments.cpus, "--cpus")
    except UnknownError as error:
        raise InvalidArgumentError(f"--cpus {arguments.cpus}: {error}") from error
    strange = tuple(sorted(set(cpus) - set(facts.cpus_online)))
    if strange:
        raise InvalidArgumentError(
            f"--cpus: CPUs {cpu_list(strange)} are not online; wanted some of "
            f"{cpu_list(facts.cpus_online)}"
        )
    return replace(asked, cpus=cpus)


def _show(outcomes: Iterable[tune.Outcome]) -> None:
    for each in outcomes:
        value = each.setting.set if each.state == "applied" else each.setting.found
        said = f": {each.reason}" if each.reason else ""
        _say(f"{each.state} {each.setting.code} {each.setting.path} {value}{said}")


def _counts(report: Report) -> str:
    counts = report.counts()
    shown = (State.FAILED, State.DEGRADED, State.UNKNOWN, State.OK)
    return ", ".join(f"{counts[state.value]} {state.value}" for state in shown)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="byteor-tune",
        description="Tunes this host for a profile: sysctl keys and files of /sys, each written "
        "down before it is changed. Exit 1: something would be set (check) or was refused.",
    )
    parser.add_argument("verb", choices=tuple(_VERBS), help="what to do")
    parser.add_argument(
        "--profile", default="low-latency", help="profile to be ready for [low-latency]"
    )
    parser.add_argument(
        "--cpus", default="", metavar="LIST", help="CPUs of workers [as two workers would get]"
    )
    parser.add_argument(
        "--state", default=STATE_DIR, metavar="DIR", help=f"where the record is kept [{STATE_DIR}]"
    )
    parser.add_argument(
        "--root", default="/", metavar="DIR", help="stands in for / (the record lies there too)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
