"""Whatever a host shows, doctor answers: files gone, files of nonsense, in any mixture."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from byteord.doctor.model import State
from byteord.doctor.registry import CHECKS
from byteord.doctor.run import run_checks
from byteord.tuning.root import HostRoot
from tests.support.host_trees import KINDS, asked_of, write_tree

GARBAGE = st.sampled_from(
    ["", "\n", "-1\n", "x", "0-\n", "9-1\n", "0-99999999\n", "99999999999999999999\n", "[", "a [b",
     "Udp:\nUdp:\n", ",,,", "0x", "NaN\n", "\x00\xff", "max 1\n", "cpu\n", "some avg60=\n", ": :",
     "1 (a) R\n", "- - -\n", "CPU0 CPU1\n 1: x\n", "Cpus_allowed_list:\t?\nCapEff:\tz\n", "(null)"]
)  # fmt: skip


@given(st.sampled_from(sorted(KINDS)), st.data())
@settings(max_examples=12, deadline=None)
def test_no_host_makes_doctor_fail(kind: str, data: st.DataObject) -> None:
    """Any subset of files may be gone or hold nonsense: every check answers with a known state."""
    files, kernel = KINDS[kind]()
    names = sorted(files)
    gone = data.draw(st.sets(st.sampled_from(names), max_size=len(names)), label="gone")
    odd = data.draw(st.dictionaries(st.sampled_from(names), GARBAGE, max_size=60), label="odd")
    with tempfile.TemporaryDirectory() as top:
        kept = {name: text for name, text in files.items() if name not in gone}
        tree = write_tree(Path(top), {**kept, **odd}, kernel)
        report = run_checks(CHECKS, asked_of(tree), HostRoot(tree), pause=lambda _: None)
    assert [result.code for result in report.checks] == [check.code for check in CHECKS]
    for result in report.checks:
        if result.state in {State.SKIPPED, State.UNKNOWN}:
            assert result.reason, result.code


@given(st.sampled_from(sorted(KINDS)), GARBAGE)
@settings(max_examples=8, deadline=None)
def test_a_host_of_nonsense_is_not_called_good(kind: str, garbage: str) -> None:
    """When every file of the host holds the same nonsense, nothing raises, and few call it good."""
    files, _ = KINDS[kind]()
    with tempfile.TemporaryDirectory() as top:
        tree = write_tree(Path(top), dict.fromkeys(files, garbage), {})
        Path(top, "kernel.json").write_text(json.dumps({"affinity": [0]}))
        report = run_checks(CHECKS, asked_of(tree), HostRoot(tree), pause=lambda _: None)
    good = sum(result.state is State.OK for result in report.checks)
    assert good < len(CHECKS) / 2
