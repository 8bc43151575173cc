"""From a run's failure to the error for whoever waits."""

from __future__ import annotations

import dataclasses

import pytest

from byteord import errors
from byteord.runs.ceilings import check_ceiling
from byteord.runs.failures import failure_error, run_error
from byteord.runs.state import RunState
from byteord.runs.view import FailureView, RoleView
from tests.unit.runs.support import view


@pytest.mark.parametrize(
    ("reason", "kind", "wanted"),
    [
        ("STAGE_RAISED", "stage", errors.StageError),
        ("ADAPTER_FAILED", "ingress", errors.AdapterError),
        ("PERMISSION_DENIED", "egress", errors.DeniedError),
        ("NOT_FOUND", "ingress", errors.NotFoundError),
        ("SHM_FULL", "", errors.ResourceError),
        ("SHIM_DIED", "", errors.UnavailableError),
        ("WORKER_DIED", "stage", errors.StageError),
        ("WORKER_DIED", "egress", errors.AdapterError),
        ("WORKER_DIED", "", errors.WrongStateError),
    ],
)
def test_a_failure_keeps_its_reason_and_names_its_role(
    reason: str, kind: str, wanted: type[errors.ByteorError]
) -> None:
    """The class follows the reason, then the kind of role; the text names role, stage, sequence."""
    failure = FailureView(reason, "parse", "python:m:C", 42, "ab", "boom")
    error = failure_error(failure, run_id="r1", kind=kind)
    assert type(error) is wanted
    assert error.reason == reason
    assert error.message == "parse (python:m:C) failed at sequence 42: boom"
    assert error.details["sequence"] == "42"
    assert error.details["run"] == "r1"


def test_runs_that_ended_well_or_on_request() -> None:
    """A completed run is no error, a stopped one says so, a failed one names its failure."""
    assert run_error(view("a", RunState.COMPLETED)) is None
    stopped = run_error(view("a", RunState.STOPPED))
    assert stopped is not None
    assert stopped.reason == "RUN_STOPPED"
    failed = dataclasses.replace(
        view("a", RunState.FAILED),
        failure=FailureView("WORKER_DIED", "out", message="signal 9"),
        roles=(RoleView("out", "egress", "file", "failed", 0),),
    )
    assert isinstance(run_error(failed), errors.AdapterError)
    assert run_error(view("a", RunState.FAILED)) is not None


def test_a_ceiling_is_exact_and_names_seen_and_wanted() -> None:
    """The last one that fits is let in; the next is refused with all three numbers."""
    check_ceiling("runs_max", "runs", seen=3, more=1, allowed=4)
    with pytest.raises(errors.ResourceError) as caught:
        check_ceiling("workers_max", "workers", seen=10, more=5, allowed=14)
    assert caught.value.reason == "WORKERS_MAX"
    assert caught.value.details == {"seen": "10", "wanted": "5", "limit": "14"}
