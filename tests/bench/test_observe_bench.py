"""The bench of looking looks: the tap shows messages, the snapshot is taken, the run goes on."""

from __future__ import annotations

import pytest

from tests.bench.candidates import two_cpus
from tests.bench.native import BenchError
from tests.bench.observe_bench import KINDS, measure, observed


def test_windows_with_and_without_somebody_looking_alternate() -> None:
    """Each kind of window has a ratio; the tap showed more in its own, or it would raise."""
    try:
        cpus = two_cpus()
    except BenchError as error:
        pytest.skip(str(error))
    with observed(cpus, set(cpus)) as run:
        shown = run.shown
        found = measure(run, 1, 50.0)
        assert run.shown > shown
        assert run.moved() > 0
    assert {kind: len(each) for kind, each in found.items()} == dict.fromkeys(KINDS, 1)
