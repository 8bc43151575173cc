"""Facts of a host that were written down answer as the host did, and tell nothing private."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from byteord.doctor.kernel import CapturedKernel, LiveKernel
from byteord.doctor.model import Asked, Daemon, State
from byteord.doctor.record import (
    Facts,
    RecordedRoot,
    RecordingKernel,
    RecordingRoot,
    facts_from_json,
    facts_json,
    may_leave,
    shown_text,
)
from byteord.doctor.registry import CHECKS
from byteord.doctor.run import run_checks
from byteord.errors import DataError

WITHHELD = "does not leave its host"


def test_the_same_checks_on_written_facts_say_the_same() -> None:
    """A check that could look at everything it wants there says here what it said there."""
    checks = [check for check in CHECKS if check.cost == "read"]
    asked = Asked(profile="isolated-core", cpus=(0,), daemon=Daemon(private=True))
    facts = Facts()
    kernel = RecordingKernel(LiveKernel(), facts.kernel)
    live = run_checks(checks, asked, RecordingRoot(facts), kernel=kernel, deadline_s=60)
    back = facts_from_json(facts_json(facts, asked))
    assert back.asked == asked
    again = run_checks(
        checks, back.asked, RecordedRoot(back), kernel=CapturedKernel(back.kernel), deadline_s=60
    )
    same = 0
    for then, now in zip(live.checks, again.checks, strict=True):
        assert then.code == now.code
        open_evidence = bool(then.evidence) and all(may_leave(each.path) for each in then.evidence)
        boot = any(each.path == "/proc/cmdline" for each in then.evidence)
        if open_evidence and not boot and then.state in (State.OK, State.DEGRADED, State.FAILED):
            assert now.state in (then.state, State.UNKNOWN, State.SKIPPED), then.code
            same += now.state is then.state and now.observed == then.observed
    assert same >= 10


def test_the_facts_name_no_daemon_and_no_environment() -> None:
    """Paths of the daemon, its runs and its environment stay where they are."""
    daemon = Daemon(version="1", state_dir="/planted", config="/planted", runs=("planted",))
    facts = Facts()
    RecordingKernel(LiveKernel(), facts.kernel).environ()
    RecordingKernel(LiveKernel(), facts.kernel).tool("echo", "planted")
    RecordingRoot(facts).text("/proc/self/environ")
    RecordingRoot(facts).text("/proc/self/cmdline")
    content = facts_json(facts, Asked(daemon=daemon))
    assert b"planted" not in content
    assert json.loads(content)["texts"] == {}


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/proc/1/environ",
        "/proc/self/cmdline",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/mounts",
        "/etc/ssh/ssh_host_ed25519_key",
        "/sys/devices/../../etc/shadow",
    ],
)
def test_paths_that_may_tell_something_are_withheld(path: str) -> None:
    """Only files of figures and switches are kept."""
    assert not may_leave(path)


def test_boot_arguments_lose_what_is_not_known() -> None:
    """Words that the checks look for stay; a planted one does not."""
    line = "BOOT_IMAGE=/vmlinuz root=UUID=1 isolcpus=2-3 token=planted nohz_full=2-3 quiet"
    assert shown_text("/proc/cmdline", line) == "isolcpus=2-3 nohz_full=2-3 quiet"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"facts_v": 9}', b'{"texts": 3}', b"\xff"])
def test_facts_of_a_stranger_are_refused(content: bytes) -> None:
    """What is no facts of this version is an error of the data."""
    with pytest.raises(DataError):
        facts_from_json(content)


def test_what_was_withheld_is_unknown() -> None:
    """A check whose file did not leave its host cannot be told, and says so."""
    checks = [check for check in CHECKS if check.code.startswith("M")]
    report = run_checks(
        checks, replace(Asked(), cpus=(0,)), RecordedRoot(Facts()), kernel=CapturedKernel({})
    )
    assert any(WITHHELD in each.reason for each in report.checks)
    assert not any(each.state is State.OK for each in report.checks if each.evidence)
