"""Fixes as text in five forms, the report of last time, and the audit log that doctor verifies."""

from __future__ import annotations

import configparser
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from byteord.doctor import history
from byteord.doctor.emit import FORMS, emit, shell_lines
from byteord.doctor.model import Asked, Daemon, Remedy, Report, State
from byteord.doctor.registry import CHECKS, selected
from byteord.doctor.run import run_checks
from byteord.policy.audit import AuditLog
from byteord.tuning.root import HostRoot
from tests.support.host_trees import KINDS, asked_of, write_tree


@pytest.fixture(scope="module")
def untuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Asked]:
    """Return the report of an untuned host for isolated-core, workers on CPUs 2 and 3."""
    tree = write_tree(tmp_path_factory.mktemp("untuned"), *KINDS["untuned"]())
    asked = asked_of(tree)
    return run_checks(CHECKS, asked, HostRoot(tree), pause=lambda _: None), asked


def _ini(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_every_remedy_is_in_the_form_of_its_kind(untuned: tuple[Report, Asked]) -> None:
    """What a check would have is in the form that can hold it, each name once."""
    report, asked = untuned
    texts = {form: emit(form, report, asked) for form in FORMS}
    where = {"sysctl": "sysctl", "sysfs": "tuned", "cmdline": "cmdline", "systemd": "systemd"}
    for result in report.checks:
        for remedy in result.remedies:
            assert remedy.name in texts[where.get(remedy.kind, "script")], result.code
    keys = [line for line in texts["sysctl"].splitlines() if " = " in line]
    assert len(keys) == len({line.split(" = ")[0] for line in keys})
    words = texts["cmdline"].split()
    assert "isolcpus=managed_irq,domain,2-3" in words
    assert "irqaffinity=0-1,4-7" in words
    assert len(words) == len({word.split("=")[0] for word in words})


def test_forms_are_what_their_readers_read(untuned: tuple[Report, Asked]) -> None:
    """The script is shell, the profile and the drop-in are what tuned and systemd parse."""
    report, asked = untuned
    script = emit("script", report, asked)
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    profile = _ini(emit("tuned", report, asked))
    assert profile["sysctl"]["vm.swappiness"] == "10"
    assert profile["bootloader"]["cmdline_byteor"].startswith("+isolcpus=")
    drop_in = _ini(emit("systemd", report, asked))
    assert drop_in["Service"]["LimitMEMLOCK"] == "infinity"


def test_a_host_that_lacks_nothing_gets_nothing(tmp_path: Path) -> None:
    """From a host tuned by the book no form sets anything."""
    tree = write_tree(tmp_path, *KINDS["tuned"]())
    asked = asked_of(tree)
    report = run_checks(CHECKS, asked, HostRoot(tree), pause=lambda _: None)
    assert emit("cmdline", report, asked).strip() == ""
    for form in ("sysctl", "systemd"):
        assert "=" not in emit(form, report, asked).replace("# ", "")


def test_values_are_quoted_for_the_shell() -> None:
    """Nothing in a value or a path can become a command of its own."""
    lines = shell_lines([Remedy("sysfs", "/sys/a b", "x; rm"), Remedy("sysctl", "a", "$(b)")])
    assert lines == ["echo 'x; rm' >'/sys/a b'", "sysctl -w 'a=$(b)'"]


def test_without_other_cpus_nothing_is_sent_to_them(untuned: tuple[Report, Asked]) -> None:
    """Where workers have every CPU, no remedy names CPUs that are left: there are none."""
    _, asked = untuned
    full = replace(asked, cpus=tuple(cpu.number for cpu in asked.topology.cpus))
    for code in ("I02", "I03", "I06", "G11"):
        (check,) = selected(codes=[code])
        assert check.remedies(asked), code
        assert not check.remedies(full), code


def test_the_next_report_says_what_changed(untuned: tuple[Report, Asked], tmp_path: Path) -> None:
    """What is kept comes back; a value that differs is told; garbage and other versions are not."""
    report, _ = untuned
    assert history.load(str(tmp_path), report.profile) is None
    history.save(str(tmp_path), report)
    last = history.load(str(tmp_path), report.profile)
    assert last is not None
    assert history.changes(last, report) == ()
    checks = tuple(
        replace(check, state=State.OK, observed="10") if check.code == "M08" else check
        for check in report.checks
    )
    (change,) = history.changes(last, replace(report, checks=checks))
    assert change == history.Change("M08", "degraded: 60", "ok: 10")
    for text in ("", "{", '{"version": 9}', '{"version": 1, "states": 3}', "[]"):
        (tmp_path / "doctor" / f"last-{report.profile}.json").write_text(text)
        assert history.load(str(tmp_path), report.profile) is None


def test_a_part_of_the_checks_keeps_the_rest(untuned: tuple[Report, Asked], tmp_path: Path) -> None:
    """A run of one group does not forget what the others said."""
    report, _ = untuned
    history.save(str(tmp_path), report)
    history.save(str(tmp_path), replace(report, checks=report.checks[:3]))
    last = history.load(str(tmp_path), report.profile)
    assert last is not None
    assert len(last.states) == len(CHECKS)


def test_the_audit_log_is_verified(tmp_path: Path) -> None:
    """A whole log is ok; one byte changed in it makes the check fail, with the reason."""
    directory = tmp_path / "audit"
    directory.mkdir(mode=0o700)
    log = AuditLog(str(directory))
    log.open()
    for number in range(3):
        log.append("run.admitted", {"number": number})
    log.checkpoint({})
    log.close()
    asked = Asked(profile="low-latency", daemon=Daemon(audit_dir=str(directory)))

    def state() -> tuple[State, str]:
        (result,) = run_checks(selected(codes=["X08"]), asked, HostRoot()).checks
        return result.state, result.reason

    assert state() == (State.OK, "")
    (segment,) = directory.glob("audit-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"number":1', b'"number":7'))
    changed, reason = state()
    assert changed is State.FAILED
    assert "AUDIT_" in reason
